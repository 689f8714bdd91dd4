"""Signing in, and accounts. A password or token stands in no answer that is kept, and in no trail."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response

from dataset_registry.adapters.passwords import Argon2Passwords
from dataset_registry.api import door
from dataset_registry.api.accounts_shapes import (
    Account,
    AccountChangeIn,
    AccountIn,
    Nothing,
    PasswordIn,
    SignedIn,
    SignInIn,
    Token,
    TokenIn,
    TokenMade,
    Who,
)
from dataset_registry.api.context import Context, Cursor, IdempotencyKey, Limit, found
from dataset_registry.api.shapes import Page
from dataset_registry.domain.accounts import Principal, Role
from dataset_registry.domain.rights import rights_of
from dataset_registry.handlers import accounts
from dataset_registry.handlers.sign_in import LocalAccounts
from dataset_registry.ports import Row, Session

_ADVICE = "look at GET /v1/accounts."
_ANYBODY = Principal("unnamed", "", frozenset(Role))
"""Who asks where names are taken on trust."""

AccountName = Annotated[str, Path(max_length=120)]


def router(context: Context) -> APIRouter:
    """Routes under /v1/sessions and /v1/accounts."""
    routes = APIRouter(prefix="/v1", tags=["accounts"])
    passwords = Argon2Passwords()
    _sessions(routes, LocalAccounts(context.sessions, passwords, context.clock))
    _accounts(routes, context, passwords)
    _tokens(routes, context)
    return routes


def _sessions(routes: APIRouter, local: LocalAccounts) -> None:
    @routes.post("/sessions", response_model=SignedIn, status_code=201)
    def sign_in(body: SignInIn, request: Request) -> dict[str, object]:
        """Sign in. Wrong passwords make the next one wait, for the account and for the address it comes from."""
        address = request.client.host if request.client else "unknown"
        token, who = local.sign_in(body.name, body.password.get_secret_value(), address)
        return {**_who(who), "token": token}

    @routes.get("/sessions/current", response_model=Who)
    def read_session() -> dict[str, object]:
        """Who is signed in, and what they may do."""
        return _who(door.principal())

    @routes.delete("/sessions/current", status_code=204)
    def sign_out() -> None:
        """End the session; the token is worth nothing from now on."""
        inside = door.visit()
        if inside:
            local.sign_out(inside.token)


def _accounts(routes: APIRouter, context: Context, passwords: Argon2Passwords) -> None:
    @routes.get("/accounts", response_model=Page[Account])
    def list_accounts(limit: Limit = 50, cursor: Cursor = None) -> dict[str, object]:
        """Who may sign in, by name."""
        with context.sessions() as session:
            items, following = session.accounts.accounts(limit, cursor)
        return {"items": items, "next_cursor": following}

    @routes.get("/accounts/{name}", response_model=Account)
    def read_account(name: AccountName) -> Row:
        """One account."""
        with context.sessions() as session:
            return _described(session, name)

    @routes.post("/accounts", response_model=Account, status_code=201)
    def create_account(body: AccountIn, key: IdempotencyKey = None) -> Response:
        """Let somebody sign in."""
        word = body.password.get_secret_value() if body.password else None

        def work(session: Session) -> tuple[int, Row]:
            made = accounts.create(
                session.accounts,
                passwords,
                body.name,
                body.display_name,
                body.roles,
                word,
                _me().name,
                context.clock.now(),
                machine=body.machine,
            )
            return 201, _described(session, made.name)

        return context.command(key, f"create-account {body.name.lower()}", body, Account, work)

    @routes.patch("/accounts/{name}", response_model=Account)
    def change_account(name: AccountName, body: AccountChangeIn, key: IdempotencyKey = None) -> Response:
        """Other roles, another name to show, disabled or not. Who is disabled is signed out."""

        def work(session: Session) -> tuple[int, Row]:
            wanted = accounts.Change(body.display_name, body.roles, body.disabled)
            accounts.change(session.accounts, name, wanted, context.clock.now())
            return 200, _described(session, name)

        return context.command(key, f"change-account {name}", body, Account, work)

    @routes.post("/accounts/{name}/password", response_model=Account)
    def set_password(name: AccountName, body: PasswordIn) -> Response:
        """A new password: one's own, or as an admin anybody's. All sessions of the account end."""
        current = body.current_password.get_secret_value() if body.current_password else None

        def work(session: Session) -> tuple[int, Row]:
            store = session.accounts
            accounts.may_set_password(store, passwords, _me(), name, current)
            accounts.set_password(
                store, passwords, name, body.password.get_secret_value(), context.clock.now()
            )
            return 200, _described(session, name)

        return context.command(None, f"set-password {name}", body, Account, work)


def _tokens(routes: APIRouter, context: Context) -> None:
    @routes.get("/accounts/{name}/tokens", response_model=Page[Token])
    def list_tokens(name: AccountName) -> dict[str, object]:
        """Tokens of an account, the last first; what they are is kept nowhere."""
        with context.sessions() as session:
            accounts.may_have_tokens(session.accounts, _me(), name)
            return {"items": session.accounts.tokens(name), "next_cursor": None}

    @routes.post("/accounts/{name}/tokens", response_model=TokenMade, status_code=201)
    def make_token(name: AccountName, body: TokenIn) -> Response:
        """A token for a program, or for one's own scripts. It is shown this once, so a repeat makes another one."""

        def work(session: Session) -> tuple[int, Row]:
            accounts.may_have_tokens(session.accounts, _me(), name)
            token_id, token = accounts.make_token(
                session.accounts, name, body.label, _me().name, context.clock.now(), body.days
            )
            return 201, {"token_id": token_id, "label": body.label, "token": token}

        return context.command(None, f"make-token {name}", body, TokenMade, work)

    @routes.delete("/accounts/{name}/tokens/{token_id}", response_model=Token)
    def revoke_token(name: AccountName, token_id: UUID) -> Response:
        """Let nobody in by it any more."""

        def work(session: Session) -> tuple[int, Row | None]:
            accounts.may_have_tokens(session.accounts, _me(), name)
            session.accounts.revoke_token(name, str(token_id), context.clock.now())
            rows = {row["token_id"]: row for row in session.accounts.tokens(name)}
            advice = f"look at GET /v1/accounts/{name}/tokens."
            return 200, found(rows.get(str(token_id)), "token", token_id, advice)

        return context.command(None, f"revoke-token {name}", Nothing(), Token, work)


def _me() -> Principal:
    return door.principal() or _ANYBODY


def _described(session: Session, name: str) -> Row:
    return found(session.accounts.described(name), "account", name, _ADVICE)


def _who(who: Principal | None) -> dict[str, object]:
    known = who or _ANYBODY
    return {
        "sign_in": "required" if who else "on-trust",
        "name": who.name if who else None,
        "display_name": known.display_name,
        "roles": sorted(known.roles),
        "machine": known.machine,
        "rights": rights_of(known.roles),
        "expires_at": known.expires_at,
    }

"""Accounts: adding, changing and disabling them, passwords, and the tokens of programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import uuid4

from dataset_registry.domain import accounts as rules
from dataset_registry.domain.accounts import Account, Principal, Role
from dataset_registry.domain.refusals import conflict, forbidden, invalid, unknown
from dataset_registry.handlers.sign_in import check_token, hash_of, new_token
from dataset_registry.ports_accounts import Accounts, Passwords

_ADVICE = "look at GET /v1/accounts."


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of an account; None leaves it as it is."""

    display_name: str | None = None
    roles: Sequence[Role] | None = None
    disabled: bool | None = None


def create(
    store: Accounts,
    passwords: Passwords,
    name: str,
    display_name: str,
    roles: Iterable[Role],
    password: str | None,
    by: str,
    at: datetime,
    *,
    machine: bool = False,
) -> Account:
    """A new account. Raises Refused when the name is taken or unsuitable, or the password weak."""
    name = rules.name_of(name)
    if machine and password is not None:
        raise invalid("machine-password", "A program signs in with a token; leave the password out.")
    hashed = None
    if password is not None:
        rules.check_password(name, password)
        hashed = passwords.hashed(password)
    account = Account(name, display_name.strip() or name, hashed, frozenset(roles), machine, disabled=False)
    if not store.add_account(account, by, at):
        raise conflict("name-taken", f"There is an account {name} already; change that one.")
    return account


def change(store: Accounts, name: str, wanted: Change, at: datetime) -> Account:
    """Another name to show, other roles, disabled or not. Raises Refused when no admin would be left."""
    admins = store.admins()
    account = _found(store, name)
    changed = replace(
        account,
        display_name=wanted.display_name or account.display_name,
        roles=account.roles if wanted.roles is None else frozenset(wanted.roles),
        disabled=account.disabled if wanted.disabled is None else wanted.disabled,
    )
    if list(admins) == [name] and (changed.disabled or Role.ADMIN not in changed.roles):
        raise conflict("last-admin", f"{name} is the only admin left; make another one first.")
    store.change_account(changed, at)
    if changed.disabled:
        store.end_sessions(name, at)
    return changed


def set_password(store: Accounts, passwords: Passwords, name: str, password: str, at: datetime) -> None:
    """A new password; who is signed in under the name has to sign in again. Raises Refused."""
    account = _found(store, name)
    if account.machine:
        raise invalid("machine-password", "A program signs in with a token; make it a new one.")
    rules.check_password(name, password)
    store.change_account(replace(account, password=passwords.hashed(password)), at)
    store.end_sessions(name, at)


def may_set_password(
    store: Accounts, passwords: Passwords, who: Principal, name: str, current: str | None
) -> None:
    """Admins set anybody's; everybody their own, with the one they have. Raises Refused."""
    if who.name != name:
        if Role.ADMIN not in who.roles:
            raise forbidden("role-missing", "Only an admin sets the password of somebody else.")
        return
    account = _found(store, name)
    if account.password is not None and not passwords.fits(account.password, current or ""):
        raise forbidden("password-wrong", "The current password is another one.")


def may_have_tokens(store: Accounts, who: Principal, name: str) -> None:
    """Admins look after the tokens of programs, everybody after their own; nobody gets one to be another person."""
    account = store.account(name)
    if who.name == name and account is not None:
        return
    if Role.ADMIN not in who.roles:
        raise forbidden("role-missing", "Only an admin sees to the tokens of others.")
    if account is None:
        raise unknown("account", name, _ADVICE)
    if not account.machine:
        raise forbidden("not-your-name", f"{name} is a person, who makes tokens of their own.")


def make_token(
    store: Accounts, name: str, label: str, by: str, at: datetime, days: int | None = None, token: str = ""
) -> tuple[str, str]:
    """A token for a program: its id, and the token itself, which is shown once.

    Args:
        days: How long it is valid; None for as long as nobody revokes it.
        token: One that was made elsewhere; "" for a new one. Added again, it stays as it is.
    """
    _found(store, name)
    if token:
        check_token(token)
    token_id, token = str(uuid4()), token or new_token()
    store.add_token(
        {
            "token_id": token_id,
            "token_hash": hash_of(token),
            "account": name,
            "label": label,
            "created_at": at,
            "created_by": by,
            "expires_at": None if days is None else at + timedelta(days=days),
        }
    )
    return token_id, token


def _found(store: Accounts, name: str) -> Account:
    account = store.lock_account(name)
    if account is None:
        raise unknown("account", name, _ADVICE)
    return account

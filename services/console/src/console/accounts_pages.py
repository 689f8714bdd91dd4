"""Pages for admins: who may sign in, with which roles, and the tokens of programs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

from fastapi import APIRouter, Request, Response
from starlette.datastructures import FormData

from console.domain import people
from console.ports import Json, RefusedByRegistry, Registry
from console.taxonomy_drafts import change

Page = Callable[..., Awaitable[Response]]
Back = Callable[[str, str], Response]

_PAGE = 100


def router(registry: Registry, page: Page, back: Back) -> APIRouter:
    """Routes under /accounts; what they take is told in sign_in."""
    routes = APIRouter(prefix="/accounts")
    _people(routes, registry, page)
    _one(routes, registry, page, back)
    _secrets(routes, registry, page, back)
    return routes


def _people(routes: APIRouter, registry: Registry, page: Page) -> None:
    async def listed(request: Request, cursor: str = "", **more: Any) -> Response:
        found = await registry.get("/v1/accounts", limit=_PAGE, cursor=cursor)
        values = {"typed": {}, "refused": "", "made": None, "secret": "", **more}
        return await page(
            "accounts.html",
            request,
            accounts=found["items"],
            more=found["next_cursor"],
            **values,
        )

    @routes.get("")
    async def accounts(request: Request, cursor: str = "") -> Response:
        return await listed(request, cursor)

    @routes.post("")
    async def create(request: Request) -> Response:
        """Somebody new; their first password is shown here, once. A program gets none, but tokens."""
        form = await request.form()
        machine = form.get("kind") == "machine"
        secret = "" if machine else people.first_password()
        body: Json = {
            "name": _text(form, "name"),
            "display_name": _text(form, "display_name"),
            "roles": _roles(form),
            "machine": machine,
            "password": secret or None,
        }
        try:
            made = await registry.post("/v1/accounts", body, str(uuid4()))
        except RefusedByRegistry as refused:
            answer = await listed(request, typed=body, refused=refused.advice)
            answer.status_code = refused.status
            return answer
        return await listed(request, made=made, secret=secret)


def _one(routes: APIRouter, registry: Registry, page: Page, back: Back) -> None:
    @routes.get("/{name}")
    async def account(request: Request, name: str) -> Response:
        return await shown(registry, page, request, name)

    @routes.post("/{name}")
    async def save(request: Request, name: str) -> Response:
        form = await request.form()
        body: Json = {
            "display_name": _text(form, "display_name") or None,
            "roles": _roles(form),
            "disabled": "disabled" in form,
        }
        try:
            await change(registry, "PATCH", _at(name), body, {})
        except RefusedByRegistry as refused:
            return back(_here(name), refused.advice)
        return back(_here(name), "Saved.")


def _secrets(routes: APIRouter, registry: Registry, page: Page, back: Back) -> None:
    @routes.post("/{name}/password")
    async def reset(request: Request, name: str) -> Response:
        secret = people.first_password()
        try:
            await registry.post(f"{_at(name)}/password", {"password": secret}, str(uuid4()))
        except RefusedByRegistry as refused:
            return back(_here(name), refused.advice)
        return await shown(registry, page, request, name, secret=secret, secret_is="password")

    @routes.post("/{name}/tokens")
    async def make_token(request: Request, name: str) -> Response:
        form = await request.form()
        days = _text(form, "days")
        body: Json = {"label": _text(form, "label"), "days": int(days) if days.isdigit() else None}
        try:
            made = await registry.post(f"{_at(name)}/tokens", body, str(uuid4()))
        except RefusedByRegistry as refused:
            return back(_here(name), refused.advice)
        return await shown(registry, page, request, name, secret=made["token"], secret_is="token")

    @routes.post("/{name}/tokens/{token_id}/revoke")
    async def revoke(name: str, token_id: UUID) -> Response:
        try:
            await change(registry, "DELETE", f"{_at(name)}/tokens/{token_id}", {}, {})
        except RefusedByRegistry as refused:
            return back(_here(name), refused.advice)
        return back(_here(name), "The token lets nobody in any more.")


async def shown(registry: Registry, page: Page, request: Request, name: str, **more: Any) -> Response:
    """One account; with its tokens where it is a program's."""
    found = await registry.get(_at(name))
    tokens = (await registry.get(f"{_at(name)}/tokens"))["items"] if found["machine"] else []
    values = {"secret": "", "secret_is": "", **more}
    return await page("accounts_one.html", request, account=found, tokens=tokens, **values)


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value.strip() if isinstance(value, str) else ""


def _roles(form: FormData) -> list[str]:
    return [role for role in people.ROLES if role in form.getlist("role")]


def _at(name: str) -> str:
    return f"/v1/accounts/{quote(name, safe='')}"


def _here(name: str) -> str:
    return f"/accounts/{quote(name, safe='')}"

"""The way in and out: a gate that lets pages be seen by who is signed in, and the pages to sign in, out and to change
one's password."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated
from urllib.parse import quote, urlencode, urlsplit
from uuid import uuid4

from andon_chassis.errors import Unavailable
from andon_chassis.http import PROBES, problem
from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from console import taxonomy_drafts, visitors
from console.ports import RefusedByRegistry, Registry
from console.rendering import away, render
from console.visitors import Sessions

Field = Annotated[str, Form(max_length=400)]
Page = Callable[..., Awaitable[Response]]
Back = Callable[[str, str], Response]

SESSION_S = 7 * 86_400
"""The registry ends it earlier where nobody is there."""
_OPEN = ("/static/", "/annotate/modules/", "/sign-in", *PROBES)
_SCRIPTED = ("/parts/", "/annotate/api/", "/annotate/images/")
"""What scripts fetch: they are told, and go on when somebody has signed in again."""


class Gate:
    """ASGI middleware: who is it, and if nobody, the way to sign in.

    Args:
        sessions: None where names are taken on trust.
    """

    def __init__(self, app: ASGIApp, sessions: Sessions | None) -> None:
        self._app = app
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        answer: Response | None = None
        if self._sessions is None:
            visitors.enter(visitors.on_trust(request))
        elif not request.url.path.startswith(_OPEN):
            try:
                found = await self._sessions.visitor(request.cookies)
            except Unavailable:
                answer = away()
            else:
                answer = _refusal(request, found)
        await (answer or self._app)(scope, receive, send)


def _refusal(request: Request, found: visitors.Visitor | None) -> Response | None:
    if found is None:
        return signed_out(request)
    visitors.enter(found)
    meant_for = request.headers.get("andon-person")
    if meant_for is not None and meant_for != quote(found.name or ""):
        return problem(401, "somebody-else", f"{found.name} is signed in now; sign in as yourself to go on.")
    return None


def signed_out(request: Request) -> Response:
    """The answer to somebody whose session has ended, or never began."""
    if request.url.path.startswith(_SCRIPTED):
        return problem(401, "signed-out", "You are signed out. Sign in again and go on.")
    if request.method in {"GET", "HEAD"}:
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse("/sign-in" + (f"?{urlencode({'next': here})}" if here != "/" else ""), 303)
    came_from = urlsplit(request.headers.get("referer", ""))
    here = came_from.path + (f"?{came_from.query}" if came_from.query else "")
    return RedirectResponse(f"/sign-in?{urlencode({'next': here or '/', 'again': '1'})}", 303)


def router(
    registry: Registry, page: Page, back: Back, sessions: Sessions | None, *, https: bool
) -> APIRouter:
    """Routes to sign in and out.

    Args:
        page: Renders a template: name, request, values.
        back: Goes to a path, with one sentence about what happened.
        https: People reach the console by https, so that its cookie goes no other way.
    """
    routes = APIRouter()
    _in_and_out(routes, registry, sessions, https=https)
    _own(routes, registry, page, back)
    return routes


def _in_and_out(routes: APIRouter, registry: Registry, sessions: Sessions | None, *, https: bool) -> None:
    def form(next_: str, name: str = "", refused: str = "", again: str = "", status: int = 200) -> Response:
        values = {"next": visitors.own_path(next_), "name": name, "refused": refused, "again": again}
        return HTMLResponse(render("sign_in.html", **values), status)

    @routes.get("/sign-in")
    async def ask(next: str = "/", again: str = "") -> Response:
        return form(next, again=again) if sessions else RedirectResponse("/", 303)

    @routes.post("/sign-in")
    async def sign_in(
        request: Request, name: Field = "", password: Field = "", next: Field = "/"
    ) -> Response:
        if not name.strip() or not password:
            return form(next, name, "Both a name and a password are needed.", status=422)
        address = request.client.host if request.client else "unknown"
        try:
            made = await taxonomy_drafts.change(
                registry,
                "POST",
                "/v1/sessions",
                {"name": name, "password": password},
                {},
                {"X-Forwarded-For": address},
            )
        except RefusedByRegistry as refused:
            said = refused.advice if refused.status in {401, 429} else "Name and password do not fit."
            return form(next, name, said, status=refused.status)
        answer = RedirectResponse(visitors.own_path(next), 303)
        answer.set_cookie(
            visitors.SECURE_COOKIE if https else visitors.COOKIE,
            made["token"],
            max_age=SESSION_S,
            httponly=True,
            secure=https,
            samesite="lax",
        )
        return answer

    @routes.post("/sign-out")
    async def sign_out() -> Response:
        if sessions:
            await registry.relay("DELETE", "/v1/sessions/current", None, {}, {})
            sessions.forget(visitors.token())
        answer = RedirectResponse("/sign-in", 303)
        for cookie, secure in ((visitors.COOKIE, False), (visitors.SECURE_COOKIE, True)):
            answer.delete_cookie(cookie, httponly=True, secure=secure, samesite="lax")
        answer.headers["Clear-Site-Data"] = '"cache"'
        return answer


def _own(routes: APIRouter, registry: Registry, page: Page, back: Back) -> None:
    @routes.get("/account")
    async def account(request: Request) -> Response:
        return await page("account.html", request, refused="")

    @routes.post("/account/password")
    async def password(
        request: Request, current: Field = "", new: Field = "", repeated: Field = ""
    ) -> Response:
        if new != repeated:
            return await page("account.html", request, refused="The two new passwords differ.")
        name = quote(visitors.present().name or "", safe="")
        body = {"password": new, "current_password": current}
        try:
            await registry.post(f"/v1/accounts/{name}/password", body, str(uuid4()))
        except RefusedByRegistry as refused:
            return await page("account.html", request, refused=refused.advice)
        return RedirectResponse("/sign-in?next=/account", 303)

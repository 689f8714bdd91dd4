"""The door: everything that comes in passes here. Who is it, may they do this, and is it their own name that they give?

First, before a byte of a body is read, the token is looked at. Then, when the route is known, the right, and the name
in the body. Where a body may name who acts and does not, the door writes the name in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated, Any

from andon_chassis.errors import Unavailable
from andon_chassis.http import PROBES, problem
from fastapi import Depends, Request
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from dataset_registry.domain import rights
from dataset_registry.domain.accounts import Principal
from dataset_registry.domain.audit_chain import names_in
from dataset_registry.ports_accounts import Identity

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="andonloop"'}
_OPEN = {("POST", "/v1/sessions"), ("GET", "/openapi.json"), *(("GET", path) for path in PROBES)}
"""Where nobody is signed in yet, or has to be."""
_QUERY_NAMES = {"read_task": "person", "release_task": "person", "read_holdout": "by"}
"""Operations without a body whose query says who acts."""


@dataclass(frozen=True, slots=True)
class Visit:
    """Who is inside, and what let them in."""

    principal: Principal
    token: str


_visit: ContextVar[Visit | None] = ContextVar("visit", default=None)


def visit() -> Visit | None:
    """Who sent the request that is being answered; None where names are taken on trust, or before signing in."""
    return _visit.get()


def principal() -> Principal | None:
    """As `visit`, only who."""
    inside = _visit.get()
    return inside.principal if inside else None


def labels() -> bool:
    """Whether who sent the request may label: they see what is known of an image in a holdout, one at a time."""
    who = principal()
    return who is None or "annotate" in rights.rights_of(who.roles)


class Door:
    """ASGI middleware that lets in who is known.

    Args:
        identity: Knows people by their tokens.
    """

    def __init__(self, app: ASGIApp, identity: Identity) -> None:
        self._app = app
        self._identity = identity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        token = _token(Headers(scope=scope))
        try:
            who = await run_in_threadpool(self._identity.principal, token) if token else None
        except Unavailable as error:
            await problem(503, "unavailable", f"{error}. Send the same request again.")(scope, receive, send)
            return
        if who is None and (scope["method"], scope["path"]) not in _OPEN:
            advice = "Sign in: POST /v1/sessions, then send its token as `Authorization: Bearer`."
            answer = problem(401, "signed-out", advice)
            answer.headers.update(CHALLENGE)
            await answer(scope, receive, send)
            return
        with _inside(Visit(who, token) if who else None):
            await self._app(scope, receive, send)


async def enter(
    request: Request,
    _: Annotated[object, Depends(HTTPBearer(auto_error=False, description="Of a session or a program."))],
) -> None:
    """Dependency of every route: the right, and the name. Raises Refused."""
    who, route = principal(), request.scope["route"]
    if who is None or route.name in rights.OPEN:
        return
    body = await _body(request, route)
    rights.check(_operation(route, body), who)
    asked = _QUERY_NAMES.get(route.name)
    if asked and asked in request.query_params:
        rights.check_name(asked, request.query_params[asked], who)
    for field in _names(route):
        given = body.get(field)
        if isinstance(given, str):
            rights.check_name(field, given.strip(), who)
        elif given is None and isinstance(body, dict):
            body[field] = who.name


def _operation(route: APIRoute, body: Mapping[str, Any]) -> str:
    qualifier = rights.QUALIFIERS.get(route.name)
    return f"{route.name} {body.get(qualifier, _default(route, qualifier))}" if qualifier else route.name


def _default(route: APIRoute, field: str) -> object:
    """What a body means that leaves the field out."""
    (given,) = route.dependant.body_params
    shape: type[BaseModel] = given.field_info.annotation  # type: ignore[assignment]
    return shape.model_fields[field].default


async def _body(request: Request, route: APIRoute) -> Mapping[str, Any]:
    """What FastAPI has read, and will check after this; a form cannot be written to."""
    if route.body_field is None:
        return {}
    if request.headers.get("content-type", "").startswith("multipart/"):
        return await request.form()
    try:
        read = await request.json()
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}


def _names(route: APIRoute) -> tuple[str, ...]:
    """The fields of a route's body that say who acts."""
    fields: list[str] = []
    for given in route.dependant.body_params:
        kind = given.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            fields += kind.model_fields
        else:
            fields.append(given.alias)
    return tuple(names_in(fields))


@contextmanager
def _inside(arrived: Visit | None) -> Iterator[None]:
    mark = _visit.set(arrived)
    try:
        yield
    finally:
        _visit.reset(mark)


def _token(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""

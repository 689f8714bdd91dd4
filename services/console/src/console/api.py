"""The pages: each asks the registry for what it shows, and hands commands on to it."""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal
from urllib.parse import quote, unquote, urlencode
from uuid import UUID, uuid4

from andon_chassis import http
from andon_chassis.clock import Clock
from andon_chassis.errors import Unavailable
from andon_chassis.health import Health
from fastapi import APIRouter, Depends, FastAPI, Form, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import Scope

from console import (
    accounts_pages,
    annotating,
    governance_pages,
    handlers,
    labeling_pages,
    protection,
    tiles,
    visitors,
)
from console.domain.models import TASKS
from console.domain.words import PROOFS, sentence
from console.ports import RefusedByRegistry, Registry
from console.rendering import STATIC, away, message, render
from console.sign_in import Gate, signed_out
from console.sign_in import router as entrance
from console.visitors import REVIEWER, Sessions, SignIn, at_desk

SAID = "andon_said"
YEAR_S = 31_536_000
STRIP, PAGE = 24, 48
PART_KEPT_S = 0.9
VIEWS = {"image": "image?view=screen", "thumbnail": "image?view=thumbnail", "heat-map": "heat-map"}
SECTIONS = ("/", "/review", "/disputes", "/annotate", "/captures", "/actions", "/models", "/quality")

Person = Annotated[str | None, Depends(at_desk)]
Field = Annotated[str, Form(max_length=4000)]


class KeptFiles(StaticFiles):
    """Static files; an address with a hash never changes its content."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        answer = await super().get_response(path, scope)
        if b"v=" in scope["query_string"]:
            answer.headers["Cache-Control"] = f"public, max-age={YEAR_S}, immutable"
        return answer


def create_app(
    registry: Registry, clock: Clock, health: Health, *, sign_in: SignIn = "required", https: bool = False
) -> FastAPI:
    """The console over this registry.

    Args:
        sign_in: Whether people sign in, or are believed who they are.
        https: People reach it by https only.
    """
    sessions = Sessions(registry, clock) if sign_in == "required" else None
    app = FastAPI(
        title="Andonloop console", docs_url=None, redoc_url=None, openapi_url=None, telemetry=http.TRACED
    )
    http.install(app, health)
    app.mount("/static", KeptFiles(directory=STATIC), name="static")
    app.add_middleware(Gate, sessions=sessions)
    protection.install(app)
    app.include_router(_overview(registry, clock))
    app.include_router(tiles.router(registry))
    app.include_router(_captures(registry, clock))
    app.include_router(_reviews(registry, clock))
    app.include_router(_actions(registry, clock))
    app.include_router(_models(registry, clock))

    async def page(template: str, request: Request, **values: Any) -> HTMLResponse:
        return await _page(template, registry, clock, at_desk(request), request, **values)

    app.include_router(entrance(registry, page, _back, sessions, https=https))
    app.include_router(accounts_pages.router(registry, page, _back))
    app.include_router(annotating.router(registry, page, at_desk))
    app.include_router(governance_pages.router(registry, clock, page, at_desk, _back))
    app.include_router(labeling_pages.router(registry, page, at_desk, _back))
    _errors(app)
    return app


async def _page(
    template: str, registry: Registry, clock: Clock, person: str | None, request: Request, **values: Any
) -> HTMLResponse:
    """A whole page, with the navigation's figures and who is at the desk."""
    if "lines" not in values:
        values["lines"] = await handlers.lines(registry, clock.now())
    if "people" not in values:
        values["people"] = await handlers.people(registry)
    said = request.cookies.get(SAID)
    answer = HTMLResponse(
        render(
            template,
            now=clock.now(),
            badges=handlers.badges(values["lines"]),
            person=person,
            here=request.url.path,
            said=unquote(said) if said else None,
            **values,
        )
    )
    if said:
        answer.delete_cookie(SAID)
    return answer


class Parts:
    """Live parts of pages, made at most once a second however many screens hang in the hall; apart for who has other
    roles, as they may see and are offered other things."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._made: dict[str, tuple[float, str]] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def send(self, request: Request, name: str, make: Callable[[], Awaitable[str]]) -> Response:
        """The part `name`, or word that it has not changed."""
        name = " ".join((name, *visitors.present().roles))
        async with self._locks[name]:
            at, text = self._made.get(name, (float("-inf"), ""))
            if self._clock.monotonic() - at > PART_KEPT_S:
                text = await make()
                self._made[name] = self._clock.monotonic(), text
        return _part(request, text)


def _part(request: Request, text: str) -> Response:
    tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:20]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return HTMLResponse(text, headers=headers)


def _overview(registry: Registry, clock: Clock) -> APIRouter:
    routes, parts = APIRouter(), Parts(clock)

    @routes.get("/")
    async def overview(request: Request, person: Person = None) -> Response:
        lines, captures, work = await asyncio.gather(
            handlers.lines(registry, clock.now()), handlers.captures(registry, STRIP), _work()
        )
        return await _page(
            "overview.html", registry, clock, person, request, lines=lines, captures=captures["items"], **work
        )

    @routes.get("/parts/board")
    async def board(request: Request) -> Response:
        async def make() -> str:
            return render("parts/board.html", lines=await handlers.lines(registry, clock.now()))

        return await parts.send(request, "board", make)

    @routes.get("/parts/captures")
    async def strip(request: Request) -> Response:
        async def make() -> str:
            page = await handlers.captures(registry, STRIP)
            return render("parts/strip.html", captures=page["items"])

        return await parts.send(request, "captures", make)

    @routes.get("/parts/work")
    async def work(request: Request) -> Response:
        async def make() -> str:
            return render("parts/work.html", now=clock.now(), **await _work())

        return await parts.send(request, "work", make)

    @routes.get("/parts/badges")
    async def navigation(request: Request, at: str = "/") -> Response:
        section = next((s for s in SECTIONS[1:] if at.startswith(s)), "/")

        async def make() -> str:
            lines = await handlers.lines(registry, clock.now())
            return render("parts/navigation.html", badges=handlers.badges(lines), here=section)

        return await parts.send(request, f"badges {section}", make)

    @routes.post("/who")
    async def who(name: Field = "", back: Field = "/") -> Response:
        """Who is at the desk, where names are taken on trust."""
        if visitors.present().rights is not None:
            raise HTTPException(404)
        answer = RedirectResponse(visitors.own_path(back), 303)
        if name.strip():
            answer.set_cookie(REVIEWER, quote(name.strip()), max_age=YEAR_S, httponly=True, samesite="strict")
        else:
            answer.delete_cookie(REVIEWER)
        return answer

    async def _work() -> dict[str, Any]:
        waiting, disputed, actions = await asyncio.gather(
            handlers.reviews(registry, "open", 6),
            handlers.reviews(registry, "disputed", 3),
            handlers.actions(registry, "open", 5),
        )
        return {"waiting": waiting, "disputed": disputed, "actions": actions}

    return routes


def _captures(registry: Registry, clock: Clock) -> APIRouter:
    routes = APIRouter(prefix="/captures")

    @routes.get("")
    async def captures(
        request: Request,
        line: str = "",
        station: str = "",
        kind: str = "",
        cursor: str = "",
        person: Person = None,
    ) -> Response:
        wanted = {"line": line, "station": station, "kind": kind}
        page = await handlers.captures(registry, PAGE, **wanted, cursor=cursor)
        more = urlencode({**wanted, "cursor": page["next_cursor"]}) if page["next_cursor"] else None
        return await _page(
            "captures.html",
            registry,
            clock,
            person,
            request,
            captures=page["items"],
            wanted=wanted,
            more=more,
            first=not cursor,
        )

    @routes.get("/{capture_id}")
    async def capture(request: Request, capture_id: UUID, person: Person = None) -> Response:
        found = await handlers.capture(registry, str(capture_id))
        return await _page("capture.html", registry, clock, person, request, capture=found)

    @routes.get("/{capture_id}/{view}")
    async def image(
        capture_id: UUID, view: str, if_none_match: Annotated[str | None, Header()] = None
    ) -> Response:
        if view not in VIEWS:
            raise HTTPException(404)
        found = await registry.stream(f"/v1/captures/{capture_id}/{VIEWS[view]}", if_none_match)
        return StreamingResponse(found.body, found.status, dict(found.headers))

    return routes


def _reviews(registry: Registry, clock: Clock) -> APIRouter:
    routes = APIRouter()

    @routes.get("/review")
    async def review(
        request: Request, at: UUID | None = None, cursor: str = "", person: Person = None
    ) -> Response:
        desk, people = await asyncio.gather(_find("open", person, at, cursor), handlers.people(registry))
        return await _desk(request, desk, people, person, final=False)

    @routes.get("/disputes")
    async def disputes(
        request: Request, at: UUID | None = None, cursor: str = "", person: Person = None
    ) -> Response:
        desk, people = await asyncio.gather(_find("disputed", person, at, cursor), handlers.people(registry))
        return await _desk(request, desk, people, person, final=True)

    @routes.get("/parts/desk/{state}")
    async def next_review(
        request: Request, state: Literal["open", "disputed"], person: Person = None
    ) -> Response:
        """Which review comes next: an empty desk is shown anew when there is one."""
        desk = await _find(state, person, None, "")
        return _part(request, desk.review["review_id"] if desk.review else "none")

    @routes.post("/reviews/{review_id}/{command}")
    async def answer(
        review_id: UUID,
        command: str,
        key: Field,
        verdict: Field = "",
        class_name: Field = "",
        note: Field = "",
        following: Field = "",
        cursor: Field = "",
        person: Person = None,
    ) -> Response:
        if command not in {"answer", "adjudicate"}:
            raise HTTPException(404)
        final, desk = command == "adjudicate", "/disputes" if command == "adjudicate" else "/review"
        same, next_one = handlers.Place(str(review_id)), handlers.Place(following, cursor)
        if person is None:
            return _back(desk, "Say who you are first.", at=same)
        try:
            done = await handlers.answer(
                registry, str(review_id), person, verdict or "defect", class_name, note, key, final=final
            )
        except RefusedByRegistry as refused:
            return _back(desk, refused.advice, at=next_one if refused.status == 409 else same)
        said = sentence(class_name or verdict or "defect")
        state = {
            "open": "another answer is wanted",
            "disputed": "the answers differ: it goes to the QA owner",
        }
        return _back(desk, f"{said} – {state.get(done['state'], 'decided')}.", at=next_one)

    async def _find(state: str, person: str | None, at: UUID | None, cursor: str) -> handlers.Desk:
        blind = person if state == "open" else None
        return await handlers.desk(registry, state, blind, handlers.Place(str(at or ""), cursor))

    async def _desk(
        request: Request, desk: handlers.Desk, people: list[Any], person: str | None, *, final: bool
    ) -> Response:
        return await _page(
            "desk.html",
            registry,
            clock,
            person,
            request,
            desk=desk,
            people=people,
            owners=handlers.qa_owners(people),
            final=final,
            answers=_may_answer(person, people, final=final),
            key=str(uuid4()),
        )

    return routes


def _actions(registry: Registry, clock: Clock) -> APIRouter:
    routes = APIRouter(prefix="/actions")

    @routes.get("")
    async def actions(request: Request, state: str = "open", person: Person = None) -> Response:
        state = "closed" if state == "closed" else "open"
        found = await handlers.actions(registry, state)
        return await _page(
            "actions.html",
            registry,
            clock,
            person,
            request,
            actions=found,
            state=state,
            new_key=lambda: str(uuid4()),
        )

    @routes.post("/{action_id}/close")
    async def close(request: Request, action_id: UUID, person: Person = None) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        if person is None:
            return _back("/actions", "Say who you are first.")
        proof = {field: form.get(field, "") for field in PROOFS}
        try:
            await handlers.close_action(
                registry,
                str(action_id),
                person,
                form.get("outcome", "done"),
                proof,
                form.get("note", ""),
                form.get("key", str(uuid4())),
            )
        except RefusedByRegistry as refused:
            return _back("/actions", refused.advice, fragment=f"action-{action_id}")
        return _back("/actions", "Closed.")

    return routes


def _models(registry: Registry, clock: Clock) -> APIRouter:
    routes = APIRouter(prefix="/models")

    @routes.get("")
    async def models(request: Request, cursor: str = "", person: Person = None) -> Response:
        page = await handlers.models(registry, cursor)
        return await _page(
            "models.html", registry, clock, person, request, models=page["items"], more=page["next_cursor"]
        )

    @routes.get("/{release}")
    async def model(request: Request, release: str, report: str = "", person: Person = None) -> Response:
        found = await handlers.model(registry, release)
        if report and report not in [one["name"] for one in found["reports"]]:
            raise HTTPException(404)
        return await _page(
            "model.html",
            registry,
            clock,
            person,
            request,
            model=found,
            card=found["card"],
            missing=found["missing"],
            purpose=TASKS.get(found["task"], f"Its task is {found['task']}."),
            report=report,
        )

    @routes.get("/{release}/reports/{name}")
    async def report(release: str, name: str) -> Response:
        """A page that somebody made, as it is; by itself and in a frame it can do nothing."""
        found = await registry.stream(
            f"/v1/releases/{quote(release, safe='')}/reports/{quote(name, safe='')}", None
        )
        if found.status != 200:
            raise HTTPException(404)
        headers = {**found.headers, "Content-Security-Policy": protection.STRANGER}
        return StreamingResponse(found.body, 200, headers)

    return routes


def _back(path: str, said: str, fragment: str = "", at: handlers.Place | None = None) -> RedirectResponse:
    """To a page, with one sentence about what happened; a link from elsewhere cannot put words there."""
    query = f"?{at.query}" if at and at.query else ""
    answer = RedirectResponse(path + query + (f"#{fragment}" if fragment else ""), 303)
    answer.set_cookie(SAID, quote(said[:500]), max_age=20, httponly=True, samesite="strict")
    return answer


def _may_answer(person: str | None, people: list[Any], *, final: bool) -> bool:
    if final:
        return visitors.may("adjudicate_review") and person in handlers.qa_owners(people)
    return visitors.may("answer_review") and person is not None


def _errors(app: FastAPI) -> None:
    """People get pages where machines would get problems."""

    @app.exception_handler(Unavailable)
    async def on_unavailable(request: Request, error: Unavailable) -> Response:
        return away()

    @app.exception_handler(RefusedByRegistry)
    async def on_refused(request: Request, error: RefusedByRegistry) -> Response:
        if error.status == 401:
            return signed_out(request)
        title = "This is for somebody else" if error.status == 403 else "That did not work"
        return message(error.status, title, error.advice)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        return message(
            422, "That did not work", "The address or the form is not complete; go back and try again."
        )

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> Response:
        return message(
            error.status_code, "Not here", "There is no such page. The overview is a good place to start."
        )

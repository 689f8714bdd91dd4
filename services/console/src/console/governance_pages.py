"""What everybody keeps to, and whether they did: the taxonomy, capture standards, and the audit trail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import quote, urlencode
from uuid import uuid4

from andon_chassis.clock import Clock
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException

from console import standard_forms, taxonomy_drafts
from console.domain import audit_pages as words
from console.domain import taxonomy_pages as pages
from console.ports import Json, RefusedByRegistry, Registry
from console.taxonomy_drafts import NOBODY, TAXONOMY, change, form_of, version_at

Page = Callable[..., Awaitable[Response]]
Who = Callable[[Request], str | None]
Back = Callable[[str, str], Response]

_AUDIT_PAGE = 50


def router(registry: Registry, clock: Clock, page: Page, who: Who, back: Back) -> APIRouter:
    """Routes under /quality.

    Args:
        page: Renders a template: name, request, values.
        who: The person at the desk.
        back: To a page, with one sentence about what happened.
    """
    routes = APIRouter(prefix="/quality")

    @routes.get("")
    async def quality() -> Response:
        return RedirectResponse(TAXONOMY, 303)

    _versions(routes, registry, page)
    _relabel(routes, registry, who, back)
    routes.include_router(taxonomy_drafts.router(registry, page, who, back))
    standard_forms.add(routes, registry, page, who, back)
    _standards(routes, registry, clock, page, who, back)
    _audit(routes, registry, page)
    return routes


def _versions(routes: APIRouter, registry: Registry, page: Page) -> None:
    async def shown(request: Request, found: Json | None, **more: Any) -> Response:
        history, drafts = await asyncio.gather(
            registry.get("/v1/taxonomies"), registry.get("/v1/taxonomy-drafts", state="open", limit=50)
        )
        values = {"at": "", "note": None, "answer": None, "asked": {}, **more}
        return await page(
            "taxonomy.html",
            request,
            taxonomy=found,
            history=history["items"],
            drafts=drafts["items"],
            key=str(uuid4()),
            pages=pages,
            **values,
        )

    @routes.get("/taxonomy")
    async def in_force(request: Request, at: str = "") -> Response:
        moment = words.moment(at) if at else None
        unread = "This is no date; the version in force now is shown." if at and moment is None else None
        try:
            found = await registry.get("/v1/taxonomies/in-force", at=moment)
        except RefusedByRegistry as refused:
            if refused.status != 404:
                raise
            return await shown(request, None, at=at, note="No taxonomy was in force then." if at else None)
        return await shown(request, found, at=at, note=unread)

    @routes.get("/taxonomy/versions/{version}")
    async def version(request: Request, version: str) -> Response:
        return await shown(request, await registry.get(version_at(version)))

    @routes.get("/taxonomy/versions/{version}/severity")
    async def severity(
        request: Request,
        version: str,
        class_name: str,
        product: str = "",
        station: str = "",
        customer: str = "",
    ) -> Response:
        asked = {"class_name": class_name, "product": product, "station": station, "customer": customer}
        asked = {name: value.strip() for name, value in asked.items()}
        found, answer = await asyncio.gather(
            registry.get(version_at(version)), registry.get(f"{version_at(version)}/severity", **asked)
        )
        return await shown(request, found, answer=answer, asked=asked)

    @routes.get("/taxonomy/versions/{version}/comparison")
    async def comparison(request: Request, version: str) -> Response:
        found = await registry.get(f"{version_at(version)}/comparison")
        return await page(
            "taxonomy_comparison.html",
            request,
            comparison=found,
            rows=pages.rows(found),
            draft=None,
            problems=[],
            typed={},
            refused=None,
            key="",
        )


def _relabel(routes: APIRouter, registry: Registry, who: Who, back: Back) -> None:
    @routes.post("/taxonomy/versions/{version}/relabel")
    async def relabel(request: Request, version: str) -> Response:
        """Queue labels that came in under earlier versions since this one was published."""
        form, person = await form_of(request), who(request)
        here = f"{TAXONOMY}/versions/{quote(version, safe='')}"
        if person is None:
            return back(here, NOBODY)
        try:
            done = await change(
                registry, "POST", f"{version_at(version)}/relabel", {"queued_by": person}, form
            )
        except RefusedByRegistry as refused:
            return back(here, refused.advice)
        if not done["images"]:
            return back(here, "Nothing came in since: all labels are of this version, or wait already.")
        return back(f"/quality/work/{done['batch_id']}", f"{done['images']} images wait to be labeled again.")


def _standards(routes: APIRouter, registry: Registry, clock: Clock, page: Page, who: Who, back: Back) -> None:
    @routes.get("/standards")
    async def standards(request: Request) -> Response:
        stations = (await registry.get("/v1/stations"))["items"]
        return await page("standards.html", request, stations=stations, words=words)

    @routes.get("/standards/{line}/{station}")
    async def standard(
        request: Request, line: str, station: str, days: Literal["1", "7", "30"] = "7"
    ) -> Response:
        at = _station(line, station)
        since = (clock.now() - timedelta(days=int(days))).isoformat()
        history, deviations = await asyncio.gather(
            registry.get(f"{at}/history", limit=50), registry.get(f"{at}/deviations", since=since)
        )
        if not history["items"]:
            raise HTTPException(404)
        return await page(
            "standards_station.html",
            request,
            versions=history["items"],
            deviations=deviations["versions"],
            days=days,
            key=str(uuid4()),
            words=words,
        )

    @routes.post("/standards/{line}/{station}/lock")
    async def lock(request: Request, line: str, station: str) -> Response:
        form, person = await form_of(request), who(request)
        here = f"/quality/standards/{quote(line, safe='')}/{quote(station, safe='')}"
        if person is None:
            return back(here, NOBODY)
        version = form.get("capture_standard_version", "")
        body = {
            "capture_standard_version": version,
            "note": form.get("note", "").strip(),
            "locked_by": person,
        }
        try:
            await change(registry, "POST", f"{_station(line, station)}/lock", body, form)
        except RefusedByRegistry as refused:
            return back(here, refused.advice)
        return back(here, f"{version} is locked.")


def _audit(routes: APIRouter, registry: Registry, page: Page) -> None:
    @routes.get("/audit")
    async def audit(
        request: Request,
        actor: str = "",
        action: str = "",
        subject: str = "",
        since: str = "",
        until: str = "",
        cursor: str = "",
        check: Literal["", "now"] = "",
    ) -> Response:
        """The trail; it is followed from its start only when somebody asks, which takes a while when it is long."""
        wanted = {"actor": actor.strip(), "action": action.strip(), "subject": subject.strip()}
        moments = {"since": words.moment(since), "until": words.moment(until)}
        found = await registry.get("/v1/audit", **wanted, **moments, limit=_AUDIT_PAGE, cursor=cursor)
        verified = await registry.get("/v1/audit/verification") if check else None
        typed = {**wanted, "since": since, "until": until}
        more = found["next_cursor"]
        return await page(
            "audit.html",
            request,
            entries=found["items"],
            verdict=words.verdict(verified) if verified else None,
            verified=verified,
            wanted=typed,
            more=urlencode({**typed, "cursor": more}) if more else None,
            first=not cursor,
            words=words,
        )


def _station(line: str, station: str) -> str:
    return f"/v1/stations/{quote(line, safe='')}/{quote(station, safe='')}"

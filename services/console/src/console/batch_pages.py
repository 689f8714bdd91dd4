"""Pages of the work that is left: batches with their tasks, a new batch, and what nobody could name."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Literal
from urllib.parse import urlencode
from uuid import UUID, uuid4

from fastapi import APIRouter, Query, Request, Response

from console.domain import image_pages, work_pages
from console.ports import Json, RefusedByRegistry, Registry

Page = Callable[..., Awaitable[Response]]
Who = Callable[[Request], str | None]
Back = Callable[[str, str], Response]

NOBODY = "Say who you are first."
_PAGE, _SHOWN = 50, 60
_MOST = 200
"""Images that one page offers for a new batch."""


def add(routes: APIRouter, registry: Registry, page: Page, who: Who, back: Back) -> None:
    """Routes under work, on those of /quality."""
    _work(routes, registry, page)
    _commands(routes, registry, who, back)


def _work(routes: APIRouter, registry: Registry, page: Page) -> None:
    @routes.get("/work")
    async def batches(
        request: Request, state: Literal["open", "closed"] = "open", cursor: str = ""
    ) -> Response:
        wanted = "true" if state == "open" else "false"
        found = await registry.get("/v1/batches", open=wanted, limit=_PAGE, cursor=cursor)
        more = found["next_cursor"]
        return await page(
            "work.html",
            request,
            batches=found["items"],
            state=state,
            more=urlencode({"state": state, "cursor": more}) if more else None,
            pages=work_pages,
        )

    @routes.get("/work/new")
    async def choose(
        request: Request,
        source: Literal["captures", "images"] = "captures",
        line: str = "",
        station: str = "",
        kind: str = "",
        origin: str = "",
        part_number: str = "",
        part_id: str = "",
        limit: Annotated[int, Query(ge=1, le=_MOST)] = 50,
    ) -> Response:
        """What passes a filter, to choose from."""
        images = {"origin": origin, "part_number": part_number.strip(), "part_id": part_id.strip()}
        special = {"kind": kind} if source == "captures" else images
        found = await registry.get(
            f"/v1/{source}", line=line.strip(), station=station.strip(), limit=limit, **special
        )
        wanted = {"line": line, "station": station, "kind": kind, **images}
        return await page(
            "work_new.html",
            request,
            source=source,
            wanted=wanted,
            limit=limit,
            found=found["items"],
            key=str(uuid4()),
            pages=work_pages,
        )

    @routes.get("/work/ambiguous")
    async def ambiguous(request: Request, reason: str = "", cursor: str = "") -> Response:
        found = await registry.get("/v1/ambiguous", reason=reason, limit=_PAGE, cursor=cursor)
        more = found["next_cursor"]
        return await page(
            "work_ambiguous.html",
            request,
            doubts=found["items"],
            reasons=work_pages.reasons(found["by_reason"]),
            reason=reason,
            more=urlencode({"reason": reason, "cursor": more}) if more else None,
            pages=work_pages,
        )

    @routes.get("/work/{batch_id}")
    async def batch(request: Request, batch_id: UUID, state: str = "") -> Response:
        chosen = state if state in work_pages.STATES else ""
        found, images = await asyncio.gather(
            registry.get(f"/v1/batches/{batch_id}"),
            registry.get("/v1/images", batch_id=str(batch_id), state=chosen, limit=_SHOWN),
        )
        gold = await registry.get(f"/v1/batches/{batch_id}/gold") if found["mode"] == "gold" else None
        return await page(
            "work_batch.html",
            request,
            batch=found,
            images=images["items"],
            labeled=image_pages.said,
            more=bool(images["next_cursor"]),
            gold=gold["items"] if gold else [],
            state=chosen,
            key=str(uuid4()),
            pages=work_pages,
        )


def _commands(routes: APIRouter, registry: Registry, who: Who, back: Back) -> None:
    @routes.post("/work")
    async def create(request: Request) -> Response:
        """A batch of the images that are ticked. Sent again with the same key, it goes on where it stopped."""
        data = await request.form(max_fields=_MOST + 50)
        form = {name: value for name, value in data.items() if isinstance(value, str)}
        images = [str(image_id) for image_id in data.getlist("image")]
        person, new = who(request), f"/quality/work/new?{form.get('filter', '')}"
        if person is None:
            return back(new, NOBODY)
        if not images:
            return back(new, "Tick at least one image.")
        try:
            body = {
                "name": form.get("name", "").strip(),
                "mode": form.get("mode", "single"),
                "answers_wanted": int(form.get("answers") or 2) if form.get("mode") != "single" else 1,
                "people": work_pages.people(form.get("people", "")),
                "purpose": form.get("purpose", "").strip(),
                "review": work_pages.plan(form),
                "created_by": person,
            }
        except ValueError:
            return back(new, "A share or a number of answers is no number.")
        key = form.get("key") or str(uuid4())
        try:
            made = await registry.post("/v1/batches", body, key)
        except RefusedByRegistry as refused:
            return back(new, refused.advice)
        here = f"/quality/work/{made['batch_id']}"
        lot: Json = {"images": images, "added_by": person}
        try:
            added = await registry.post(f"/v1/batches/{made['batch_id']}/images", lot, f"{key}-images")
        except RefusedByRegistry as refused:
            return back(here, f"The batch is made, its images are not in it: {refused.advice}")
        return back(here, f"{added['added']} images wait to be labeled.")

    @routes.post("/work/{batch_id}/close")
    async def close(request: Request, batch_id: UUID) -> Response:
        form, person, here = await request.form(), who(request), f"/quality/work/{batch_id}"
        if person is None:
            return back(here, NOBODY)
        key = form.get("key")
        try:
            await registry.post(
                f"/v1/batches/{batch_id}/close",
                {"closed_by": person},
                key if isinstance(key, str) and key else str(uuid4()),
            )
        except RefusedByRegistry as refused:
            return back(here, refused.advice)
        return back(here, "Closed: nobody gets work from it any more.")

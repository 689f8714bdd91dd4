"""The form that publishes a station's capture standard."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote
from uuid import uuid4

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from console.batch_pages import NOBODY, Back, Page, Who
from console.domain import standard_form
from console.ports import Json, RefusedByRegistry, Registry
from console.taxonomy_drafts import change, form_of

_STALE = 412


def add(routes: APIRouter, registry: Registry, page: Page, who: Who, back: Back) -> None:
    """Routes under standards, on those of /quality; before those that take any station."""

    async def known(line: str, station: str) -> Json | None:
        found = (await registry.get("/v1/stations"))["items"]
        return next((one for one in found if (one["line"], one["station"]) == (line, station)), None)

    async def form(
        request: Request,
        typed: Mapping[str, str],
        now: Json | None,
        errors: Mapping[str, str],
        refused: str | None = None,
        status: int = 200,
    ) -> Response:
        answer = await page(
            "standards_form.html",
            request,
            typed=typed,
            in_force=now,
            seen=standard_form.fingerprint(now),
            errors=errors,
            refused=refused,
            rules=standard_form.rules(typed),
            key=str(uuid4()),
            form=standard_form,
        )
        answer.status_code = status
        return answer

    @routes.get("/standards/new")
    async def begin(request: Request) -> Response:
        return await form(request, standard_form.fields(None), None, {})

    @routes.get("/standards/{line}/{station}/edit")
    async def edit(request: Request, line: str, station: str) -> Response:
        now = await known(line, station)
        if now is None:
            raise HTTPException(404)
        return await form(request, standard_form.fields(now), now, {})

    @routes.post("/standards")
    async def publish(request: Request) -> Response:
        typed, person = await form_of(request), who(request)
        line, station = typed.get("line", "").strip(), typed.get("station", "").strip()
        now = await known(line, station) if typed.get("opened") else None
        if person is None:
            return await form(request, typed, now, {}, NOBODY, 422)
        body, errors = standard_form.body(typed, person)
        if errors:
            return await form(request, typed, now, errors, status=422)
        if typed.get("opened") and typed.get("seen") != standard_form.fingerprint(now):
            said = "Somebody published another standard while you wrote. What is in force now stands beside your text."
            return await form(request, typed, now, {}, said, _STALE)
        if not typed.get("opened") and await known(line, station):
            there = {"station": "This station has a standard; open it to change it."}
            return await form(request, typed, None, there, status=422)
        at = f"{quote(line, safe='')}/{quote(station, safe='')}"
        try:
            await change(registry, "PUT", f"/v1/stations/{at}", body, {"key": typed.get("key", "")})
        except RefusedByRegistry as refused:
            return await form(request, typed, now, {}, refused.advice, refused.status)
        return back(f"/quality/standards/{at}", f"{body['capture_standard_version']} is in force.")

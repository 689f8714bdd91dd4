"""Labels that come from other tools, and labels for other tools."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

from andon_chassis.errors import Unavailable
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.datastructures import UploadFile

from console.batch_pages import NOBODY, Back, Page, Who
from console.domain import dataset_pages, exchange_pages
from console.domain.audit_pages import moment
from console.ports import RefusedByRegistry, Registry
from console.rendering import render

_PAGE, _PROBLEMS = 50, 100
_PATIENCE_S = 300.0
"""How long an archive may take on its way, and an export to begin."""
_SLOW = (
    "The registry did not answer in time. Look at the list in a minute; the same archive again does no harm."
)


def add(routes: APIRouter, registry: Registry, page: Page, who: Who, back: Back) -> None:
    """Routes under imports and exports, on those of /quality."""
    _imports(routes, registry, page, who, back)
    _exports(routes, registry, page)


def _imports(routes: APIRouter, registry: Registry, page: Page, who: Who, back: Back) -> None:
    async def form(
        request: Request, typed: Mapping[str, str], errors: Mapping[str, str], refused: str | None = None
    ) -> Response:
        answer = await page(
            "imports_new.html", request, typed=typed, errors=errors, refused=refused, pages=exchange_pages
        )
        answer.status_code = 422 if errors or refused else 200
        return answer

    @routes.get("/imports")
    async def imports(request: Request, cursor: str = "") -> Response:
        found = await registry.get("/v1/imports", limit=_PAGE, cursor=cursor)
        return await page(
            "imports.html", request, imports=found["items"], more=found["next_cursor"], pages=exchange_pages
        )

    @routes.get("/imports/new")
    async def begin(request: Request) -> Response:
        return await form(request, {}, {})

    @routes.post("/imports")
    async def hand_in(request: Request) -> Response:
        """Hand an archive on. The same archive, asked for in the same way, goes on where it was."""
        async with request.form(max_files=1, max_fields=50) as data:
            typed = {name: value for name, value in data.items() if isinstance(value, str)}
            archive, person = data.get("archive"), who(request)
            if person is None:
                return await form(request, typed, {}, NOBODY)
            fields, errors = exchange_pages.asked(typed, person)
            if not isinstance(archive, UploadFile) or not archive.filename:
                return await form(request, typed, errors | {"archive": "Choose a file."})
            if errors:
                return await form(request, typed, errors)
            try:
                made = await registry.upload(
                    "/v1/imports", fields, archive.filename, archive.file, _PATIENCE_S
                )
            except RefusedByRegistry as refused:
                return await form(request, typed, {}, refused.advice)
            except Unavailable:
                return back("/quality/imports", _SLOW)
        return back(f"/quality/imports/{made['import_id']}", "Handed in.")

    @routes.get("/imports/{import_id}")
    async def one(request: Request, import_id: UUID, cursor: str = "") -> Response:
        at = f"/v1/imports/{import_id}"
        found, problems = await asyncio.gather(
            registry.get(at), registry.get(f"{at}/problems", limit=_PROBLEMS, cursor=cursor)
        )
        return await page(
            "import.html",
            request,
            found=found,
            problems=problems["items"],
            more=problems["next_cursor"],
            first=not cursor,
            pages=exchange_pages,
        )

    @routes.get("/imports/{import_id}/progress")
    async def progress(import_id: UUID) -> Response:
        """The live part of an import's page."""
        found = await registry.get(f"/v1/imports/{import_id}")
        text = render("parts/import.html", found=found, pages=exchange_pages)
        return Response(text, media_type="text/html", headers={"Cache-Control": "no-cache"})


def _exports(routes: APIRouter, registry: Registry, page: Page) -> None:
    @routes.get("/exports")
    async def exports(
        request: Request,
        form: Annotated[str, Query(alias="format")] = "",
        dataset: str = "",
        batch: str = "",
        line: str = "",
        station: str = "",
        as_of: str = "",
        pictures: str = "",
    ) -> Response:
        """What a format would lose, before anything is downloaded."""
        versions, batches = await asyncio.gather(
            registry.get("/v1/datasets/snapshots", limit=_PROBLEMS),
            registry.get("/v1/batches", limit=_PROBLEMS),
        )
        rest = {
            "batch": batch,
            "line": line.strip(),
            "station": station.strip(),
            "as_of": moment(as_of) or "",
        }
        chosen = {"dataset": dataset} if dataset else {name: text for name, text in rest.items() if text}
        losses, refused = None, None
        if form in exchange_pages.WRITTEN:
            try:
                losses = (
                    await registry.reckoned("/v1/exports/losses", {"format": form, **chosen}, _PATIENCE_S)
                )["items"]
            except RefusedByRegistry as no:
                refused = no.advice
        query = {"format": form, **chosen, **({"pictures": "true"} if pictures else {})}
        return await page(
            "exports.html",
            request,
            wanted={**rest, "as_of": as_of, "dataset": dataset, "format": form, "pictures": pictures},
            losses=losses,
            refused=refused,
            query=urlencode(query),
            versions=versions["items"],
            batches=batches["items"],
            pages=exchange_pages,
            datasets=dataset_pages,
        )

    @routes.get("/exports/file")
    async def file(request: Request) -> Response:
        """The archive itself, on its way through."""
        allowed = ("format", "dataset", "batch", "line", "station", "as_of", "pictures")
        query = {name: text for name, text in request.query_params.items() if name in allowed}
        found = await registry.stream(f"/v1/exports?{urlencode(query)}", None, _PATIENCE_S)
        if found.status != 200:
            raise RefusedByRegistry(
                found.status, "refused", "These labels cannot be exported so; choose again."
            )
        name = f"labels-{query.get('format', 'export')}.zip"
        headers = {**found.headers, "Content-Disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(found.body, 200, headers)

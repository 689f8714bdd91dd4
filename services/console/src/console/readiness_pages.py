"""The readiness of a dataset version as a page, and as files to keep."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import StringConstraints
from starlette.exceptions import HTTPException

from console import protection
from console.batch_pages import Page
from console.domain import dataset_pages, readiness_pages
from console.ports import Registry

Hash = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]

_PATIENCE_S = 60.0
"""How long a page waits: all that is on record about a version is looked through."""


def add(routes: APIRouter, registry: Registry, page: Page) -> None:
    """Routes under datasets/{version}, on those of /quality."""

    @routes.get("/datasets/{version}/readiness")
    async def readiness(request: Request, version: Hash) -> Response:
        package = await registry.reckoned(_at(version), {}, _PATIENCE_S)
        return await page(
            "datasets_readiness.html",
            request,
            package=package,
            questions=readiness_pages.questions(package),
            verdict=readiness_pages.VERDICTS[package["verdict"]],
            pages=dataset_pages,
        )

    @routes.get("/datasets/{version}/readiness.{form}")
    async def file(version: Hash, form: Literal["html", "pdf", "json"]) -> Response:
        found = await registry.stream(f"{_at(version)}?as={form}", None, _PATIENCE_S)
        if found.status != 200:
            raise HTTPException(404)
        headers = {
            **found.headers,
            "Content-Disposition": f'attachment; filename="readiness-{dataset_pages.short(version)}.{form}"',
            "Content-Security-Policy": protection.STRANGER,
        }
        return StreamingResponse(found.body, 200, headers)


def _at(version: str) -> str:
    return f"/v1/datasets/{version}/readiness"

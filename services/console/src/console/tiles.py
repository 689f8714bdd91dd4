"""Tiles of large images, passed on from the registry: the scripts know no other address."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Path, Response
from fastapi.responses import StreamingResponse

from console.ports import Registry

Known = Annotated[str | None, Header(alias="If-None-Match")]
Tile = Annotated[str, Path(pattern=r"^[0-9]{1,6}_[0-9]{1,6}\.(png|jpg)$")]


def router(registry: Registry) -> APIRouter:
    """Routes under /captures/{id}/tiles and /annotate/images/{id}/tiles; before those that take any last word."""
    routes = APIRouter()

    @routes.get("/captures/{capture_id}/tiles")
    async def capture(capture_id: UUID, if_none_match: Known = None) -> Response:
        return await passed(f"captures/{capture_id}/tiles", if_none_match)

    @routes.get("/captures/{capture_id}/tiles/{level}/{tile}")
    async def capture_tile(capture_id: UUID, level: int, tile: Tile, if_none_match: Known = None) -> Response:
        return await passed(f"captures/{capture_id}/tiles/{level}/{tile}", if_none_match)

    @routes.get("/annotate/images/{image_id}/tiles")
    async def image(image_id: UUID, if_none_match: Known = None) -> Response:
        return await passed(f"images/{image_id}/tiles", if_none_match)

    @routes.get("/annotate/images/{image_id}/tiles/{level}/{tile}")
    async def image_tile(image_id: UUID, level: int, tile: Tile, if_none_match: Known = None) -> Response:
        return await passed(f"images/{image_id}/tiles/{level}/{tile}", if_none_match)

    async def passed(path: str, known: str | None) -> Response:
        found = await registry.stream(f"/v1/{path}", known)
        return StreamingResponse(found.body, found.status, dict(found.headers))

    return routes

"""Deep zoom: tiles of images and captures, as viewers of DZI read them. Cacheable for ever."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from andon_chassis.errors import Invalid
from andon_chassis.http import Problem
from andon_events.records import ObjectRef
from fastapi import APIRouter, Path, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from dataset_registry.api.context import FILE, Context, found
from dataset_registry.api.etags import ETAG, IfNoneMatch
from dataset_registry.api.pictures import unchanging
from dataset_registry.domain.pyramid import Pyramid
from dataset_registry.domain.refusals import unknown
from dataset_registry.ports import Tiles

_IMAGE_ADVICE = "look at GET /v1/images; a capture becomes one when it enters a batch."
_CAPTURE_ADVICE = "look at GET /v1/captures; it may also be on its way still."
_GONE: dict[int | str, dict[str, Any]] = {
    304: {"description": "The caller has it already.", "headers": ETAG},
    404: {"description": "No such capture, image or tile."},
    410: {"description": "The object store does not keep the image any more."},
}
_TILE = {"content": {media_type: FILE for media_type in ("image/jpeg", "image/png")}, "headers": ETAG}

Format = Annotated[str, Path(max_length=10, description="As `Image.Format` says.")]
Level = Annotated[int, Path(ge=0, le=20, description="0 is one pixel; the last is the image itself.")]
Place = Annotated[int, Path(ge=0, le=100_000)]


class ImageSize(BaseModel):
    """Of the whole image, pixels."""

    Width: str
    Height: str


class TileImage(BaseModel):
    """DZI's description. `Url`/level/column_row.`Format` is a tile; level 0 is one pixel, each next one twice as large,
    rounded up, and the last one the image itself."""

    xmlns: str
    Url: str
    Format: str = Field(description="jpg for a JPEG, else png, without loss.")
    Overlap: str
    TileSize: str
    Size: ImageSize


class TilesOut(BaseModel):
    """Levels and tiles of an image, as DZI has them in JSON."""

    Image: TileImage


def router(context: Context) -> APIRouter:
    """Routes under /v1/images/{id}/tiles and /v1/captures/{id}/tiles."""
    routes = APIRouter(prefix="/v1", tags=["tiles"])
    answers: dict[int | str, dict[str, Any]] = {200: {"headers": ETAG}, **_GONE}
    pieces: dict[int | str, dict[str, Any]] = {200: _TILE, **_GONE}
    piece = "tiles/{level}/{column}_{row}.{format}"

    def image(image_id: UUID) -> ObjectRef:
        with context.sessions() as session:
            ref = session.labeling_views.image_object(str(image_id))
        return ObjectRef.from_avro(found(ref, "image", image_id, _IMAGE_ADVICE))

    def capture(capture_id: UUID) -> ObjectRef:
        with context.sessions() as session:
            ref = session.views.image(str(capture_id))
        return ObjectRef.from_avro(found(ref, "capture", capture_id, _CAPTURE_ADVICE))

    @routes.get("/images/{image_id}/tiles", response_model=TilesOut, responses=answers)
    def read_image_tiles(image_id: UUID, if_none_match: IfNoneMatch = None) -> Response:
        """Size and levels of an image, for viewers of deep zoom images. The first time it takes as long as it takes to
        cut a large image into tiles; those that are to be labeled are cut before."""
        return _described(image(image_id), f"/v1/images/{image_id}/tiles/", if_none_match)

    @routes.get(f"/images/{{image_id}}/{piece}", response_class=Response, responses=pieces)
    def read_image_tile(
        image_id: UUID,
        level: Level,
        column: Place,
        row: Place,
        format: Format,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        """One tile of an image."""
        return _piece(image(image_id), level, column, row, format, if_none_match)

    @routes.get("/captures/{capture_id}/tiles", response_model=TilesOut, responses=answers)
    def read_capture_tiles(capture_id: UUID, if_none_match: IfNoneMatch = None) -> Response:
        """Size and levels of a capture's image, for viewers of deep zoom images."""
        return _described(capture(capture_id), f"/v1/captures/{capture_id}/tiles/", if_none_match)

    @routes.get(f"/captures/{{capture_id}}/{piece}", response_class=Response, responses=pieces)
    def read_capture_tile(
        capture_id: UUID,
        level: Level,
        column: Place,
        row: Place,
        format: Format,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        """One tile of a capture's image."""
        return _piece(capture(capture_id), level, column, row, format, if_none_match)

    def _described(ref: ObjectRef, url: str, known: str | None) -> Response:
        headers = unchanging(f"{ref.sha256}.tiles")
        if known and headers["ETag"] in known:
            return Response(status_code=304, headers=headers)
        made = _made(ref)
        return JSONResponse(Pyramid(made.width, made.height).described(url, made.format), headers=headers)

    def _piece(
        ref: ObjectRef, level: int, column: int, row: int, format_: str, known: str | None
    ) -> Response:
        headers = unchanging(f"{ref.sha256}.{level}.{column}.{row}")
        if known and headers["ETag"] in known:
            return Response(status_code=304, headers=headers)
        if format_ != (kept := _made(ref).format):
            raise unknown("tile", f"{level}/{column}_{row}.{format_}", f"this image's tiles are .{kept}.")
        try:
            tile = context.pictures.tile(ref, level, column, row)
        except Invalid as error:
            raise _problem(error) from error
        return Response(tile.data, media_type=tile.media_type, headers=headers)

    def _made(ref: ObjectRef) -> Tiles:
        try:
            return context.pictures.tiles(ref)
        except Invalid as error:
            raise _problem(error) from error

    return routes


def _problem(error: Invalid) -> Problem:
    return Problem(410 if error.reason == "missing-object" else 422, error.reason, error.advice)

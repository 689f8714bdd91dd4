"""Labels as files for other tools."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from datetime import datetime
from typing import IO, Annotated, NamedTuple
from uuid import UUID

from andon_chassis.errors import Invalid
from andon_chassis.http import Problem as Gone
from andon_events.records import ObjectRef
from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse

from dataset_registry import formats
from dataset_registry.api.context import Context, found
from dataset_registry.api.imports_shapes import FormatOut
from dataset_registry.api.imports_shapes import Losses as LossesOut
from dataset_registry.domain.interchange import Losses
from dataset_registry.formats.writing import as_json, zipped
from dataset_registry.handlers import exports
from dataset_registry.ports import Session
from dataset_registry.ports_imports import Chosen, Selection

_ADVICE = "look at GET /v1/datasets/snapshots."
_CHUNK = 1 << 18


class Asked(NamedTuple):
    """Which images, as a caller says it."""

    dataset: str | None
    rest: Chosen


def asked(
    dataset: Annotated[
        str | None, Query(pattern="^[0-9a-f]{64}$", description="A dataset version; then nothing else.")
    ] = None,
    batch: Annotated[UUID | None, Query(description="Images of this batch.")] = None,
    line: str | None = None,
    station: str | None = None,
    as_of: Annotated[datetime | None, Query(description="Labels that were in force then.")] = None,
) -> Asked:
    """Which images; all that are labeled when nothing is said."""
    return Asked(dataset, Chosen(str(batch) if batch else None, line, station, as_of))


Choice = Annotated[Asked, Depends(asked)]


def router(context: Context) -> APIRouter:
    """Routes under /v1/exports."""
    routes = APIRouter(prefix="/v1/exports", tags=["exports"])

    @routes.get("", response_class=StreamingResponse, responses={200: {"content": {"application/zip": {}}}})
    def export_labels(format: FormatOut, choice: Choice, pictures: bool = False) -> StreamingResponse:
        """A zip file with labels, `losses.json` that says what the format cannot hold and, if wanted, the pictures. The
        same labels give the same bytes."""
        held = tempfile.TemporaryFile()  # noqa: SIM115 - it is sent, and closed, after the answer has begun
        try:
            with context.sessions() as session:
                for piece in zipped(_files(_selection(session, choice), format, pictures)):
                    held.write(piece)
        except Invalid as error:
            raise Gone(410, error.reason, error.advice) from error
        headers = {
            "Content-Length": str(held.tell()),
            "Content-Disposition": f'attachment; filename="{format}.zip"',
        }
        held.seek(0)
        return StreamingResponse(_sent(held), media_type="application/zip", headers=headers)

    @routes.get("/losses", response_model=LossesOut)
    def list_export_losses(format: FormatOut, choice: Choice) -> dict[str, object]:
        """What an export would leave out, or write simpler."""
        losses = Losses()
        with context.sessions() as session:
            for _ in exports.labels(formats.write, format, _selection(session, choice), losses):
                pass
        return {"items": losses.report()}

    def _files(selection: Selection, format: str, pictures: bool) -> Iterator[tuple[str, bytes]]:
        losses = Losses()
        yield from exports.labels(formats.write, format, selection, losses)
        yield "losses.json", as_json(losses.report())
        if pictures:
            folder = formats.PICTURES_IN.get(format, "images")
            yield from exports.pictures(context.objects, folder, selection)

    def _selection(session: Session, choice: Asked) -> Selection:
        if choice.dataset is None:
            return session.imports.in_force(choice.rest)
        row = found(session.datasets.version(choice.dataset), "dataset version", choice.dataset, _ADVICE)
        manifest = json.loads(context.objects.get(ObjectRef.from_avro(row["manifest"])))
        return session.imports.of_version(manifest["items"])

    return routes


def _sent(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk

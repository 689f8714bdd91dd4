"""Labels as files for other tools."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO, Annotated, Any, NamedTuple
from uuid import UUID

from andon_chassis.errors import Invalid
from andon_chassis.http import Problem as Gone
from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse

from dataset_registry import formats
from dataset_registry.api import door
from dataset_registry.api.context import FILE, Context, Sought
from dataset_registry.api.imports_shapes import FormatOut
from dataset_registry.api.imports_shapes import Losses as LossesOut
from dataset_registry.api.shapes import Moment, Name
from dataset_registry.domain import rights
from dataset_registry.domain.interchange import Losses
from dataset_registry.domain.refusals import invalid
from dataset_registry.formats.writing import as_json, zipped
from dataset_registry.handlers import datasets, exports, holdouts
from dataset_registry.handlers.holdouts import Evaluation
from dataset_registry.ports import Row, Session
from dataset_registry.ports_imports import Chosen, Selection

_CHUNK = 1 << 18
_ZIP: dict[int | str, dict[str, Any]] = {200: {"content": {"application/zip": FILE}}}


class Asked(NamedTuple):
    """Which images, as a caller says it."""

    dataset: str | None
    rest: Chosen


def asked(
    dataset: Annotated[
        str | None, Query(pattern="^[0-9a-f]{64}$", description="A dataset version; then nothing else.")
    ] = None,
    batch: Annotated[UUID | None, Query(description="Images of this batch.")] = None,
    line: Sought = None,
    station: Sought = None,
    as_of: Annotated[Moment | None, Query(description="Labels that were in force then.")] = None,
) -> Asked:
    """Which images; all that are labeled when nothing is said."""
    return Asked(dataset, Chosen(str(batch) if batch else None, line, station, as_of))


def evaluation(
    include_holdout: Annotated[
        bool,
        Query(description="With images in holdouts: a reading of them, which is written down and counted."),
    ] = False,
    by: Annotated[Name | None, Query(description="Who reads the holdout.")] = None,
    release: Annotated[Name | None, Query(description="What is evaluated on it.")] = None,
    purpose: Annotated[
        Name | None, Query(description="release-evaluation, regression-check or audit.")
    ] = None,
) -> Evaluation | None:
    """What the holdout is read for; None where it stays closed."""
    if not include_holdout:
        return None
    if by is None or release is None or purpose is None:
        raise invalid(
            "reading-unnamed",
            "An export with the holdout is a reading of it: say `by`, `release` and `purpose`.",
        )
    if who := door.principal():  # whoever may export needs the right to read holdouts as well
        rights.check("read_holdout", who)
        rights.check_name("by", by, who)
    holdouts.refuse(purpose)
    return Evaluation(by, release, purpose)


Choice = Annotated[Asked, Depends(asked)]
Reading = Annotated[Evaluation | None, Depends(evaluation)]


def router(context: Context) -> APIRouter:
    """Routes under /v1/exports."""
    routes = APIRouter(prefix="/v1/exports", tags=["exports"])

    @routes.get("", response_class=StreamingResponse, responses=_ZIP)
    def export_labels(
        format: FormatOut, choice: Choice, reading: Reading, pictures: bool = False
    ) -> StreamingResponse:
        """A zip file with labels, `losses.json` that says what the format cannot hold and, if wanted, the pictures. The
        same labels give the same bytes. Images in the holdout of any dataset version are left out, and counted."""
        held = tempfile.TemporaryFile()  # noqa: SIM115 - it is sent, and closed, after the answer has begun
        try:
            opened = _opened(choice, reading) if reading else []
            with context.sessions() as session:
                for piece in zipped(_files(_selection(session, choice, opened), format, pictures)):
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
            for _ in exports.labels(formats.write, format, _selection(session, choice, []), losses):
                pass
        return {"items": losses.report()}

    def _files(selection: Selection, format: str, pictures: bool) -> Iterator[tuple[str, bytes]]:
        losses = Losses()
        yield from exports.labels(formats.write, format, selection, losses)
        yield "losses.json", as_json(losses.report())
        if pictures:
            folder = formats.PICTURES_IN.get(format, "images")
            yield from exports.pictures(context.objects, folder, selection)

    def _opened(choice: Asked, reading: Evaluation) -> list[str]:
        """The versions whose holdouts go out, after the readings are written down."""
        with context.sessions() as session:
            if choice.dataset is None:
                hashes = session.imports.holdouts_with(choice.rest)
            else:
                ids = [item["capture_id"] for item in _items(session, choice.dataset)]
                hashes = list(session.datasets.holdouts_with(ids))
            for hash_ in hashes:
                holdouts.write_down(session, hash_, reading, context.clock.now())
        return hashes

    def _selection(session: Session, choice: Asked, opened: list[str]) -> Selection:
        if choice.dataset is None:
            return session.imports.in_force(choice.rest._replace(opened=opened))
        return session.imports.of_version(_items(session, choice.dataset), opened)

    def _items(session: Session, hash_: str) -> list[Row]:
        """All that a version holds, its holdout among it: what may go out of it is for others to say."""
        version = datasets.stored(session.datasets, hash_)
        return [dict(item) for item in datasets.entries(version, context.objects).values()]

    return routes


def _sent(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk

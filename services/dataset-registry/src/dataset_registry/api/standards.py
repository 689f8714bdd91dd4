"""Stations and their capture standards: published, locked, and held against real captures."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from dataset_registry.api.context import PUBLISHED, Context, Cursor, IdempotencyKey, Limit, publication
from dataset_registry.api.shapes import Moment, Name, Page, Published
from dataset_registry.api.standards_shapes import (
    Deviations,
    Locked,
    StandardLockIn,
    Station,
    StationIn,
    StationVersion,
)
from dataset_registry.domain.standards import gaps
from dataset_registry.handlers import standards
from dataset_registry.ports import Row, Session

InPath = Annotated[Name, Path()]
_LATELY = timedelta(days=7)
_LOCKED: dict[int | str, dict[str, Any]] = {
    200: {"model": Locked, "description": "It was locked already."},
    201: {"model": Locked, "description": "It is locked now."},
}


def router(context: Context) -> APIRouter:
    """Routes under /v1/stations."""
    routes = APIRouter(prefix="/v1/stations", tags=["capture standards"])

    @routes.get("", response_model=Page[Station])
    def list_stations() -> dict[str, object]:
        """All stations, as in force."""
        with context.sessions() as session:
            return {"items": session.views.stations()}

    @routes.put("/{line}/{station}", response_model=Published, responses=PUBLISHED)
    def put_station(line: InPath, station: InPath, body: StationIn, key: IdempotencyKey = None) -> Response:
        """Put a capture standard in force; the same again changes nothing. A locked version stays as it is."""
        document = body.model_dump(mode="json", exclude={"published_by"})

        def work(session: Session) -> tuple[int, dict[str, bool]]:
            published = standards.publish_station(
                session.store,
                session.standards,
                session.emit,
                line,
                station,
                document,
                body.published_by,
                context.clock,
            )
            return publication(published)

        return context.command(key, f"station {line}/{station}", body, Published, work)

    @routes.post("/{line}/{station}/lock", response_model=Locked, responses=_LOCKED)
    def lock_standard(
        line: InPath, station: InPath, body: StandardLockIn, key: IdempotencyKey = None
    ) -> Response:
        """Vouch for a version of the station's standard: from now on it changes no more."""

        def work(session: Session) -> tuple[int, dict[str, bool]]:
            locked = standards.lock_standard(
                session.store,
                session.standards,
                line,
                station,
                body.capture_standard_version,
                body.note,
                body.locked_by,
                context.clock.now(),
            )
            return 201 if locked else 200, {"locked": locked}

        return context.command(key, f"lock-standard {line}/{station}", body, Locked, work)

    @routes.get("/{line}/{station}/history", response_model=Page[StationVersion])
    def list_station_versions(
        line: InPath, station: InPath, limit: Limit = 50, cursor: Cursor = None
    ) -> dict[str, object]:
        """What was published for a station, the last first; the first of the list is in force."""
        with context.sessions() as session:
            page = session.standards.history(line, station, limit, cursor)
        return {"items": [_version(row) for row in page.items], "next_cursor": page.next_cursor}

    @routes.get("/{line}/{station}/deviations", response_model=Deviations)
    def count_deviations(
        line: InPath,
        station: InPath,
        since: Annotated[Moment | None, Query(description="The last 7 days when left out.")] = None,
        until: Moment | None = None,
    ) -> Row:
        """Captures that deviate from their standard, by its version and by reason."""
        end = until or context.clock.now()
        with context.sessions() as session:
            return standards.deviations(session.standards, line, station, since or _before(end), end)

    return routes


def _before(end: datetime) -> datetime:
    """A while before, where time reaches that far back."""
    try:
        return end - _LATELY
    except OverflowError:
        return end


def _version(row: Row) -> Row:
    return {**row["document"], **row, "gaps": gaps(row["document"])}

"""Stations and their capture standards: each change is kept, a locked version stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from andon_chassis.clock import Clock
from andon_chassis.events import Event, event, station_key
from andon_events import records as r

from dataset_registry.domain.refusals import conflict, unknown
from dataset_registry.domain.standards import check_unlocked, complete, deviation_counts, violations
from dataset_registry.handlers.facts import SOURCE
from dataset_registry.ports import Reference, Row
from dataset_registry.ports_taxonomy import Standards

Emit = Callable[[Sequence[Event[Any]]], None]

_ANNOUNCED = frozenset(field.name for field in fields(r.StationPublished))
"""What travels."""


def publish_station(
    store: Reference,
    standards: Standards,
    emit: Emit,
    line: str,
    station: str,
    document: Row,
    by: str,
    clock: Clock,
) -> bool:
    """Put a station's standard in force; False when it is in force already. Raises Refused."""
    current = store.station(line, station)
    if current is not None and complete(current) == complete(document):
        return False
    version = document["capture_standard_version"]
    locked = standards.lock_of(line, station, version)
    check_unlocked(version, locked, standards.standard(line, station, version), document)
    now = clock.now()
    store.publish_station(line, station, document, by, now)
    known = {name: value for name, value in document.items() if name in _ANNOUNCED}
    said = known | {"line": line, "station": station, "published_at": now}
    data = r.StationPublished.from_avro(said)
    key = station_key(line, station)
    emit([event(data, source=SOURCE, key=key, time=now, cause=f"{key} {now.isoformat()}")])
    return True


def lock_standard(
    store: Reference,
    standards: Standards,
    line: str,
    station: str,
    version: str,
    note: str,
    by: str,
    now: datetime,
) -> bool:
    """Vouch for a version of a station's standard; False when the same person has. Raises Refused."""
    store.station(line, station)  # keeps others from publishing meanwhile
    if standards.standard(line, station, version) is None:
        advice = f"look at GET /v1/stations/{line}/{station}/history."
        raise unknown("capture standard", f"{version} of {line}/{station}", advice)
    locked = standards.lock_of(line, station, version)
    if locked is not None:
        if locked["locked_by"] != by:
            raise conflict(
                "standard-locked", f"{locked['locked_by']} has locked it already; nothing is to be done."
            )
        return False
    standards.lock_standard(
        {
            "line": line,
            "station": station,
            "capture_standard_version": version,
            "note": note,
            "locked_by": by,
            "locked_at": now,
        }
    )
    return True


def deviations(standards: Standards, line: str, station: str, since: datetime, until: datetime) -> Row:
    """Captures that deviate from their standard, by version and reason."""
    captured = standards.captured(line, station, since, until)
    violated = violations(captured, standards.standards(line, station))
    rows = [*standards.deviations(line, station, since, until), *violated]
    return {"since": since, "until": until, "versions": deviation_counts(rows, captured)}

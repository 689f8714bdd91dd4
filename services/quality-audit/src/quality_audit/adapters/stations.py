"""The registered stations, from their compacted topic."""

from __future__ import annotations

from typing import Any

from andon_chassis.events import Event
from andon_events import records as r
from andon_events.standards import NUMBERS, TEXTS

from quality_audit.domain.standard import Standard


class Stations:
    """Follows `station.published`. Readers on other threads see the table before or after a change, never
    between.
    """

    def __init__(self) -> None:
        self._standards: dict[tuple[str, str], Standard] = {}

    def apply(self, event: Event[Any]) -> None:
        """A station was published."""
        station: r.StationPublished = event.data
        self._standards = {**self._standards, (station.line, station.station): standard_of(station)}

    def standard_of(self, line: str, station: str) -> Standard | None:
        return self._standards.get((line, station))


def standard_of(station: r.StationPublished) -> Standard:
    """The standard that a station's event carries; those of earlier releases carry less of it."""
    said = station.to_avro()
    return Standard(
        version=station.capture_standard_version,
        camera=station.camera,
        width=station.width,
        height=station.height,
        media_types=tuple(station.media_types),
        texts={name: said[name] for name in TEXTS if said[name]},
        numbers={name: said[name] for name in NUMBERS if said.get(name) is not None},
        bounds=tuple(station.bounds),
        rejecting=frozenset(rule.reason for rule in station.rejection_rules),
    )

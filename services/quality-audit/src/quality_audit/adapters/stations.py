"""The registered stations, from their compacted topic."""

from __future__ import annotations

from typing import Any

from andon_chassis.events import Event
from andon_events import records as r

from quality_audit.domain.station import Standard


class Stations:
    """Follows `station.published`. Readers on other threads see the table before or after a change, never
    between.
    """

    def __init__(self) -> None:
        self._standards: dict[tuple[str, str], Standard] = {}

    def apply(self, event: Event[Any]) -> None:
        """A station was published."""
        station: r.StationPublished = event.data
        standard = Standard(station.width, station.height, tuple(station.media_types))
        self._standards = {**self._standards, (station.line, station.station): standard}

    def standard_of(self, line: str, station: str) -> Standard | None:
        return self._standards.get((line, station))

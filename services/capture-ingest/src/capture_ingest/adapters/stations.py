"""The registered stations, from their compacted topic."""

from __future__ import annotations

from typing import Any

from andon_chassis.events import Event
from andon_events import records as r

from capture_ingest.ports import StationDefaults


class Stations:
    """Follows `station.published`; readers on other threads see the table before or after a change."""

    def __init__(self) -> None:
        self._stations: dict[tuple[str, str], StationDefaults] = {}

    def apply(self, event: Event[Any]) -> None:
        """A station was published."""
        station: r.StationPublished = event.data
        defaults = StationDefaults(station.camera, station.capture_standard_version)
        self._stations = {**self._stations, (station.line, station.station): defaults}

    def station_of(self, line: str, station: str) -> StationDefaults | None:
        return self._stations.get((line, station))

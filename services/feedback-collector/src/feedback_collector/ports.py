"""What the collector needs of the outside."""

from __future__ import annotations

from typing import Protocol

from feedback_collector.domain.observations import StationFacts


class Stations(Protocol):
    """The published stations."""

    def facts(self, key: str) -> StationFacts | None:
        """What is known of a station, or None when nobody registered it."""

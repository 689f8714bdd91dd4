"""What the collector needs of the outside."""

from __future__ import annotations

from typing import Protocol

from feedback_collector.domain.observations import StationFacts


class States(Protocol):
    """Where a station's state is read from when its first event arrives."""

    def load(self, key: str) -> bytes | None:
        """The state last made durable under this key, or None."""


class Stations(Protocol):
    """The published stations."""

    def facts(self, key: str) -> StationFacts | None:
        """What is known of a station, or None when nobody registered it."""

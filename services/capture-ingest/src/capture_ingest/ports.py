"""What admission needs of the world."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from andon_chassis.events import Event
from andon_events.records import CaptureRecorded

Filed = Literal["recorded", "known", "conflict"]
"""New; the same capture again; the same trigger with another image."""


class Ledger(Protocol):
    """All captures there are."""

    def file(self, captures: Sequence[Event[CaptureRecorded]]) -> list[Filed]:
        """File captures, and publish those that are new, all in one transaction. Raises Unavailable."""


@dataclass(frozen=True, slots=True)
class StationDefaults:
    """What is known of a station without the camera saying it."""

    camera: str | None
    capture_standard_version: str


StationOf = Callable[[str, str], StationDefaults | None]
"""The registered station at (line, station), or None."""

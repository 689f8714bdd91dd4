"""The ledger's twin for tests: the same answers, kept in a dictionary."""

from __future__ import annotations

from collections.abc import Sequence

from andon_chassis.events import Event
from andon_events.records import CaptureRecorded

from capture_ingest.ports import Filed


class MemoryLedger:
    """Remembers what was filed and published, in order."""

    def __init__(self) -> None:
        self.published: list[Event[CaptureRecorded]] = []
        self.transactions: list[int] = []
        self._known: dict[str, str] = {}

    def file(self, captures: Sequence[Event[CaptureRecorded]]) -> list[Filed]:
        self.transactions.append(len(captures))
        return [self._one(capture) for capture in captures]

    def _one(self, capture: Event[CaptureRecorded]) -> Filed:
        sha256 = capture.data.image.object.sha256
        known = self._known.setdefault(capture.data.capture_id, sha256)
        if known != sha256:
            return "conflict"
        if any(e.id == capture.id for e in self.published):
            return "known"
        self.published.append(capture)
        return "recorded"

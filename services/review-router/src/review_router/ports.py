"""What the handlers need to have kept for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from review_router.domain.case import Case
from review_router.domain.decide import Decision
from review_router.domain.rules import Rules


@dataclass(frozen=True, slots=True)
class Ruling:
    """A decision with its number, as it is kept to be replayed.

    Attributes:
        rules: The exact rules it was taken by.
        saw_audit: The audit was among the evidence.
        saw_model: The model's result was among the evidence.
    """

    disposition_id: str
    capture_id: str
    revision: int
    decision: Decision
    rules: Rules
    saw_audit: bool
    saw_model: bool
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class Remark:
    """News that changed nothing, and why."""

    capture_id: str
    event_id: str
    remark: str
    at: datetime


class Cases(Protocol):
    """Cases within one transaction."""

    def load(self, capture_ids: Sequence[str]) -> dict[str, Case]:
        """Those that exist."""

    def save(self, cases: Iterable[Case]) -> set[str]:
        """Keep cases whose stored version is still the one they were loaded with.

        Gives the captures that were kept. The others were changed by another instance meanwhile: load them
        again. A case that was kept stays locked until the transaction ends.
        """

    def record(self, rulings: Sequence[Ruling]) -> None:
        """Keep decisions. A second one with the same capture and revision is an error."""

    def remark(self, remarks: Sequence[Remark]) -> None:
        """Keep what was ignored and why."""

    def due(self, now: datetime, limit: int) -> list[Case]:
        """Cases whose deadline has passed, the longest first, locked; not those another instance holds."""

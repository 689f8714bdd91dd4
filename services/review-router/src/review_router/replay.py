"""Take a decision again from what was kept of it (M8.4)."""

from __future__ import annotations

from dataclasses import dataclass

from review_router.domain.case import Case
from review_router.domain.decide import Decision, Evidence, decide_on
from review_router.ports import Ruling


@dataclass(frozen=True, slots=True)
class Replay:
    """A decision as it was taken and as it comes out now."""

    ruling: Ruling
    again: Decision

    @property
    def same(self) -> bool:
        return self.ruling.decision == self.again


def replay(case: Case, ruling: Ruling) -> Replay:
    """Decide again on the evidence that was seen, by the rules that were in force."""
    known = case.evidence
    seen = Evidence(
        audit=known.audit if ruling.saw_audit else None,
        model=known.model if ruling.saw_model else None,
        variant=known.variant,
        verdict=known.verdict,
        place=known.place,
    )
    return Replay(ruling, decide_on(ruling.decision.basis, seen, ruling.rules))

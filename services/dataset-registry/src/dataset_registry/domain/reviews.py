"""What people decide about a capture: blind answers, agreement, and the QA owner's word where they differ.

A review that wants two answers completes when both say the same; when they differ it is disputed, and only a
QA owner who has not answered can end it. Nobody answers twice, and nobody sees an answer before all are
given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dataset_registry.domain.refusals import conflict, forbidden, invalid
from dataset_registry.domain.taxonomy import Taxonomy

OPEN, DISPUTED, COMPLETED = "open", "disputed", "completed"
GOOD, DEFECT, UNUSABLE = "good", "defect", "unusable"
QA_OWNER = "qa-owner"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one person said.

    Attributes:
        verdict: good, defect or unusable.
        class_name: The class the verdict means; None for unusable.
    """

    reviewer: str
    verdict: str
    class_name: str | None
    note: str | None
    answered_at: datetime
    adjudication: bool = False

    @property
    def judgement(self) -> tuple[str, str | None]:
        """What two people must share to agree."""
        return self.verdict, self.class_name


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a review is after an answer.

    Attributes:
        state: open, disputed or completed.
        agreed: True when all answers were the same.
        decided_by: Who answers for the verdict, once completed.
    """

    state: str
    agreed: bool
    decided_by: str | None


def answer(state: str, answers: Sequence[Answer], wanted: int, given: Answer) -> Standing:
    """Take one more blind answer. Raises Refused when it may not be given."""
    if state == COMPLETED:
        raise conflict(
            "review-completed", "This review has been completed; take the next one from the queue."
        )
    if state == DISPUTED:
        raise conflict("review-disputed", "The answers differ; a QA owner adjudicates this review now.")
    _refuse_second(answers, given.reviewer)
    judgements = {a.judgement for a in (*answers, given)}
    if len(answers) + 1 < wanted:
        return Standing(OPEN, agreed=True, decided_by=None)
    if len(judgements) > 1:
        return Standing(DISPUTED, agreed=False, decided_by=None)
    return Standing(COMPLETED, agreed=True, decided_by=given.reviewer)


def adjudicate(state: str, answers: Sequence[Answer], given: Answer, roles: Sequence[str]) -> Standing:
    """The QA owner's word on a dispute. Raises Refused when it may not be given."""
    if state != DISPUTED:
        raise conflict("review-not-disputed", f"Only a disputed review is adjudicated; this one is {state}.")
    if QA_OWNER not in roles:
        raise forbidden(
            "not-a-qa-owner", f"{given.reviewer} has no role {QA_OWNER}; ask a QA owner to adjudicate."
        )
    _refuse_second(answers, given.reviewer)
    return Standing(COMPLETED, agreed=False, decided_by=given.reviewer)


def judged_class(verdict: str, class_name: str | None, taxonomy: Taxonomy) -> str | None:
    """The class that a verdict means. Raises Refused when the taxonomy does not have it."""
    if verdict == UNUSABLE:
        return None
    if verdict == GOOD:
        return taxonomy.good_class
    if class_name is None:
        return taxonomy.only_defect_class()
    if not taxonomy.allows_defect(class_name):
        raise invalid(
            "unknown-class",
            f"{class_name} is no defect class of taxonomy {taxonomy.version};"
            f" choose one of {', '.join(taxonomy.defects)}.",
        )
    return class_name


def _refuse_second(answers: Sequence[Answer], reviewer: str) -> None:
    if any(a.reviewer == reviewer for a in answers):
        raise conflict(
            "already-answered",
            f"{reviewer} has answered this review; another person must give the next answer.",
        )

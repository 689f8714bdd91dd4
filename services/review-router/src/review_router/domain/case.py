"""The life of one capture from its first evidence to its last correction.

A case moves by four things: the audit, the model's result, a person's verdict, a deadline. Each gives the
case as it is afterwards and the decision that follows, if one does. Whatever the order and however often they
come, there is one first decision, and each later one corrects the one before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from andon_events.severity import Place

from review_router.domain import rules as r
from review_router.domain.decide import (
    Audit,
    Basis,
    Decision,
    Evidence,
    ModelResult,
    Verdict,
    decide_on,
)
from review_router.domain.rules import Rules

NO_REVIEW = "none"
OPEN = "open"
OVERDUE = "overdue"
COMPLETED = "completed"

STATION_GRACE = timedelta(seconds=2)
"""How long a station that the audit knew and we do not is waited for: it was published a moment ago."""

DECIDED = "decided"
WAITING_AUDIT = "waiting-audit"
WAITING_MODEL = "waiting-model"


@dataclass(frozen=True, slots=True)
class Case:
    """What is known and decided about one capture.

    Attributes:
        subject: Context, image and times of the capture, carried along for the events; of these, the rules look at
            variant, part number, station and customer.
        version: How often it was stored; 0 when never.
        revision: Number of the latest decision; 0 before the first.
        incomplete: The first decision was taken at the deadline, without all evidence.
        due_at: The next deadline: the model's before the first decision, the review's after it.
    """

    capture_id: str
    subject: dict[str, Any]
    version: int = 0
    audit: Audit | None = None
    model: ModelResult | None = None
    verdict: Verdict | None = None
    revision: int = 0
    kind: str | None = None
    incomplete: bool = False
    review: str = NO_REVIEW
    due_at: datetime | None = None

    @property
    def state(self) -> str:
        if self.revision:
            return DECIDED
        return WAITING_AUDIT if self.audit is None else WAITING_MODEL

    @property
    def evidence(self) -> Evidence:
        context = self.subject["context"]
        return Evidence(
            self.audit, self.model, context.get("product_variant"), self.verdict, place_of(context)
        )

    @property
    def is_complete(self) -> bool:
        """Nothing more is expected: an image that failed the audit is never scored."""
        return self.audit is not None and (self.model is not None or not self.audit.accepted)


@dataclass(frozen=True, slots=True)
class Step:
    """What one piece of news changed.

    Attributes:
        decision: The disposition that follows, if one does.
        opens_review: A person is asked now.
        remark: Why news changed nothing; recorded, so that nothing vanishes.
    """

    case: Case
    decision: Decision | None = None
    opens_review: bool = False
    remark: str | None = None


def place_of(context: Mapping[str, Any]) -> Place:
    """What the taxonomy's rules look at of a capture's context."""
    station = f"{context['line']}/{context['station']}"
    return Place(context.get("part_number"), station, context.get("customer"))


def see_audit(case: Case, audit: Audit, rules: Rules, now: datetime) -> Step:
    """The audit's verdict arrived."""
    if case.audit is not None:
        return Step(case, remark="repeated-audit")
    return _weigh(replace(case, audit=audit), rules, now)


def see_model(case: Case, model: ModelResult, rules: Rules, now: datetime) -> Step:
    """The model's result arrived, perhaps before the audit, perhaps too late."""
    if case.model is not None:
        return Step(case, remark="repeated-result")
    return _weigh(replace(case, model=model), rules, now)


def see_verdict(case: Case, verdict: Verdict, rules: Rules, now: datetime) -> Step:
    """People decided. A person's verdict stands above the model's and a deadline's."""
    if case.review == COMPLETED:
        return Step(case, remark="repeated-review")
    basis = {OPEN: Basis.REVIEW, OVERDUE: Basis.REVIEW_AFTER_DEADLINE}.get(
        case.review, Basis.REVIEW_UNREQUESTED
    )
    return _decide(replace(case, verdict=verdict, review=COMPLETED, due_at=None), basis, rules, now)


def see_deadline(case: Case, rules: Rules, now: datetime) -> Step:
    """Time passed."""
    if case.due_at is None or case.due_at > now:
        return Step(case)
    if case.revision == 0 and case.is_complete:
        return _decide(replace(case, due_at=None), Basis.EVIDENCE, rules, now)
    if case.revision == 0:
        return _decide(replace(case, incomplete=True, due_at=None), Basis.MODEL_DEADLINE, rules, now)
    case = replace(case, review=OVERDUE, due_at=None)
    if case.kind != r.ROUTE_TO_REVIEWER:
        return Step(case, remark="review-overdue-but-decided")
    return _decide(case, Basis.REVIEW_DEADLINE, rules, now)


def _weigh(case: Case, rules: Rules, now: datetime) -> Step:
    if not case.is_complete:
        if case.revision == 0 and case.due_at is None:
            case = replace(case, due_at=now + timedelta(milliseconds=rules.policy.model_timeout_ms))
        return Step(case)
    if case.revision == 0 and _station_is_on_its_way(case, rules):
        return Step(replace(case, due_at=now + STATION_GRACE))
    if case.revision == 0:
        return _decide(replace(case, due_at=None), Basis.EVIDENCE, rules, now)
    if not case.incomplete:
        return Step(case, remark="result-not-asked-for")
    return _late(replace(case, incomplete=False), rules, now)


def _station_is_on_its_way(case: Case, rules: Rules) -> bool:
    """Stations travel on a topic of their own: the audit may know one that has not reached us yet."""
    return rules.station is None and case.audit is not None and case.audit.accepted


def _late(case: Case, rules: Rules, now: datetime) -> Step:
    """Evidence became complete after the deadline had decided: correct the decision, or say why not."""
    if case.review == COMPLETED:
        return Step(case, remark="late-result-ignored:person-decided")
    if rules.policy.on_late_result != r.CORRECT:
        return Step(case, remark="late-result-ignored:policy")
    corrected = decide_on(Basis.LATE_RESULT, case.evidence, rules)
    if corrected.kind == case.kind:
        return Step(case, remark="late-result-ignored:same-disposition")
    if corrected.kind == r.ROUTE_TO_REVIEWER and case.review != NO_REVIEW:
        return Step(case, remark="late-result-ignored:review-overdue")
    return _decide(case, Basis.LATE_RESULT, rules, now)


def _decide(case: Case, basis: Basis, rules: Rules, now: datetime) -> Step:
    decision = decide_on(basis, case.evidence, rules)
    opens_review = decision.kind == r.ROUTE_TO_REVIEWER and case.review == NO_REVIEW
    case = replace(case, revision=case.revision + 1, kind=decision.kind)
    if opens_review:
        case = replace(case, review=OPEN, due_at=now + timedelta(seconds=rules.policy.review_due_s))
    return Step(case, decision, opens_review)

"""From evidence to a disposition.

`decide_on` is the only way a decision comes about, and it depends on nothing but its arguments: what was
decided on (`basis`), the evidence and the rules. Given the same again, years later, it gives the same again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from review_router.domain import rules as r
from review_router.domain.rules import Band, DefectClass, Rules


class Basis(StrEnum):
    """What a decision was taken on."""

    EVIDENCE = "evidence"
    MODEL_DEADLINE = "model-deadline"
    LATE_RESULT = "late-result"
    REVIEW = "review"
    REVIEW_AFTER_DEADLINE = "review-after-deadline"
    REVIEW_UNREQUESTED = "review-unrequested"
    REVIEW_DEADLINE = "review-deadline"


DEADLINES = frozenset({Basis.MODEL_DEADLINE, Basis.REVIEW_DEADLINE})
REVIEWS = frozenset({Basis.REVIEW, Basis.REVIEW_AFTER_DEADLINE, Basis.REVIEW_UNREQUESTED})


@dataclass(frozen=True, slots=True)
class Audit:
    """What the quality audit said. `event_id` names the event it said it with."""

    verdict: str
    reasons: tuple[str, ...] = ()
    event_id: str = ""

    @property
    def accepted(self) -> bool:
        return self.verdict == "accepted"


@dataclass(frozen=True, slots=True)
class ModelResult:
    """What the model said.

    Attributes:
        defect_score: Calibrated probability of a defect, 0 to 1.
        scores: Probability by class.
        heat_map: Claim check, carried along unread.
        regions: What it points at, carried along unread.
    """

    status: str
    release: str
    status_reason: str | None = None
    predicted_class: str | None = None
    defect_score: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    heat_map: Mapping[str, Any] | None = None
    regions: Sequence[Mapping[str, Any]] = ()
    event_id: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What people said: `good`, `defect` or `unusable`."""

    review_id: str
    verdict: str
    decided_by: str
    class_name: str | None = None
    event_id: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of a capture when it is decided."""

    audit: Audit | None = None
    model: ModelResult | None = None
    variant: str | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """A disposition before it has a number."""

    kind: str
    reasons: tuple[str, ...]
    basis: Basis
    decided_by: str
    severity: str | None = None
    class_name: str | None = None


@dataclass(frozen=True, slots=True)
class _Finding:
    """A disposition before it is known who answers for it."""

    kind: str
    reasons: tuple[str, ...]
    severity: str | None = None
    class_name: str | None = None


def decide_on(basis: Basis, evidence: Evidence, rules: Rules) -> Decision:
    """Decide.

    Raises:
        ValueError: A review basis without a verdict.
    """
    if basis in REVIEWS:
        if evidence.verdict is None:
            raise ValueError("a review decides only with a verdict")
        found = _by_person(evidence.verdict, evidence.model, rules)
        decided_by = f"person:{evidence.verdict.decided_by}"
    elif basis is Basis.REVIEW_DEADLINE:
        found, decided_by = _Finding(rules.policy.on_review_overdue, ("review-overdue",)), "deadline"
    elif basis is Basis.MODEL_DEADLINE:
        found, decided_by = _by_policy(evidence.audit, None, evidence.variant, rules), "deadline"
    else:
        found, decided_by = _by_policy(evidence.audit, evidence.model, evidence.variant, rules), "policy"
    marks = {Basis.LATE_RESULT, Basis.REVIEW_AFTER_DEADLINE, Basis.REVIEW_UNREQUESTED}
    reasons = (*found.reasons, basis.value) if basis in marks else found.reasons
    return Decision(found.kind, reasons, basis, decided_by, found.severity, found.class_name)


def second_answer_wanted(capture_id: str, share: float) -> bool:
    """Whether two people answer this review: drawn from the capture's id, so a replay draws the same."""
    draw = int.from_bytes(hashlib.sha256(capture_id.encode()).digest()[:8], "big") / 2**64
    return draw < share


def _by_policy(audit: Audit | None, model: ModelResult | None, variant: str | None, rules: Rules) -> _Finding:
    policy = rules.policy
    if audit is None:
        return _Finding(r.HOLD, ("audit-missing",))
    if "unregistered-station" in audit.reasons:
        others = tuple(reason for reason in audit.reasons if reason != "unregistered-station")
        return _Finding(r.HOLD, ("unregistered-station", *others))
    if audit.verdict == "rejected":
        return _Finding(policy.on_audit_reject, ("audit-rejected", *audit.reasons))
    if not audit.accepted:
        return _Finding(r.ROUTE_TO_REVIEWER, ("audit-ambiguous", *audit.reasons))
    if rules.station is None:
        return _Finding(r.HOLD, ("unregistered-station",))
    if not rules.station.is_validated_for(variant):
        severity, class_name = _candidate_of(model, rules)
        return _Finding(policy.on_unvalidated_variant, ("unvalidated-variant",), severity, class_name)
    if model is None:
        return _Finding(policy.on_model_timeout, ("model-timeout",))
    return _by_score(model, rules)


def _by_score(model: ModelResult, rules: Rules) -> _Finding:
    score = model.defect_score
    if model.status != "scored":
        return _Finding(
            r.ROUTE_TO_REVIEWER, ("unscorable", *([model.status_reason] if model.status_reason else []))
        )
    if score is None or not 0.0 <= score <= 1.0:  # also catches NaN
        return _Finding(r.ROUTE_TO_REVIEWER, ("unscorable", "score-out-of-range"))
    candidates = list(_candidates(model, score, rules))
    findings = [_in_band(known, probability, rules) for known, probability in candidates]
    return max(findings, key=_gravity)


def _candidates(model: ModelResult, score: float, rules: Rules) -> Iterator[tuple[DefectClass, float]]:
    """The leading defect class with the whole defect probability, and each critical class with its own.

    A critical class that is not the likeliest still counts: an escape is worse than a false reject there.
    """
    leading = _leading_defect(model, rules)
    yield leading, score
    for name, probability in model.scores.items():
        known = rules.taxonomy.find(name)
        if known and known.is_defect and known.severity == r.CRITICAL and name != leading.name:
            yield known, probability


def _leading_defect(model: ModelResult, rules: Rules) -> DefectClass:
    """The likeliest defect class; a class the taxonomy lacks counts as major and is named in the reasons."""
    names = sorted(model.scores, key=lambda name: (-model.scores[name], name))
    if model.predicted_class:
        names.insert(0, model.predicted_class)
    unknown: DefectClass | None = None
    for name in names:
        known = rules.taxonomy.find(name)
        if known is None:
            unknown = unknown or DefectClass(name, r.MAJOR, True)
        elif known.is_defect:
            return known
    return unknown or DefectClass("", r.MAJOR, True)


def _in_band(known: DefectClass, probability: float, rules: Rules) -> _Finding:
    band = rules.policy.band(known.severity)
    name = known.name or None
    notes = () if not name or rules.taxonomy.find(name) else ("class-not-in-taxonomy",)
    if band is None:
        return _Finding(r.ROUTE_TO_REVIEWER, ("no-band-for-severity", *notes), known.severity, name)
    if probability < band.pass_below:
        return _Finding(r.PASS, ("confident-good",))
    if probability >= band.reject_from:
        return _Finding(band.reject_as, ("confident-defect", *notes), known.severity, name)
    return _Finding(r.ROUTE_TO_REVIEWER, ("uncertain", *notes), known.severity, name)


def _gravity(found: _Finding) -> tuple[int, int]:
    """The graver the disposition and the class, the higher. Among equals the leading class stays."""
    order = (r.PASS, r.ROUTE_TO_REVIEWER, r.REWORK, r.HOLD, r.REJECT, r.ESCALATE)
    severity = -r.SEVERITIES.index(found.severity) if found.severity in r.SEVERITIES else -len(r.SEVERITIES)
    return order.index(found.kind) if found.kind in order else len(order), severity


def _candidate_of(model: ModelResult | None, rules: Rules) -> tuple[str | None, str | None]:
    """Severity and class to show the person, when the model looks at something it may not decide."""
    if model is None or model.status != "scored":
        return None, None
    leading = _leading_defect(model, rules)
    return (leading.severity, leading.name) if leading.name else (None, None)


def _by_person(verdict: Verdict, model: ModelResult | None, rules: Rules) -> _Finding:
    if verdict.verdict == "good":
        return _Finding(r.PASS, ("reviewed-good",))
    if verdict.verdict == "unusable":
        return _Finding(r.HOLD, ("reviewed-unusable",))
    known = rules.taxonomy.find(verdict.class_name) if verdict.class_name else None
    severity = known.severity if known else (_candidate_of(model, rules)[0] or r.MAJOR)
    if verdict.class_name and known is None:
        severity = r.MAJOR
    band: Band | None = rules.policy.band(severity)
    kind = band.reject_as if band else r.REJECT
    return _Finding(kind, ("reviewed-defect",), severity, verdict.class_name)

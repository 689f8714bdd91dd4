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

from andon_events.records import SeverityRule
from andon_events.severity import Place

from review_router.domain import rules as r
from review_router.domain.rules import DefectClass, Judged, Rules


class Basis(StrEnum):
    """What a decision was taken on."""

    EVIDENCE = "evidence"
    MODEL_DEADLINE = "model-deadline"
    LATE_RESULT = "late-result"
    REVIEW = "review"
    REVIEW_AFTER_DEADLINE = "review-after-deadline"
    REVIEW_UNREQUESTED = "review-unrequested"
    REVIEW_DEADLINE = "review-deadline"


BY_RULE = "severity-by-rule"
"""Reason of a decision whose severity a rule of the taxonomy settled."""

DEADLINES = frozenset({Basis.MODEL_DEADLINE, Basis.REVIEW_DEADLINE})
REVIEWS = frozenset({Basis.REVIEW, Basis.REVIEW_AFTER_DEADLINE, Basis.REVIEW_UNREQUESTED})


@dataclass(frozen=True, slots=True)
class Audit:
    """What the quality audit said. `event_id` names the event it said it with.

    Attributes:
        deviations: What is otherwise than the capture standard says, carried along unread.
        unproven: What neither capture nor image shows of the standard, carried along unread.
    """

    verdict: str
    reasons: tuple[str, ...] = ()
    event_id: str = ""
    deviations: Sequence[Mapping[str, Any]] = ()
    unproven: tuple[str, ...] = ()

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
    """All that is known of a capture when it is decided.

    Attributes:
        place: What the taxonomy's rules look at.
    """

    audit: Audit | None = None
    model: ModelResult | None = None
    variant: str | None = None
    verdict: Verdict | None = None
    place: Place = field(default_factory=Place)


@dataclass(frozen=True, slots=True)
class Decision:
    """A disposition before it has a number.

    Attributes:
        severity_rule, disposition_rule: Rules of the taxonomy that shaped it.
    """

    kind: str
    reasons: tuple[str, ...]
    basis: Basis
    decided_by: str
    severity: str | None = None
    class_name: str | None = None
    severity_rule: SeverityRule | None = None
    disposition_rule: SeverityRule | None = None


@dataclass(frozen=True, slots=True)
class _Finding:
    """A disposition before it is known who answers for it."""

    kind: str
    reasons: tuple[str, ...]
    severity: str | None = None
    class_name: str | None = None
    severity_rule: SeverityRule | None = None
    disposition_rule: SeverityRule | None = None


def decide_on(basis: Basis, evidence: Evidence, rules: Rules) -> Decision:
    """Decide.

    Raises:
        ValueError: A review basis without a verdict.
    """
    if basis in REVIEWS:
        if evidence.verdict is None:
            raise ValueError("a review decides only with a verdict")
        found = _by_person(evidence.verdict, evidence.model, evidence.place, rules)
        decided_by = f"person:{evidence.verdict.decided_by}"
    elif basis is Basis.REVIEW_DEADLINE:
        found, decided_by = _Finding(rules.policy.on_review_overdue, ("review-overdue",)), "deadline"
    elif basis is Basis.MODEL_DEADLINE:
        found, decided_by = _by_policy(evidence, None, rules), "deadline"
    else:
        found, decided_by = _by_policy(evidence, evidence.model, rules), "policy"
    marks = {Basis.LATE_RESULT, Basis.REVIEW_AFTER_DEADLINE, Basis.REVIEW_UNREQUESTED}
    reasons = (*found.reasons, basis.value) if basis in marks else found.reasons
    return Decision(
        found.kind,
        reasons,
        basis,
        decided_by,
        found.severity,
        found.class_name,
        found.severity_rule,
        found.disposition_rule,
    )


def second_answer_wanted(capture_id: str, share: float) -> bool:
    """Whether two people answer this review: drawn from the capture's id, so a replay draws the same."""
    draw = int.from_bytes(hashlib.sha256(capture_id.encode()).digest()[:8], "big") / 2**64
    return draw < share


def _by_policy(evidence: Evidence, model: ModelResult | None, rules: Rules) -> _Finding:
    policy, audit = rules.policy, evidence.audit
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
    if not rules.station.is_validated_for(evidence.variant):
        candidate = _candidate_of(model, evidence.place, rules)
        return _found(policy.on_unvalidated_variant, ("unvalidated-variant",), candidate)
    if model is None:
        return _Finding(policy.on_model_timeout, ("model-timeout",))
    return _by_score(model, evidence.place, rules)


def _by_score(model: ModelResult, place: Place, rules: Rules) -> _Finding:
    score = model.defect_score
    if model.status != "scored":
        return _Finding(
            r.ROUTE_TO_REVIEWER, ("unscorable", *([model.status_reason] if model.status_reason else []))
        )
    if score is None or not 0.0 <= score <= 1.0:  # also catches NaN
        return _Finding(r.ROUTE_TO_REVIEWER, ("unscorable", "score-out-of-range"))
    candidates = _candidates(model, score, place, rules)
    findings = [_in_band(judged, probability, rules) for judged, probability in candidates]
    return max(findings, key=_gravity)


def _candidates(
    model: ModelResult, score: float, place: Place, rules: Rules
) -> Iterator[tuple[Judged, float]]:
    """The leading defect class with the whole defect probability, and each critical class with its own.

    A critical class that is not the likeliest still counts: an escape is worse than a false reject there. Where a rule
    treats the leading class in its own way, every other one counts as well: what a rule says of a scratch must not let
    the dent beside it pass.
    """
    leading = rules.taxonomy.judge(_leading_defect(model, rules), place)
    yield leading, score
    for name, probability in model.scores.items():
        known = rules.taxonomy.find(name)
        if known is None or not known.is_defect or name == leading.name:
            continue
        if not rules.taxonomy.rules and known.severity != r.CRITICAL:
            continue
        judged = rules.taxonomy.judge(known, place)
        if leading.is_ruled or judged.severity == r.CRITICAL:
            yield judged, probability


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


def _in_band(judged: Judged, probability: float, rules: Rules) -> _Finding:
    """The policy says whether there is a defect; what becomes of the part the rule says, else the policy."""
    band = rules.policy.band(judged.severity)
    notes = () if not judged.name or rules.taxonomy.find(judged.name) else ("class-not-in-taxonomy",)
    if band is None:
        return _found(r.ROUTE_TO_REVIEWER, ("no-band-for-severity", *notes), judged)
    if probability < band.pass_below:
        by_rule = judged.severity_rule
        reasons = ("confident-good",) if by_rule is None else ("confident-good", BY_RULE)
        return _Finding(r.PASS, reasons, severity_rule=by_rule)
    if probability < band.reject_from:
        return _found(r.ROUTE_TO_REVIEWER, ("uncertain", *notes), judged)
    return _found(judged.disposition or band.reject_as, ("confident-defect", *notes), judged, becomes=True)


def _found(kind: str, reasons: tuple[str, ...], judged: Judged | None, *, becomes: bool = False) -> _Finding:
    """A finding about a class, with the rules that had a part in it.

    Args:
        becomes: The class's own disposition decided, if it has one.
    """
    if judged is None:
        return _Finding(kind, reasons)
    disposition_rule = judged.disposition_rule if becomes else None
    if judged.severity_rule is not None:
        reasons = (*reasons, BY_RULE)
    if disposition_rule is not None:
        reasons = (*reasons, "disposition-by-rule")
    name = judged.name or None
    return _Finding(kind, reasons, judged.severity, name, judged.severity_rule, disposition_rule)


def _gravity(found: _Finding) -> tuple[int, int]:
    """The graver the disposition and the class, the higher. Among equals the leading class stays."""
    order = (r.PASS, r.ROUTE_TO_REVIEWER, r.REWORK, r.HOLD, r.REJECT, r.ESCALATE)
    severity = -r.SEVERITIES.index(found.severity) if found.severity in r.SEVERITIES else -len(r.SEVERITIES)
    return order.index(found.kind) if found.kind in order else len(order), severity


def _candidate_of(model: ModelResult | None, place: Place, rules: Rules) -> Judged | None:
    """The class to show the person, when the model looks at something it may not decide."""
    if model is None or model.status != "scored":
        return None
    leading = _leading_defect(model, rules)
    return rules.taxonomy.judge(leading, place) if leading.name else None


def _by_person(verdict: Verdict, model: ModelResult | None, place: Place, rules: Rules) -> _Finding:
    if verdict.verdict == "good":
        return _Finding(r.PASS, ("reviewed-good",))
    if verdict.verdict == "unusable":
        return _Finding(r.HOLD, ("reviewed-unusable",))
    judged = _judged_by(verdict, model, place, rules)
    band = rules.policy.band(judged.severity)
    by_band = band.reject_as if band else r.REJECT
    # A person has looked already: a rule that sends the defect to one has been followed.
    becomes = judged.disposition is not None and judged.disposition != r.ROUTE_TO_REVIEWER
    kind = judged.disposition if becomes and judged.disposition else by_band
    return _found(kind, ("reviewed-defect",), judged, becomes=becomes)


def _judged_by(verdict: Verdict, model: ModelResult | None, place: Place, rules: Rules) -> Judged:
    """The class that a person named. Who names none means a defect as grave as the model's candidate; what the rules
    say becomes of that candidate does not hold, for nobody confirmed it.
    """
    if verdict.class_name:
        known = rules.taxonomy.find(verdict.class_name) or DefectClass(verdict.class_name, r.MAJOR, True)
        return rules.taxonomy.judge(known, place)
    candidate = _candidate_of(model, place, rules)
    severity = candidate.severity if candidate else r.MAJOR
    return Judged("", severity, severity_rule=candidate.severity_rule if candidate else None)

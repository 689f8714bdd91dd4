"""The rules of deciding, without I/O."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from review_router.domain import rules as r
from review_router.domain.decide import (
    Audit,
    Basis,
    Decision,
    Evidence,
    ModelResult,
    Verdict,
    decide_on,
    second_answer_wanted,
)
from review_router.domain.rules import Band, DefectClass, Policy, Rules, Station, Taxonomy

TAXONOMY = Taxonomy(
    "t1",
    (
        DefectClass("good", r.MINOR, False),
        DefectClass("crack", r.CRITICAL, True),
        DefectClass("scratch", r.MINOR, True),
        DefectClass("finger", r.MAJOR, True),
        DefectClass("shade", r.MONITOR_ONLY, True),
    ),
)
POLICY = Policy(
    version="p1",
    bands=(
        Band(r.CRITICAL, 0.05, 0.40, r.ESCALATE),
        Band(r.MAJOR, 0.30, 0.70, r.REJECT),
        Band(r.MINOR, 0.50, 0.90, r.REWORK),
    ),
)
RULES = Rules(POLICY, TAXONOMY, Station(("poly",)))
ACCEPTED = Audit("accepted")


def scored(defect_score: float | None, predicted: str | None = "finger", **scores: float) -> ModelResult:
    return ModelResult(
        "scored", "release-1", predicted_class=predicted, defect_score=defect_score, scores=scores
    )


def decide(
    audit: Audit | None, model: ModelResult | None, rules: Rules = RULES, variant: str | None = "poly"
) -> Decision:
    return decide_on(Basis.EVIDENCE, Evidence(audit, model, variant), rules)


@pytest.mark.parametrize(
    ("score", "predicted", "kind", "severity", "reason"),
    [
        (0.29, "finger", r.PASS, None, "confident-good"),
        (0.30, "finger", r.ROUTE_TO_REVIEWER, r.MAJOR, "uncertain"),
        (0.69, "finger", r.ROUTE_TO_REVIEWER, r.MAJOR, "uncertain"),
        (0.70, "finger", r.REJECT, r.MAJOR, "confident-defect"),
        (0.45, "scratch", r.PASS, None, "confident-good"),
        (0.90, "scratch", r.REWORK, r.MINOR, "confident-defect"),
        (0.05, "crack", r.ROUTE_TO_REVIEWER, r.CRITICAL, "uncertain"),
        (0.40, "crack", r.ESCALATE, r.CRITICAL, "confident-defect"),
        (1.00, "shade", r.PASS, None, "confident-good"),
    ],
)
def test_the_band_of_the_class_severity_decides(
    score: float, predicted: str, kind: str, severity: str | None, reason: str
) -> None:
    decision = decide(ACCEPTED, scored(score, predicted))
    assert (decision.kind, decision.severity, decision.reasons) == (kind, severity, (reason,))
    assert decision.class_name == (predicted if severity else None)
    assert decision.decided_by == "policy"


def test_a_critical_class_favours_recall_even_when_another_class_leads() -> None:
    unlikely = decide(ACCEPTED, scored(0.20, "good", good=0.80, scratch=0.16, crack=0.04))
    suspected = decide(ACCEPTED, scored(0.20, "good", good=0.80, scratch=0.14, crack=0.06))
    assert unlikely.kind == r.PASS
    assert (suspected.kind, suspected.class_name, suspected.severity) == (
        r.ROUTE_TO_REVIEWER,
        "crack",
        r.CRITICAL,
    )


def test_when_good_is_likeliest_the_likeliest_defect_names_the_class() -> None:
    decision = decide(ACCEPTED, scored(0.45, "good", good=0.55, finger=0.30, scratch=0.15))
    assert (decision.kind, decision.class_name) == (r.ROUTE_TO_REVIEWER, "finger")


@pytest.mark.parametrize("score", [None, math.nan, math.inf, -0.1, 1.1])
def test_a_score_that_is_no_probability_goes_to_a_person(score: float | None) -> None:
    decision = decide(ACCEPTED, scored(score))
    assert (decision.kind, decision.reasons) == (r.ROUTE_TO_REVIEWER, ("unscorable", "score-out-of-range"))


def test_what_the_model_cannot_score_goes_to_a_person() -> None:
    decision = decide(ACCEPTED, ModelResult("unscorable", "release-1", status_reason="no-release"))
    assert (decision.kind, decision.reasons) == (r.ROUTE_TO_REVIEWER, ("unscorable", "no-release"))


def test_a_failed_audit_follows_the_policy_and_keeps_its_reasons() -> None:
    audit = Audit("rejected", ("blurred", "cropped"))
    assert decide(audit, None).kind == r.HOLD
    routed = decide(audit, None, replace(RULES, policy=replace(POLICY, on_audit_reject=r.ROUTE_TO_REVIEWER)))
    assert (routed.kind, routed.reasons) == (r.ROUTE_TO_REVIEWER, ("audit-rejected", "blurred", "cropped"))


def test_an_ambiguous_image_goes_to_a_person_whatever_the_policy() -> None:
    decision = decide(Audit("ambiguous", ("near-duplicate",)), None)
    assert (decision.kind, decision.reasons) == (r.ROUTE_TO_REVIEWER, ("audit-ambiguous", "near-duplicate"))


@pytest.mark.parametrize("variant", ["mono", None])
def test_the_model_may_not_decide_on_a_variant_it_is_not_validated_for(variant: str | None) -> None:
    decision = decide(ACCEPTED, scored(0.01), variant=variant)
    assert (decision.kind, decision.reasons) == (r.ROUTE_TO_REVIEWER, ("unvalidated-variant",))
    assert decision.class_name == "finger"
    held = decide(
        ACCEPTED, None, replace(RULES, policy=replace(POLICY, on_unvalidated_variant=r.HOLD)), variant
    )
    assert held.kind == r.HOLD


def test_a_station_without_a_list_takes_every_variant() -> None:
    assert decide(ACCEPTED, scored(0.01), replace(RULES, station=Station()), "mono").kind == r.PASS


@pytest.mark.parametrize(
    ("audit", "station"), [(Audit("rejected", ("unregistered-station",)), Station()), (ACCEPTED, None)]
)
def test_a_station_nobody_registered_is_held(audit: Audit, station: Station | None) -> None:
    decision = decide(audit, scored(0.01), replace(RULES, station=station))
    assert (decision.kind, decision.reasons) == (r.HOLD, ("unregistered-station",))


def test_at_the_deadline_the_policy_decides_without_the_model() -> None:
    late = decide_on(Basis.MODEL_DEADLINE, Evidence(ACCEPTED, scored(0.01), "poly"), RULES)
    assert (late.kind, late.reasons, late.decided_by) == (r.ROUTE_TO_REVIEWER, ("model-timeout",), "deadline")
    blind = decide_on(Basis.MODEL_DEADLINE, Evidence(None, scored(0.01), "poly"), RULES)
    assert (blind.kind, blind.reasons) == (r.HOLD, ("audit-missing",))


@pytest.mark.parametrize(
    ("verdict", "class_name", "kind", "severity"),
    [
        ("good", None, r.PASS, None),
        ("unusable", None, r.HOLD, None),
        ("defect", "crack", r.ESCALATE, r.CRITICAL),
        ("defect", "scratch", r.REWORK, r.MINOR),
        ("defect", None, r.REJECT, r.MAJOR),
        ("defect", "never-heard-of", r.REJECT, r.MAJOR),
        ("defect", "shade", r.PASS, r.MONITOR_ONLY),
    ],
)
def test_a_person_decides_by_the_severity_of_what_they_saw(
    verdict: str, class_name: str | None, kind: str, severity: str | None
) -> None:
    evidence = Evidence(ACCEPTED, scored(0.5), "poly", Verdict("r1", verdict, "ada", class_name))
    decision = decide_on(Basis.REVIEW, evidence, RULES)
    assert (decision.kind, decision.severity, decision.class_name) == (kind, severity, class_name)
    assert (decision.decided_by, decision.reasons) == ("person:ada", (f"reviewed-{verdict}",))


def test_a_review_without_a_verdict_is_a_bug() -> None:
    with pytest.raises(ValueError, match="verdict"):
        decide_on(Basis.REVIEW, Evidence(ACCEPTED), RULES)


def test_a_severity_the_policy_forgot_gets_the_strictest_band() -> None:
    policy = replace(POLICY, bands=(Band(r.MINOR, 0.5, 0.9, r.REWORK), Band(r.MAJOR, 0.2, 0.6, r.REJECT)))
    decision = decide(ACCEPTED, scored(0.3, "crack"), replace(RULES, policy=policy))
    assert (decision.kind, decision.class_name) == (r.ROUTE_TO_REVIEWER, "crack")


def test_a_policy_without_bands_leaves_everything_to_people() -> None:
    decision = decide(ACCEPTED, scored(0.99), replace(RULES, policy=replace(POLICY, bands=())))
    assert (decision.kind, decision.reasons) == (r.ROUTE_TO_REVIEWER, ("no-band-for-severity",))


def test_a_class_the_taxonomy_lacks_counts_as_major_and_is_named() -> None:
    decision = decide(ACCEPTED, scored(0.8, "novel"))
    assert (decision.kind, decision.severity, decision.class_name) == (r.REJECT, r.MAJOR, "novel")
    assert decision.reasons == ("confident-defect", "class-not-in-taxonomy")


def test_without_a_taxonomy_the_models_classes_are_major_and_usual_good_names_are_good() -> None:
    rules = Rules(Policy(), Taxonomy(), Station())
    decision = decide(ACCEPTED, scored(0.4, "Normal", Normal=0.6, dent=0.4), rules)
    assert (decision.kind, decision.class_name, decision.severity) == (r.ROUTE_TO_REVIEWER, "dent", r.MAJOR)


def test_second_answers_are_drawn_from_the_capture_and_keep_their_share() -> None:
    captures = [f"capture-{n}" for n in range(5000)]
    drawn = [second_answer_wanted(c, 0.2) for c in captures]
    assert drawn == [second_answer_wanted(c, 0.2) for c in captures]
    assert 0.18 < sum(drawn) / len(drawn) < 0.22
    assert not any(second_answer_wanted(c, 0.0) for c in captures)
    assert all(second_answer_wanted(c, 1.0) for c in captures)


def test_rules_survive_storage() -> None:
    again = Rules.from_json(json.loads(RULES.as_json))
    assert again == RULES
    assert again.digest == RULES.digest
    assert Rules().digest != RULES.digest
    assert Rules.from_json(json.loads(Rules().as_json)) == Rules()

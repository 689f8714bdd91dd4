"""What the taxonomy's rules change in a decision, and what they never change."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from andon_chassis.errors import Invalid
from andon_events.records import SeverityRule, TaxonomyClass, TaxonomyPublished
from andon_events.severity import Place
from review_router.adapters.memory import MemoryCases
from review_router.domain import rules as r
from review_router.domain.decide import Audit, Basis, Decision, Evidence, ModelResult, Verdict, decide_on
from review_router.domain.rules import Band, DefectClass, Policy, Rules, Station, Taxonomy
from review_router.replay import replay

from .conftest import World

CLASSES = (
    DefectClass("good", r.MINOR, False),
    DefectClass("crack", r.CRITICAL, True),
    DefectClass("scratch", r.MINOR, True),
    DefectClass("dent", r.MAJOR, True),
)
POLICY = Policy(
    version="p1",
    bands=(
        Band(r.CRITICAL, 0.05, 0.40, r.ESCALATE),
        Band(r.MAJOR, 0.30, 0.70, r.REJECT),
        Band(r.MINOR, 0.50, 0.90, r.REWORK),
    ),
)
HERE = Place("8-114", "line-a/cell-1", "ACME")


def rules(*ruled: SeverityRule) -> Rules:
    return Rules(POLICY, Taxonomy("t1", CLASSES, ruled), Station())


def decide(
    score: float, predicted: str, *ruled: SeverityRule, place: Place = HERE, **scores: float
) -> Decision:
    model = ModelResult("scored", "release-1", predicted_class=predicted, defect_score=score, scores=scores)
    return decide_on(Basis.EVIDENCE, Evidence(Audit("accepted"), model, place=place), rules(*ruled))


def reviewed(class_name: str | None, *ruled: SeverityRule, predicted: str = "dent") -> Decision:
    model = ModelResult("scored", "release-1", predicted_class=predicted, defect_score=0.5)
    verdict = Verdict("r1", "defect", "ada", class_name)
    return decide_on(Basis.REVIEW, Evidence(Audit("accepted"), model, None, verdict, HERE), rules(*ruled))


@pytest.mark.parametrize(
    "rule",
    [
        SeverityRule(product="8-114", class_name="scratch", severity="major"),
        SeverityRule(station="cell-1", class_name="scratch", severity="major"),
        SeverityRule(station="line-a/cell-1", class_name="scratch", severity="major"),
        SeverityRule(customer="ACME", severity="major"),
    ],
)
def test_a_rule_of_the_place_gives_the_class_another_band(rule: SeverityRule) -> None:
    assert decide(0.75, "scratch").kind == r.ROUTE_TO_REVIEWER
    ruled = decide(0.75, "scratch", rule)
    assert (ruled.kind, ruled.severity, ruled.severity_rule) == (r.REJECT, "major", rule)
    assert ruled.reasons == ("confident-defect", "severity-by-rule")
    elsewhere = decide(0.75, "scratch", rule, place=Place("9-000", "line-a/cell-2", "OTHER"))
    assert (elsewhere.kind, elsewhere.severity, elsewhere.severity_rule) == (
        r.ROUTE_TO_REVIEWER,
        "minor",
        None,
    )
    assert decide(0.75, "scratch", rule, place=Place()).severity_rule is None, "unknown is no match"


def test_the_most_specific_rule_wins_for_each_of_severity_and_disposition() -> None:
    wide = SeverityRule(product="8-114", class_name="dent", severity="minor", disposition="hold")
    narrow = SeverityRule(product="8-114", customer="ACME", class_name="dent", severity="critical")
    decision = decide(0.5, "dent", wide, narrow)
    assert (decision.kind, decision.severity) == ("hold", "critical")
    assert (decision.severity_rule, decision.disposition_rule) == (narrow, wide)
    assert decision.reasons == ("confident-defect", "severity-by-rule", "disposition-by-rule")


def test_a_rule_says_what_becomes_of_a_defect_and_the_policy_whether_there_is_one() -> None:
    accepted_by_customer = SeverityRule(customer="ACME", class_name="scratch", disposition="pass")
    assert decide(0.40, "scratch", accepted_by_customer).reasons == ("confident-good",)
    doubt = decide(0.70, "scratch", accepted_by_customer)
    assert (doubt.kind, doubt.disposition_rule) == (r.ROUTE_TO_REVIEWER, None)
    found = decide(0.95, "scratch", accepted_by_customer)
    assert (found.kind, found.class_name, found.disposition_rule) == (r.PASS, "scratch", accepted_by_customer)
    assert found.reasons == ("confident-defect", "disposition-by-rule")


def test_what_a_rule_lets_pass_does_not_hide_another_defect() -> None:
    lenient = SeverityRule(customer="ACME", class_name="scratch", disposition="pass")
    decision = decide(0.95, "scratch", lenient, scratch=0.55, dent=0.40)
    assert (decision.kind, decision.class_name, decision.disposition_rule) == (
        r.ROUTE_TO_REVIEWER,
        "dent",
        None,
    )
    assert decide(0.95, "scratch", lenient, scratch=0.90, dent=0.05).kind == r.PASS


@pytest.mark.parametrize(
    "unnamed",
    [
        SeverityRule(customer="ACME", disposition="pass"),
        SeverityRule(customer="ACME", severity="monitor-only"),
        SeverityRule(
            customer="ACME", product="8-114", station="cell-1", severity="minor", disposition="pass"
        ),
    ],
)
def test_a_critical_class_neither_passes_nor_becomes_milder_unless_it_is_named(unnamed: SeverityRule) -> None:
    decision = decide(0.45, "crack", unnamed)
    assert (decision.kind, decision.severity, decision.disposition_rule) == (r.ESCALATE, "critical", None)
    assert reviewed("crack", unnamed).kind == r.ESCALATE
    named = replace(unnamed, class_name="crack", severity="monitor-only", disposition="pass")
    assert decide(0.45, "crack", named).kind == r.PASS
    assert reviewed("crack", named).kind == r.PASS


def test_a_class_that_a_rule_makes_critical_does_not_pass_unnamed_either() -> None:
    graver = SeverityRule(product="8-114", class_name="scratch", severity="critical")
    decision = decide(0.45, "scratch", graver, SeverityRule(customer="ACME", disposition="pass"))
    assert (decision.kind, decision.severity, decision.disposition_rule) == (r.ESCALATE, "critical", None)


def test_a_class_the_taxonomy_lacks_only_becomes_graver() -> None:
    lenient = SeverityRule(customer="ACME", severity="minor", disposition="pass")
    decision = decide(0.8, "novel", lenient)
    assert (decision.kind, decision.severity) == (r.REJECT, "major")
    graver = decide(0.45, "novel", SeverityRule(station="cell-1", severity="critical"))
    assert (graver.kind, graver.severity) == (r.ESCALATE, "critical")


def test_a_class_that_is_critical_here_counts_though_another_one_leads() -> None:
    critical_here = SeverityRule(station="line-a/cell-1", class_name="dent", severity="critical")
    scores = {"good": 0.80, "scratch": 0.14, "dent": 0.06}
    assert decide(0.20, "good", **scores).kind == r.PASS
    decision = decide(0.20, "good", critical_here, **scores)
    assert (decision.kind, decision.class_name, decision.severity) == (
        r.ROUTE_TO_REVIEWER,
        "dent",
        "critical",
    )


def test_what_is_no_question_of_defects_is_not_ruled() -> None:
    everything_passes = SeverityRule(product="8-114", class_name="scratch", disposition="pass")
    model = ModelResult("scored", "release-1", predicted_class="scratch", defect_score=0.99)
    for audit in (Audit("rejected", ("blurred",)), Audit("ambiguous", ("blurred",)), None):
        decision = decide_on(Basis.EVIDENCE, Evidence(audit, model, place=HERE), rules(everything_passes))
        assert decision.kind != r.PASS
    unvalidated = replace(rules(everything_passes), station=Station(("poly",)))
    decision = decide_on(Basis.EVIDENCE, Evidence(Audit("accepted"), model, "mono", place=HERE), unvalidated)
    assert decision.kind == r.ROUTE_TO_REVIEWER


def test_what_a_person_finds_is_treated_by_the_rule_of_the_class_they_name() -> None:
    rework = SeverityRule(customer="ACME", class_name="dent", disposition="rework")
    named = reviewed("dent", rework)
    assert (named.kind, named.disposition_rule) == (r.REWORK, rework)
    assert reviewed(None, rework).kind == r.REJECT, "nobody confirmed that it is a dent"


def test_a_rule_that_sends_a_defect_to_a_person_does_not_send_it_twice() -> None:
    ask = SeverityRule(customer="ACME", class_name="dent", disposition="route-to-reviewer")
    assert decide(0.99, "dent", ask).kind == r.ROUTE_TO_REVIEWER
    answered = reviewed("dent", ask)
    assert (answered.kind, answered.disposition_rule) == (r.REJECT, None)


def test_rules_survive_storage_and_those_of_an_earlier_release_have_none() -> None:
    stored = rules(SeverityRule(customer="ACME", class_name="dent", severity="minor"))
    assert Rules.from_json(json.loads(stored.as_json)) == stored
    old = json.loads(rules().as_json)
    del old["taxonomy"]["rules"]
    assert Rules.from_json(old) == rules()


def taxonomy(version: str, *ruled: SeverityRule) -> TaxonomyPublished:
    classes = [
        TaxonomyClass(name=c.name, severity=c.severity, definition="", is_defect=c.is_defect) for c in CLASSES
    ]
    return TaxonomyPublished(
        taxonomy_version=version,
        classes=classes,
        rules=list(ruled),
        published_by="q",
        published_at=World().now,
    )


def decided(world: World, number: int, cases: MemoryCases, **known: Any) -> Any:
    outcomes = world.router.handle(
        [
            world.audited(number, **known),
            world.scored(number, 0.6, predicted_class="dent", scores={"dent": 0.6}),
        ],
        cases,
    )
    return next(e.data for made in outcomes for e in made if hasattr(e.data, "disposition_id"))  # type: ignore[union-attr]


def test_the_disposition_names_the_rule_and_a_replay_comes_out_the_same(world: World) -> None:
    rule = SeverityRule(customer="ACME", class_name="dent", severity="critical", disposition="hold")
    world.rulebook.apply(world.event(taxonomy("t2", rule), cause="t2"))
    cases = MemoryCases()
    here = decided(world, 1, cases, customer="ACME")
    assert (here.kind, here.severity) == ("route-to-reviewer", "critical")
    assert (here.evidence.taxonomy_version, here.evidence.severity_rule) == ("t2", rule)
    assert here.evidence.disposition_rule is None and "severity-by-rule" in here.reasons
    other = decided(world, 2, cases, customer="OTHER")
    assert (other.severity, other.evidence.severity_rule) == ("major", None)
    world.rulebook.apply(world.event(taxonomy("t3"), cause="t3"))
    for ruling in cases.rulings.values():
        assert replay(cases.cases[ruling.capture_id], ruling).same


@pytest.mark.parametrize(
    "wrong",
    [
        SeverityRule(customer="ACME", severity="terrible"),
        SeverityRule(customer="ACME", disposition="shred"),
        SeverityRule(customer="ACME"),
        SeverityRule(severity="major"),
    ],
)
def test_a_taxonomy_with_an_impossible_rule_is_refused_and_the_one_before_stays(
    world: World, wrong: SeverityRule
) -> None:
    world.rulebook.apply(world.event(taxonomy("t2"), cause="t2"))
    with pytest.raises(Invalid, match="impossible-taxonomy"):
        world.rulebook.apply(world.event(taxonomy("t3", wrong), cause="t3"))
    assert world.rulebook.rules_for("line-a", "cell-1", None, None).taxonomy.version == "t2"


def test_two_rules_for_the_same_place_are_refused(world: World) -> None:
    twice = [SeverityRule(customer="ACME", severity=severity) for severity in ("major", "minor")]
    with pytest.raises(Invalid, match="two rules"):
        world.rulebook.apply(world.event(taxonomy("t2", *twice), cause="t2"))

"""The rules of a taxonomy, against their definition written down plainly."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from andon_events.records import SeverityRule
from andon_events.severity import (
    CRITICAL,
    DISPOSITIONS,
    PASS,
    SEVERITIES,
    Place,
    SeverityRules,
    Subject,
    faults,
    named,
)
from hypothesis import given
from hypothesis import strategies as st

maybe = st.none() | st.sampled_from(["a", "b"])
stations = st.none() | st.sampled_from(["s", "t", "l/s", "m/s"])
rules = st.builds(
    SeverityRule,
    product=maybe,
    station=stations,
    customer=maybe,
    class_name=maybe,
    severity=st.none() | st.sampled_from(SEVERITIES),
    disposition=st.none() | st.sampled_from(DISPOSITIONS),
)
subjects = st.builds(
    Subject, st.sampled_from(["a", "b", "c"]), st.sampled_from(SEVERITIES), st.booleans(), st.booleans()
)
places = st.builds(Place, maybe, stations, maybe)


def holds(rule: SeverityRule, subject: Subject, place: Place) -> bool:
    at = {None, place.station, (place.station or "").rpartition("/")[2] or None}
    return (
        subject.is_defect
        and rule.customer in (None, place.customer)
        and rule.station in at
        and rule.product in (None, place.product)
        and rule.class_name in (None, subject.class_name)
    )


def specificity(rule: SeverityRule) -> tuple[int, ...]:
    fields = [value is not None for value in named(rule)]
    return (sum(fields), *fields, "/" in (rule.station or ""))


def plainly(
    all_rules: Sequence[SeverityRule], subject: Subject, place: Place
) -> tuple[str | None, str | None]:
    ordered = sorted((x for x in all_rules if holds(x, subject, place)), key=specificity, reverse=True)
    guarded = subject.severity == CRITICAL or not subject.is_known
    severity = subject.severity
    for rule in ordered:
        milder = rule.severity and SEVERITIES.index(rule.severity) > SEVERITIES.index(
            subject.severity or CRITICAL
        )
        if rule.severity and not (guarded and rule.class_name is None and milder):
            severity = rule.severity
            break
    guarded = guarded or severity == CRITICAL
    for rule in ordered:
        if rule.disposition and not (guarded and rule.class_name is None and rule.disposition == PASS):
            return severity, rule.disposition
    return severity, None


@given(st.lists(rules, max_size=12, unique_by=named), subjects, places)
def test_whatever_the_rules_the_index_settles_as_the_definition_does(
    some: list[SeverityRule], subject: Subject, place: Place
) -> None:
    severity, disposition = SeverityRules(some).settle(subject, place)
    assert (severity.value, disposition.value) == plainly(some, subject, place)
    for settled, what in ((severity, "severity"), (disposition, "disposition")):
        heard = [rule for rule in (settled.rule, *settled.beaten, *settled.barred) if rule is not None]
        assert len({named(rule) for rule in heard}) == len(heard)
        assert {named(rule) for rule in heard} == {
            named(rule) for rule in some if holds(rule, subject, place) and getattr(rule, what) is not None
        }


@given(st.lists(rules, max_size=12, unique_by=named), subjects, places)
def test_the_order_of_the_rules_does_not_matter(
    some: list[SeverityRule], subject: Subject, place: Place
) -> None:
    assert SeverityRules(some).settle(subject, place) == SeverityRules(some[::-1]).settle(subject, place)


@given(st.lists(rules.filter(lambda rule: rule.class_name is None), max_size=12, unique_by=named), places)
def test_no_rules_without_a_class_let_a_critical_class_pass(some: list[SeverityRule], place: Place) -> None:
    severity, disposition = SeverityRules(some).settle(Subject("a", CRITICAL), place)
    assert severity.value == CRITICAL and disposition.value != PASS


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        (SeverityRule(customer="a", severity="terrible"), "unknown severity 'terrible'"),
        (SeverityRule(customer="a", disposition=""), "unknown disposition ''"),
        (SeverityRule(customer="a"), "says neither"),
        (SeverityRule(severity="major"), "names no"),
    ],
)
def test_what_nothing_can_be_decided_by(rule: SeverityRule, fault: str) -> None:
    (found,) = faults([rule])
    assert fault in found


def test_two_rules_that_name_the_same_contradict_each_other() -> None:
    first = SeverityRule(customer="a", severity="major")
    assert faults([first, SeverityRule(customer="a", disposition="hold")]) != []
    assert faults([first, SeverityRule(customer="b", severity="major")]) == []

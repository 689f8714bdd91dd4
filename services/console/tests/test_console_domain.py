"""What the screens say, without a screen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from console.domain import board, bounds, conformity, words
from console.domain.story import story
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def station(**more: Any) -> dict[str, Any]:
    return {
        "registered": True,
        "last_capture_at": NOW,
        "disputed": 0,
        "open_actions": 0,
        "takt_ms": 900,
        "recent_latency_ms": {"p95": 200.0},
        "captured": 500,
        "decided": 495,
        "captured_per_minute": [10] * 30,
        **more,
    }


@pytest.mark.parametrize(
    ("changes", "colour", "word"),
    [
        ({}, "green", "Running"),
        ({"registered": False}, "red", "Not registered"),
        ({"disputed": 2}, "red", "Disputed"),
        ({"open_actions": 1}, "amber", "Needs action"),
        ({"recent_latency_ms": {"p95": 1200.0}}, "amber", "Slow"),
        ({"decided": 471}, "green", "Running"),
        ({"decided": 469}, "amber", "Waiting"),
        ({"recent_latency_ms": {"p95": None}}, "green", "Running"),
        ({"last_capture_at": NOW - timedelta(minutes=11)}, "off", "Quiet"),
        ({"last_capture_at": None}, "off", "Quiet"),
    ],
)
def test_the_light_says_what_is_needed(changes: dict[str, Any], colour: str, word: str) -> None:
    light = board.light(station(**changes), NOW)
    assert (light.colour, light.word) == (colour, word)
    assert light.why


@given(
    st.dictionaries(st.sampled_from([*words.DISPOSITIONS, "from next year"]), st.integers(0, 10_000)),
    st.integers(-3, 100),
)
def test_the_bar_is_filled_without_gaps(dispositions: dict[str, int], undecided: int) -> None:
    bar = board.shares(dispositions, undecided)
    assert sum(share.count for share in bar) == sum(dispositions.values()) + max(0, undecided)
    if bar:
        assert bar[0].left == 0
        assert bar[-1].left + bar[-1].width == pytest.approx(100, abs=0.02)
        for left, right in pairwise(bar):
            assert left.left + left.width == pytest.approx(right.left, abs=0.02)


def test_what_is_missing_most_comes_first_and_what_is_not_missing_does_not_come() -> None:
    missing = {"shift": 2, "product_variant": 7, "batch": 2, "camera": 0}
    assert board.gaps(missing) == [("Product variant", 7), ("Batch", 2), ("Shift", 2)]
    assert board.gaps({}) == []


def test_the_pulse_stays_inside_its_box() -> None:
    points = [
        tuple(map(float, p.lstrip("ML ").split(","))) for p in board.pulse([0, 5, 2], 100, 30).split(" ")
    ]
    assert points == [(0.0, 29.0), (50.0, 2.0), (100.0, 18.2)]
    assert board.pulse([0] * 30, 100, 30).count("29.0") == 30


@pytest.mark.parametrize(
    ("share", "text"),
    [(None, "–"), (0.0, "0 %"), (0.004, "<1 %"), (0.35, "35 %"), (0.997, ">99 %"), (1.0, "100 %")],
)
def test_nothing_is_rounded_to_certainty(share: float | None, text: str) -> None:
    assert words.percent(share) == text.replace(" ", "\u00a0")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.21, "share", "21 %"),
        (0.035, "share", "3.5 %"),
        (1234.5, "ms", "1,234 ms"),
        (61.0, "grey level", "61 grey level"),
    ],
)
def test_figures_have_their_unit(value: float, unit: str, text: str) -> None:
    assert words.figure(value, unit).replace("\u00a0", " ") == text


def test_words() -> None:
    assert words.sentence("false-reject-spike") == "False reject spike"
    assert words.disposition(None) == "Pending"
    assert words.disposition("route-to-reviewer") == "In review"
    assert words.disposition("from-next-year") == "From next year"
    assert words.count(12345) == "12\u202f345"
    assert words.latency({"p50": 80.4, "p95": 190.0}) == "80 / 190 ms"
    assert words.latency({"p50": 800.0, "p95": 1900.0}) == "0.8 / 1.9 s"
    assert words.latency({"p50": None, "p95": None}) == "–"


def test_the_usual_proofs_come_first() -> None:
    names = [name for name, _ in words.proofs("restore-capture-standard")]
    assert names[:2] == ["capture_standard_version", "deployment_change"]
    assert sorted(names) == sorted(words.PROOFS)


def test_context_in_the_order_people_ask_for_it() -> None:
    known = {"line": "a", "part_id": "7", "new_field": "x", "shift": None, "customer": "ACME"}
    assert words.context(known) == [
        ("Part id", "7"),
        ("Customer", "ACME"),
        ("Line", "a"),
        ("New field", "x"),
    ]


def test_bounds_are_read_as_they_are_written() -> None:
    known = [
        {"name": "exposure_us", "low": 3900.0, "high": 4100.0},
        {"name": "sharpness", "low": 0.5, "high": None},
        {"name": "background_spread", "low": None, "high": 0.05},
        {"name": "angle_deg", "low": -90.0, "high": -90.0},
    ]
    text = bounds.written(known)
    assert text.splitlines()[1:] == [
        "sharpness at least 0.5",
        "background_spread at most 0.05",
        "angle_deg -90",
    ]
    assert bounds.read(text) == (known, None)
    assert bounds.read(" \n exposure_us  3900  to 4100 \n") == (known[:1], None)


@pytest.mark.parametrize(
    "line", ["exposure_us", "exposure_us about 4000", "a 1 to", "a 1.2.3", "a 1e999", "3900 to 4100 x"]
)
def test_a_bound_that_cannot_be_read_is_named(line: str) -> None:
    found, wrong = bounds.read(f"sharpness at least 0.5\n{line}")
    assert found == [] and wrong is not None and line in wrong


def test_evidence_names_rules_and_deviations_and_that_of_earlier_releases_none() -> None:
    rule = {
        "product": None,
        "station": "line-a/cell-1",
        "customer": "ACME",
        "class_name": None,
        "severity": "critical",
    }
    deviation = {
        "reason": "other-lens",
        "what": "lens",
        "standard_version": "cs-2",
        "allowed": "25 mm",
        "found": "35 mm",
    }
    evidence = {
        "taxonomy_version": "t2",
        "severity_rule": rule,
        "disposition_rule": None,
        "deviations": [deviation],
        "unproven": ["gain_db"],
    }
    assert conformity.ruled(evidence) == [
        "Severity: critical, by the rule for Every defect: customer ACME, station line-a/cell-1 (taxonomy t2)"
    ]
    assert conformity.deviating(evidence) == [("Other lens", "Lens 35 mm; standard cs-2 allows 25 mm")]
    assert conformity.unproven(evidence) == ["Gain db"]
    old = {"policy_version": "p1"}
    assert (conformity.ruled(old), conformity.deviating(old), conformity.unproven(old)) == ([], [], [])


@pytest.mark.parametrize(
    ("decided_by", "words_for_it"),
    [
        ("person:r.alvarez", "r.alvarez"),
        ("policy", "the policy"),
        ("deadline", "a deadline"),
        ("robot", "robot"),
    ],
)
def test_who_answers_for_a_decision(decided_by: str, words_for_it: str) -> None:
    assert words.decider(decided_by) == words_for_it


def test_a_story_is_told_in_its_order() -> None:
    def at(seconds: int) -> str:
        return (NOW + timedelta(seconds=seconds)).isoformat()

    told = story(
        {
            "history": [{"decided_at": at(1), "revision": 1}, {"decided_at": at(9), "revision": 2}],
            "reviews": [{"requested_at": at(1)}],
            "labels": [{"approved_at": at(8)}],
            "findings": [{"found_at": at(60)}],
        }
    )
    assert [one.what for one in told] == ["history", "reviews", "labels", "history", "findings"]

"""The auditor misses nothing: every way of losing or doubling a capture shows, and names the capture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from andon_demo.books import Facts, balance
from hypothesis import given
from hypothesis import strategies as st

IDS = [f"c{n}" for n in range(12)]


def healthy() -> Facts:
    once = dict.fromkeys(IDS, 1)
    dispositions = {f"d-{i}": 1 for i in IDS} | {"d-c0-2": 1}
    return Facts(
        sent=15,
        accepted=once,
        refused={"truncated": 2, "trigger-conflict": 1},
        unanswered=0,
        recorded=once,
        audited=once,
        inferable=set(IDS[2:]),
        inferred=dict.fromkeys(IDS[2:], 1),
        decided=once,
        dispositions=dispositions,
        kept=dispositions,
        acknowledged=dispositions,
        confirmed=dispositions,
        reviews_requested={"r0"},
        reviews_completed={"r0"},
        reviews_corrected={"r0"},
        signals={"new-variant": {"s1"}, "capture-drift": {"s2", "s3"}},
        actions={"s1": 1, "s2": 1, "s3": 1},
        actions_opened={"a1", "a2", "a3"},
        actions_settled={"a1": 1, "a2": 1, "a3": 1},
        expected_signals={"new-variant", "capture-drift"},
        findings_sent={"c5": 1},
        findings_received={"c5": 1},
    )


def test_a_healthy_run_balances() -> None:
    books = balance(healthy())
    assert books.balanced
    assert (books.lost, books.duplicated) == (0, 0)


def test_an_action_that_nobody_closed_or_kept_open_for_a_reason_is_named() -> None:
    books = balance(replace(healthy(), actions_settled={"a1": 1, "a3": 1}))
    (line,) = [line for line in books.lines if not line.balanced]
    assert line.lost == ("a2",)


CHAIN = ["accepted", "recorded", "audited", "inferred", "decided"]
DELIVERY = ["kept", "acknowledged", "confirmed"]


@pytest.mark.parametrize("step", ["recorded", "audited", "inferred", "decided"])
@given(victim=st.sampled_from(IDS[2:]))
def test_a_capture_lost_at_any_step_is_named_and_counted_once(step: str, victim: str) -> None:
    facts = healthy()
    seen = {i: n for i, n in getattr(facts, step).items() if i != victim}
    books = balance(replace(facts, **{step: seen}))
    assert not books.balanced
    assert books.lost == 1
    assert any(victim in line.lost for line in books.lines)


@pytest.mark.parametrize("step", CHAIN)
@given(victim=st.sampled_from(IDS[2:]), times=st.integers(2, 5))
def test_a_capture_doubled_at_any_step_is_named_and_counted_once(step: str, victim: str, times: int) -> None:
    facts = healthy()
    books = balance(replace(facts, **{step: {**getattr(facts, step), victim: times}}))
    assert not books.balanced
    assert books.duplicated == 1
    assert any(victim in line.duplicated for line in books.lines)


@pytest.mark.parametrize("step", DELIVERY)
def test_a_delivery_lost_or_doubled_is_named(step: str) -> None:
    facts = healthy()
    whole = getattr(facts, step)
    lost = balance(replace(facts, **{step: {i: n for i, n in whole.items() if i != "d-c3"}}))
    assert (lost.lost, lost.duplicated, lost.balanced) == (1, 0, False)
    doubled = balance(replace(facts, **{step: {**whole, "d-c3": 2}}))
    assert (doubled.lost, doubled.duplicated, doubled.balanced) == (0, 1, False)


@pytest.mark.parametrize("step", ["recorded", "audited", "inferred", "decided", *DELIVERY])
def test_something_from_nowhere_is_not_swallowed_by_the_sums(step: str) -> None:
    facts = healthy()
    whole = dict(getattr(facts, step))
    whole.pop(next(reversed(whole)))
    books = balance(replace(facts, **{step: {**whole, "ghost": 1}}))
    assert not books.balanced
    assert any("ghost" in line.unexpected for line in books.lines)


@pytest.mark.parametrize(
    ("change", "title"),
    [
        ({"sent": 16}, "images sent"),
        ({"refused": {"truncated": 2}}, "images sent"),
        ({"turned_away": {"BadSignatureError": 1}}, "bad signature"),
        ({"reviews_completed": set(), "reviews_corrected": set()}, "reviews requested"),
        ({"reviews_corrected": set()}, "reviews completed"),
        ({"actions": {"s1": 1, "s2": 1}}, "signals = actions"),
        ({"actions": {"s1": 2, "s2": 1, "s3": 1}}, "signals = actions"),
        ({"expected_signals": {"new-variant", "missed-defect"}}, "signal kinds"),
        ({"findings_received": {}}, "findings"),
        ({"dead_letters": ["inference.dead-letter: wrong-hash"]}, "dead letters"),
        ({"repeated_entities": {"review.requested": 1}}, "came twice"),
    ],
)
def test_every_other_difference_is_a_line_that_does_not_balance(change: dict[str, Any], title: str) -> None:
    books = balance(replace(healthy(), **change))
    (wrong,) = [line.title for line in books.lines if not line.balanced]
    assert title in wrong


def test_an_expected_kind_that_nobody_raised_is_named() -> None:
    books = balance(replace(healthy(), expected_signals={"new-variant", "slow-decision"}))
    (line,) = [line for line in books.lines if not line.balanced]
    assert line.lost == ("slow-decision",)


def test_a_kind_that_was_raised_without_being_expected_is_fine() -> None:
    assert balance(replace(healthy(), expected_signals=set())).balanced

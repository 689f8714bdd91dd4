"""What must have been raised: every played cause that was plain to see, and nothing that was not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from andon_demo.expectations import expected_kinds
from andon_demo.ledger import Ledger
from andon_demo.rehearsal import START, Factory
from andon_demo.run import shots_of
from andon_demo.settings import Windows
from andon_events import records as r


@pytest.fixture(scope="module")
def factory(tmp_path_factory: pytest.TempPathFactory) -> Factory:
    return Factory(tmp_path_factory.mktemp("parts"), images=600)


WINDOWS = Windows(drift_reference=8, drift_recent=5)


def _expected(factory: Factory, ledger: Ledger | None = None) -> frozenset[str]:
    return expected_kinds(factory.plan, shots_of(factory.answers), ledger or factory.ledger, WINDOWS)


def test_played_causes_that_were_seen_are_expected(factory: Factory) -> None:
    assert _expected(factory) == {"capture-drift", "new-variant", "slow-decision"}


def test_nothing_is_expected_of_an_empty_plant(factory: Factory) -> None:
    assert _expected(factory, Ledger()) == set()


def _finding(factory: Factory, capture_id: str, kind: str) -> r.MesFindingReceived:
    capture = factory.ledger.captures[capture_id]
    assert capture.first is not None
    return r.MesFindingReceived(
        finding_id=f"{kind}-{capture_id}",
        kind=kind,
        capture_id=capture_id,
        context=capture.first.context,
        reported_by="test",
        found_at=capture.first.captured_at,
        received_at=capture.first.captured_at,
    )


def test_one_escape_is_enough_and_one_false_reject_is_not(tmp_path: Path) -> None:
    factory = Factory(tmp_path, images=200)
    rejected = [i for i, c in factory.ledger.captures.items() if c.first and c.first.kind == "reject"]
    factory.ledger.apply("mes.finding-received", "e1", _finding(factory, rejected[0], "false-reject"))
    assert not {"missed-defect", "false-reject-spike"} & _expected(factory)
    factory.ledger.apply("mes.finding-received", "e2", _finding(factory, rejected[1], "escape"))
    assert "missed-defect" in _expected(factory)
    for number, capture_id in enumerate(rejected[2:]):
        factory.ledger.apply(
            "mes.finding-received", f"f{number}", _finding(factory, capture_id, "false-reject")
        )
    assert "false-reject-spike" in _expected(factory)


def _review(number: int, agreed: bool) -> r.ReviewCompleted:
    answer = r.ReviewAnswer(reviewer="a", verdict="good", answered_at=START)
    return r.ReviewCompleted(
        review_id=f"r{number}",
        capture_id=f"c{number}",
        context=r.CaptureContext(line="line-a", station="cell-1"),
        verdict="good",
        answers=[answer, replace(answer, reviewer="b")],
        agreed=agreed,
        decided_by="a",
        completed_at=START + timedelta(seconds=number % 10),
        captured_at=START,
    )


@pytest.mark.parametrize(("apart", "of", "expected"), [(2, 4, False), (4, 20, False), (12, 20, True)])
def test_disagreement_is_expected_only_beyond_chance(
    factory: Factory, apart: int, of: int, expected: bool
) -> None:
    ledger = Ledger()
    for number in range(of):
        data: Any = _review(number, agreed=number >= apart)
        ledger.apply("review.completed", f"e{number}", data)
    assert ("reviewer-disagreement" in _expected(factory, ledger)) == expected

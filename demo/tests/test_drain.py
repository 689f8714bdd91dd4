"""What hangs is named, with where to look; a quiet plant has nothing to name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from andon_demo.cameras import Answers
from andon_demo.drain import pending
from andon_demo.ledger import Ledger
from andon_demo.rehearsal import Factory


@pytest.fixture
def factory(tmp_path: Path) -> Factory:
    return Factory(tmp_path, images=60)


def _left(factory: Factory, **mes: Any) -> list[str]:
    book = {"entries": factory.entries, "findings": {"sent": [], "waiting": 0}} | mes
    answers = Answers(all=list(factory.answers))
    return [str(item) for item in pending(set(answers.accepted()), factory.ledger, book, factory.left_open)]


def test_a_finished_run_has_nothing_pending(factory: Factory) -> None:
    assert _left(factory) == []


def test_a_capture_without_a_disposition_is_named(factory: Factory) -> None:
    victim = next(iter(factory.ledger.captures))
    factory.ledger.captures[victim].first_decisions = 0
    (left,) = _left(factory)
    assert victim in left and "review-router" in left


def test_a_review_nobody_answered_is_named(factory: Factory) -> None:
    review, _ = factory.ledger.reviews_completed.popitem()
    (left,) = _left(factory)
    assert review in left and "reviews not completed" in left


def test_a_delivery_the_mes_never_acknowledged_is_named(factory: Factory) -> None:
    entries = [entry | {"acknowledged": 0} if n == 0 else entry for n, entry in enumerate(factory.entries)]
    (left,) = _left(factory, entries=entries)
    assert entries[0]["disposition_id"] in left and "mes-bridge" in left


def test_an_action_that_its_owner_forgot_is_named(factory: Factory) -> None:
    action = next(iter(factory.left_open))
    del factory.left_open[action]
    (left,) = _left(factory)
    assert action in left and "/v1/actions" in left


def test_findings_that_are_still_to_come_keep_the_plant_busy(factory: Factory) -> None:
    assert any("findings the MES" in left for left in _left(factory, findings={"sent": [], "waiting": 3}))
    sent = [{"kind": "escape", "capture_id": "c1"}]
    assert any("finding-received" in left for left in _left(factory, findings={"sent": sent, "waiting": 0}))


def test_everything_accepted_but_nothing_seen_is_the_first_to_be_named(factory: Factory) -> None:
    answers = Answers(all=list(factory.answers))
    left = pending(set(answers.accepted()), Ledger(), None)
    assert left[0].count == len(answers.accepted()) and "capture-ingest" in left[0].look

"""The state step on real PostgreSQL: what the bus told becomes rows, counts and actions, exactly once."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from andon_chassis.bus.memory import MemoryBus
from andon_chassis.events import Rejected, deterministic_id
from andon_chassis.testing import drain, publish, state_step
from andon_events import records as r
from dataset_registry.handlers.facts import TOPICS

from .conftest import Registry, capture, review


def test_a_capture_and_its_disposition(registry: Registry) -> None:
    registry.take(registry.captured("1", part_id="p-1"), registry.decided("1", "reject"))
    detail = registry.get(f"/v1/captures/{capture('1')}")
    assert detail["context"]["part_id"] == "p-1"
    assert detail["disposition"]["kind"] == "reject"
    assert detail["disposition"]["latency_ms"] == pytest.approx(80)
    assert (detail["model_release"], detail["predicted_class"], detail["defect_score"]) == (
        "r1",
        "crack",
        0.7,
    )
    assert detail["scores"] == {"crack": 0.7, "good": 0.3}
    assert registry.line()["stations"][0]["last_capture_id"] == capture("1")


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_any_order_gives_the_same_state(registry: Registry, order: tuple[int, ...]) -> None:
    """A disposition may overtake its capture, a correction its original; in one batch or one by one."""
    happened = [
        registry.captured("1", part_id="p-1"),
        registry.decided("1", "route-to-reviewer"),
        registry.decided("1", "pass", revision=2),
    ]
    for index in order:
        registry.take(happened[index])
    detail = registry.get(f"/v1/captures/{capture('1')}")
    assert (detail["disposition"]["kind"], detail["disposition"]["revision"]) == ("pass", 2)
    assert [d["kind"] for d in detail["history"]] == ["route-to-reviewer", "pass"]
    assert detail["defect_score"] == 0.7, "a person's word keeps the model's scores beside it"
    line = registry.line()
    assert line["dispositions"] == {"pass": 1}
    assert (line["captured"], line["decided"], line["corrected"]) == (1, 1, 1)


def test_one_batch_gives_the_same_as_many(registry: Registry) -> None:
    happened = [
        registry.decided("1", "pass", revision=2),
        registry.decided("1", "route-to-reviewer"),
        registry.captured("1"),
    ]
    registry.take(*happened)
    assert registry.line()["dispositions"] == {"pass": 1}
    assert registry.get(f"/v1/captures/{capture('1')}")["missing"] == []


def test_counts_equal_a_recount(registry: Registry) -> None:
    """The incremental counts against counting the rows, over a random day of four stations."""
    dice = random.Random(7)
    happened: list[Any] = []
    for number in range(120):
        trigger, station = str(number), f"cell-{number % 4}"
        kind = dice.choice(["pass", "reject", "hold", "route-to-reviewer"])
        happened += [registry.captured(trigger, station), registry.decided(trigger, kind, station=station)]
        if kind == "route-to-reviewer":
            happened.append(registry.requested(trigger, station=station))
            happened.append(registry.decided(trigger, "pass", revision=2, station=station))
    dice.shuffle(happened)
    while happened:
        batch, happened = happened[:37], happened[37:]
        registry.take(*batch)
    with registry.database.transaction() as tx:
        recount = tx.connection.execute(
            "SELECT station, count(*) AS captured, count(*) FILTER (WHERE kind = 'pass') AS passed FROM captures"
            " GROUP BY station ORDER BY station"
        ).fetchall()
        waiting = tx.connection.execute("SELECT count(*) AS n FROM reviews").fetchone()
    line = registry.line()
    assert [
        {"station": s["station"], "captured": s["captured"], "passed": s["dispositions"].get("pass", 0)}
        for s in line["stations"]
    ] == recount
    assert waiting is not None
    assert line["in_review"] == waiting["n"] > 0
    assert line["captured"] == line["decided"] == sum(line["dispositions"].values()) == 120
    assert line["captured_per_minute"][-1] == 120


def test_a_repeat_changes_nothing(registry: Registry) -> None:
    """Through the chassis' state step: the same events twice on the bus are handled once."""
    bus = MemoryBus()
    happened = [
        registry.captured("1"),
        registry.decided("1", "route-to-reviewer"),
        registry.requested("1"),
        registry.signal("s"),
    ]
    publish(bus, registry.codec, happened * 2)
    step = state_step(bus, registry.codec, "dataset-registry", TOPICS, registry.step, registry.database)
    drain(step)
    line = registry.line()
    assert (line["captured"], line["decided"], line["in_review"], line["open_actions"]) == (1, 1, 1, 1)
    assert len(registry.published("dataset.action-opened")) == 1


class TestSignals:
    def test_a_signal_opens_one_action_with_its_evidence_and_cause(self, registry: Registry) -> None:
        registry.take(registry.signal("s"))
        (opened,) = registry.published("dataset.action-opened")
        assert opened.action_id == deterministic_id("action", deterministic_id("signal", "s"))
        assert (opened.kind, opened.owner) == ("add-good-examples", "dana"), "the plant named its data lead"
        assert (opened.suspected_cause, opened.evidence) == ("threshold", [capture("1"), capture("2")])
        assert opened.due_at > opened.opened_at
        assert registry.keys("dataset.action-opened") == ["line-a/cell-1"]
        (action,) = registry.get("/v1/actions", state="open")["items"]
        assert action["action_id"] == opened.action_id
        assert action["signal"]["evidence"] == opened.evidence
        assert action["signal"]["measured"] == 0.2

    def test_the_same_signal_under_another_event_opens_no_second_action(self, registry: Registry) -> None:
        again = replace(registry.signal("s"), id=deterministic_id("another event"))
        registry.take(registry.signal("s"))
        registry.take(again)
        registry.take(registry.signal("t"), replace(registry.signal("t"), id=deterministic_id("and another")))
        assert len(registry.published("dataset.action-opened")) == 2
        assert registry.line()["open_actions"] == 2

    def test_a_plant_wide_signal_has_a_place(self, registry: Registry) -> None:
        registry.take(registry.signal("s", "slow-decision", scope=r.Scope()))
        assert registry.keys("dataset.action-opened") == ["*/*"]
        (action,) = registry.get("/v1/actions")["items"]
        assert action["title"].startswith("Adjust deployment or queue - all lines: ")


class TestInvalid:
    def test_invalid_events_are_named_and_stop_nobody_else(self, registry: Registry) -> None:
        good = registry.captured("1")
        no_uuid = replace(good, id="a", data=replace(good.data, capture_id="12"))
        nul = registry.captured("2", operator="eve\0")
        nan = registry.decided(
            "3", evidence=r.Evidence(audit_verdict="accepted", policy_version="p", defect_score=float("nan"))
        )
        outcomes = registry.take(no_uuid, nul, nan, good)
        assert [o.reason for o in outcomes[:3] if isinstance(o, Rejected)] == [
            "malformed-id",
            "nul-character",
            "not-a-number",
        ]
        assert registry.line()["captured"] == 1

    @pytest.mark.parametrize("written", ["urn:uuid:{}", "{{{}}}", "upper"])
    def test_an_id_in_another_form_is_named_and_stops_nobody_else(
        self, registry: Registry, written: str
    ) -> None:
        """PostgreSQL does not take the first, and gives the others back in its own form."""
        usual = capture("1")
        other = usual.upper() if written == "upper" else written.format(usual)
        good, made = registry.captured("2"), registry.decided("1")
        outcomes = registry.take(replace(made, data=replace(made.data, capture_id=other)), good)
        assert [o.reason for o in outcomes if isinstance(o, Rejected)] == ["malformed-id"]
        assert registry.line()["captured"] == 1

    def test_a_review_wants_one_or_two_answers(self, registry: Registry) -> None:
        wild = registry.requested("1")
        registry.take(replace(wild, data=replace(wild.data, answers_wanted=7)))
        assert registry.get(f"/v1/reviews/{review('1')}")["answers_wanted"] == 2


def test_findings_and_releases(registry: Registry) -> None:
    registry.take(registry.captured("1"), registry.found("1"), registry.trained("r1"))
    assert registry.line()["findings"] == {"escape": 1}
    assert registry.get(f"/v1/captures/{capture('1')}")["findings"][0]["reported_by"] == "final test"
    assert registry.get("/v1/releases/r1")["metrics"] == {"auroc": 0.9}


@pytest.mark.parametrize("table", ["labels", "dispositions", "answers"])
def test_history_cannot_be_rewritten(registry: Registry, table: str) -> None:
    registry.take(registry.captured("1"), registry.decided("1"), registry.requested("1"))
    assert registry.answer("1", "ada").status_code == 200
    for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET class_name = 'x'"):
        with (
            pytest.raises(psycopg.errors.RaiseException, match="append-only"),
            registry.database.transaction() as tx,
        ):
            tx.connection.execute(statement.encode())

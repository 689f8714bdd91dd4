"""The delivery patterns behave the same on the in-memory bus and on real Kafka."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from andon_chassis.bus.ports import Aborted, Fenced, Outgoing, Partition
from andon_chassis.deadletter import DeadLetterBudget, TooManyInvalid
from andon_chassis.errors import Invalid, Unavailable
from andon_chassis.events import Event, Outcome, event
from andon_chassis.stream import StreamStep, each
from andon_chassis.testing import capture_recorded
from andon_events import records as r

from .conftest import Wire


def audit(e: Event[r.CaptureRecorded]) -> list[Event[Any]]:
    """The simplest stream rule: everything is accepted, except what says it is bad."""
    if e.data.trigger_id == "bad":
        raise Invalid("bad-trigger", "Send a good one.")
    d = e.data
    audited = r.CaptureAudited(
        capture_id=d.capture_id,
        context=d.context,
        image=d.image,
        verdict="accepted",
        audited_at=d.received_at,
        captured_at=d.captured_at,
        received_at=d.received_at,
    )
    return [event(audited, source="audit", key=e.key, time=e.time, cause=e.id)]


def turn_until(step: StreamStep, done: Callable[[], bool], limit: int = 400) -> None:
    for _ in range(limit):
        if done():
            return
        step.turn(0.05)
    raise AssertionError("the condition did not come true")


def test_each_input_gives_exactly_one_output_in_the_order_of_its_station(wire: Wire) -> None:
    captures = [capture_recorded(str(n), station=f"cell-{n % 3}") for n in range(60)]
    wire.publish(captures)
    step = wire.step(each(audit), batch_most=7)
    turn_until(step, lambda: len(wire.read("capture.audited")) == 60)
    audited = wire.read("capture.audited")
    for station in ("cell-0", "cell-1", "cell-2"):
        wanted = [c.data.capture_id for c in captures if c.data.context.station == station]
        assert [e.data.capture_id for e in audited if e.data.context.station == station] == wanted


def test_what_cannot_be_handled_becomes_a_dead_letter_with_its_reason_and_original_bytes(wire: Wire) -> None:
    wire.publish([capture_recorded("1"), capture_recorded("bad"), capture_recorded("2")])
    wire.send([Outgoing("capture.recorded", b"line-a/cell-1", b"garbage", {"x": b"y"})])
    step = wire.step(each(audit))
    turn_until(step, lambda: len(wire.raw("audit.dead-letter")) == 2)
    letters = {m.headers["dl-reason"].decode(): m for m in wire.raw("audit.dead-letter")}
    assert set(letters) == {"bad-trigger", "no-event-id"}
    assert letters["no-event-id"].value == b"garbage"
    assert letters["no-event-id"].headers["x"] == b"y"
    assert len(wire.read("capture.audited")) == 2


def test_a_dependency_that_is_away_delays_and_loses_nothing(wire: Wire) -> None:
    failures = 3

    class Flaky:
        def handle(self, events: Sequence[Event[Any]]) -> Sequence[Outcome]:
            nonlocal failures
            if failures:
                failures -= 1
                raise Unavailable("triton", "refused")
            return [audit(e) for e in events]

    wire.publish([capture_recorded(str(n)) for n in range(10)])
    step = wire.step(Flaky())
    turn_until(step, lambda: len(wire.read("capture.audited")) == 10)
    assert failures == 0


def test_a_zombie_is_fenced_and_its_work_is_done_once(wire: Wire) -> None:
    wire.publish([capture_recorded("1")])
    zombie = wire.step(each(audit), instance="same")
    messages = []
    while not messages:
        messages = zombie._consumer.poll(10, 0.05, 0.0)
    heir = wire.step(each(audit), instance="same")
    with pytest.raises(Fenced):
        zombie.process(messages)
    wire.stop(zombie)
    turn_until(heir, lambda: len(wire.read("capture.audited")) == 1)
    assert len(wire.read("capture.audited")) == 1


def test_a_restarted_step_goes_on_where_the_last_commit_was(wire: Wire) -> None:
    wire.publish([capture_recorded(str(n)) for n in range(5)])
    first = wire.step(each(audit))
    turn_until(first, lambda: len(wire.read("capture.audited")) == 5)
    wire.stop(first)
    wire.publish([capture_recorded(str(n)) for n in range(5, 9)])
    second = wire.step(each(audit))
    turn_until(second, lambda: len(wire.read("capture.audited")) >= 9)
    assert len(wire.read("capture.audited")) == 9


class Remembering:
    """Counts the captures of each partition, and says so in the verdict's limits."""

    topic = "capture.audited"
    count = 50

    def __init__(self) -> None:
        self.restored: dict[int, list[str]] = {}
        self.forgotten: list[int] = []

    def restore(self, partition: int, events: Sequence[Event[Any]]) -> None:
        self.restored[partition] = [e.data.capture_id for e in events]

    def forget(self, partition: int) -> None:
        self.forgotten.append(partition)


def test_memory_is_rebuilt_from_the_outputs_that_lie_in_the_same_partition(wire: Wire) -> None:
    captures = [capture_recorded(str(n), station=f"cell-{n % 4}") for n in range(20)]
    wire.publish(captures)
    first = wire.step(each(audit), batch_most=3)
    turn_until(first, lambda: len(wire.read("capture.audited")) == 20)
    wire.stop(first)
    memory = Remembering()
    wire.publish([capture_recorded("20")])
    second = wire.step(each(audit), memory=memory)
    turn_until(second, lambda: len(wire.read("capture.audited")) == 21)
    remembered = [c for ids in memory.restored.values() for c in ids]
    assert sorted(remembered) == sorted(c.data.capture_id for c in captures)
    inputs = {m.partition for m in wire.raw("capture.recorded")}
    assert {p for p, ids in memory.restored.items() if ids} == inputs


def test_a_bad_deploy_is_stopped_before_it_rejects_everything(wire: Wire) -> None:
    wire.publish([capture_recorded("bad", after_s=n) for n in range(30)])
    step = wire.step(each(audit), budget=DeadLetterBudget(run=10), batch_most=100)
    with pytest.raises(TooManyInvalid):
        turn_until(step, lambda: False)
    assert wire.raw("audit.dead-letter") == []


def test_two_members_share_the_work_and_do_it_once(wire: Wire) -> None:
    stop = threading.Event()
    steps = [wire.step(each(audit), instance=str(n), batch_most=5) for n in range(2)]
    threads = [threading.Thread(target=_turn, args=(s, stop), daemon=True) for s in steps]
    for t in threads:
        t.start()
    for n in range(10):
        wire.publish([capture_recorded(f"{n}-{i}", station=f"cell-{i}") for i in range(12)])
    wire.wait(lambda: len(wire.read("capture.audited")) >= 120)
    stop.set()
    for t in threads:
        t.join(20)
    ids = [e.id for e in wire.read("capture.audited")]
    assert len(ids) == len(set(ids)) == 120


def _turn(step: StreamStep, stop: threading.Event) -> None:
    while not stop.is_set():
        step.turn(0.05)


def test_tail_reader_gives_the_last_committed_messages_in_order(wire: Wire) -> None:
    wire.publish([capture_recorded(str(n)) for n in range(30)])
    step = wire.step(each(audit), batch_most=1)
    turn_until(step, lambda: len(wire.read("capture.audited")) == 30)
    all_of_it = wire.raw("capture.audited")
    place = Partition(wire.name("capture.audited"), all_of_it[0].partition)
    reader = wire.bus.tail_reader()
    assert [m.offset for m in reader.last(place, 10)] == [m.offset for m in all_of_it[-10:]]
    reader.close()


def test_follower_reads_from_the_beginning_and_goes_on(wire: Wire) -> None:
    wire.publish([capture_recorded("1")])
    follower = wire.bus.follower([wire.name("capture.recorded")])
    seen = []
    while not follower.caught_up():
        seen += follower.poll(0.05)
    assert len(seen) == 1
    wire.publish([capture_recorded("2")])
    wire.wait(lambda: bool(seen.extend(follower.poll(0.05))) or len(seen) == 2)
    follower.close()


@pytest.mark.parametrize(
    "headers",
    [
        {"ce_time": b"0001-01-01T00:00:00+01:00"},  # what .NET calls no time at all
        {"ce_time": b"9999-12-31T23:59:59-01:00"},
        {"ce_id": b"x\x00y"},
        {"ce_id": b"x" * 5_000},
    ],
)
def test_headers_that_lead_nowhere_are_a_dead_letter(wire: Wire, headers: dict[str, bytes]) -> None:
    good = wire.codec.encode(capture_recorded("1"))
    wire.send([replace(good, headers={**good.headers, **headers}), wire.codec.encode(capture_recorded("2"))])
    step = wire.step(each(audit))
    turn_until(step, lambda: len(wire.read("capture.audited")) == 1)
    assert [m.headers["dl-reason"] for m in wire.raw("audit.dead-letter")] == [b"no-event-id"]


def test_a_trace_that_is_none_is_left_out(wire: Wire) -> None:
    good = wire.codec.encode(capture_recorded("1"))
    wire.send([replace(good, headers={**good.headers, "traceparent": b"00-\x00-nonsense"})])
    (message,) = wire.raw("capture.recorded")
    assert wire.codec.decode(message).traceparent is None


def test_a_message_too_large_for_a_letter_is_cut(wire: Wire) -> None:
    wire.send([Outgoing("capture.recorded", b"line-a/cell-1", b"x" * 1_990_000, {"note": b"n" * 5_000})])
    step = wire.step(each(audit))
    turn_until(step, lambda: len(wire.raw("audit.dead-letter")) == 1)
    (letter,) = wire.raw("audit.dead-letter")
    assert letter.headers["dl-cut"] == b"value"
    assert letter.headers["note"] == b"n" * 5_000
    assert set(letter.value or b"") == {ord("x")}


def test_trying_again_does_not_spend_the_dead_letter_budget(wire: Wire) -> None:
    """One bad message and a long outage: each attempt sees it again, and must not count it again."""
    outages = 8

    wire.publish([capture_recorded("bad")])
    step = wire.step(each(audit), budget=DeadLetterBudget(run=3))
    commit = step._producer.commit

    def away(*given: Any) -> None:
        nonlocal outages
        if outages:
            outages -= 1
            raise Aborted("the broker is being restarted") if outages % 2 else Unavailable("kafka", "gone")
        commit(*given)

    step._producer.commit = away  # type: ignore[method-assign]
    turn_until(step, lambda: len(wire.raw("audit.dead-letter")) == 1)
    assert outages == 0

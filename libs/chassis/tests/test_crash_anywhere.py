"""Crashes at random points of random steps: nothing is lost and nothing is done twice (in-memory bus)."""

from __future__ import annotations

import contextlib
from typing import Any

from andon_chassis.bus.memory import MemoryBus
from andon_chassis.bus.ports import Aborted, Fenced
from andon_chassis.codec import Codec, MemorySchemaRegistry
from andon_chassis.events import Event
from andon_chassis.stream import StreamStep, each
from andon_chassis.testing import capture_recorded, events, publish, stream_step
from hypothesis import given, settings
from hypothesis import strategies as st

from .test_step_behaviour import audit


class Crash(BaseException):
    """As sudden as kill -9: no handler may catch it."""


class Script:
    """Counts the bus's operations and crashes at the chosen ones."""

    def __init__(self, crash_at: set[int]) -> None:
        self._crash_at = crash_at
        self._operation = 0

    def __call__(self, name: str) -> None:
        self._operation += 1
        if self._operation in self._crash_at:
            raise Crash(name)


@settings(max_examples=300, deadline=None)
@given(
    crash_at=st.sets(st.integers(1, 80), max_size=12),
    members=st.integers(1, 3),
    batch=st.integers(1, 6),
    turns=st.lists(st.integers(0, 2), min_size=10, max_size=120),
)
def test_whatever_crashes_every_capture_is_audited_exactly_once_and_in_order(
    crash_at: set[int], members: int, batch: int, turns: list[int]
) -> None:
    bus, codec = MemoryBus(), Codec(MemorySchemaRegistry())
    captures = [capture_recorded(str(n), station=f"cell-{n % 3}") for n in range(20)]
    publish(bus, codec, captures)
    bus.on_operation = Script(crash_at)

    def start(number: int) -> StreamStep:
        return stream_step(
            bus, codec, "audit", ["capture.recorded"], each(audit), instance=str(number), batch_most=batch
        )

    steps = [start(n) for n in range(members)]
    for chosen in [*turns, *range(members)] + list(range(members)) * 120:
        number = chosen % members
        try:
            steps[number].turn(0.0)
        except (Crash, Fenced):
            # the group notices the dead member, the supervisor starts a new one under the same name
            bus.leave("audit", steps[number]._consumer)  # type: ignore[arg-type]
            steps[number] = start(number)

    audited = events(bus, codec, "capture.audited")
    assert sorted(e.data.capture_id for e in audited) == sorted(c.data.capture_id for c in captures)
    for station in ("cell-0", "cell-1", "cell-2"):
        order = [e.data.capture_id for e in audited if e.data.context.station == station]
        assert order == [c.data.capture_id for c in captures if c.data.context.station == station]


def test_a_zombie_that_wakes_up_cannot_commit() -> None:
    bus, codec = MemoryBus(), Codec(MemorySchemaRegistry())
    publish(bus, codec, [capture_recorded("1")])
    zombie = stream_step(bus, codec, "audit", ["capture.recorded"], each(audit), instance="1")
    messages = zombie._consumer.poll(10, 0.0, 0.0)
    bus.leave("audit", zombie._consumer)  # type: ignore[arg-type]
    heir = stream_step(bus, codec, "audit", ["capture.recorded"], each(audit), instance="2")
    heir.turn(0.0)
    with contextlib.suppress(Aborted):
        zombie.process(messages)
    audited: list[Event[Any]] = events(bus, codec, "capture.audited")
    assert len(audited) == 1

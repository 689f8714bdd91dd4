"""The collector over random crashes, its state's round trip, and what events tell it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from andon_chassis.clock import FakeClock
from andon_chassis.events import Event, deterministic_id, event, station_key
from andon_chassis.testing import TRACEPARENT, context, image_ref, recorded_spans
from andon_events import records as r
from feedback_collector.collector import Collector, KnownStations, Remembered
from feedback_collector.domain.observations import Decided, Found, Observation
from feedback_collector.domain.station import Station
from feedback_collector.domain.thresholds import Thresholds
from feedback_collector.handlers import milliseconds, observation, signal_raised
from feedback_collector.testing import audited, decided, found, observe, rejected, reviewed, scored
from hypothesis import given, settings
from hypothesis import strategies as st

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LIMITS = Thresholds(
    window_s=60,
    drift_reference=5,
    drift_recent=3,
    score_reference=5,
    score_recent=5,
    slow_samples=5,
    share_samples=4,
)


def capture(number: int) -> str:
    return deterministic_id("capture", str(number))


def published(data: Any, *, line: str = "line-a", station: str = "cell-1", at: datetime = NOW) -> Event[Any]:
    return event(data, source="test", key=station_key(line, station), time=at, cause=str(data))


def audit(number: int, **changes: Any) -> Event[Any]:
    data = r.CaptureAudited(
        capture_id=capture(number),
        context=context(product_variant="poly"),
        image=image_ref(),
        verdict="accepted",
        measures={"brightness": 100.0 if number < 12 else 40.0, "sharpness": 50.0},
        audited_at=NOW,
        captured_at=NOW,
        received_at=NOW,
    )
    return published(replace(data, **changes))


def score(number: int, **changes: Any) -> Event[Any]:
    data = r.InferenceCompleted(
        capture_id=capture(number),
        context=context(),
        image=image_ref(),
        status="scored",
        release="r1",
        defect_score=0.1,
        scores={"good": 0.9, "crack": 0.1},
        band="pass",
        completed_at=NOW,
        captured_at=NOW,
        received_at=NOW,
    )
    return published(replace(data, **changes))


def decision(number: int, **changes: Any) -> Event[Any]:
    data = r.DispositionDecided(
        disposition_id=deterministic_id("disposition", str(number)),
        revision=1,
        capture_id=capture(number),
        context=context(part_number="cell"),
        image=image_ref(),
        kind="reject",
        class_name="crack",
        decided_by="policy",
        evidence=r.Evidence(audit_verdict="accepted", policy_version="v1"),
        decided_at=NOW + timedelta(milliseconds=300),
        captured_at=NOW,
        received_at=NOW,
    )
    return published(replace(data, **changes))


def finding(number: int, **changes: Any) -> Event[Any]:
    data = r.MesFindingReceived(
        finding_id=deterministic_id("finding", str(number)),
        kind="false-reject",
        capture_id=capture(number),
        context=context(part_number="cell"),
        reported_by="mes",
        found_at=NOW,
        received_at=NOW,
    )
    return published(replace(data, **changes))


def review(number: int, **changes: Any) -> Event[Any]:
    data = r.ReviewCompleted(
        review_id=deterministic_id("review", str(number)),
        capture_id=capture(number),
        context=context(),
        verdict="defect",
        class_name="crack",
        answers=[
            r.ReviewAnswer(reviewer="ann", verdict="defect", class_name="crack", answered_at=NOW),
            r.ReviewAnswer(reviewer="bob", verdict="good", answered_at=NOW),
        ],
        agreed=False,
        decided_by="quinn",
        completed_at=NOW,
        captured_at=NOW,
    )
    return published(replace(data, **changes))


class Disk:
    """What is durable: states by key, signals sent, and how far the group has read."""

    def __init__(self) -> None:
        self.states: dict[str, bytes] = {}
        self.sent: list[Event[r.SignalRaised]] = []
        self.committed = 0

    def load(self, key: str) -> bytes | None:
        return self.states.get(key)


def collector(disk: Disk) -> Collector:
    return Collector(LIMITS, KnownStations(), disk, FakeClock())


def play(log: Sequence[Event[Any]], flushes: Sequence[int], crashes: Sequence[int]) -> Disk:
    """Read a log, flushing after so many events each time, and crash inside the flushes that are named.

    A flush has three steps (signals, states, acknowledgement); crash `n` happens before step `n % 3` of flush `n // 3`.
    """
    disk, flush = Disk(), 0
    while disk.committed < len(log):
        watching = collector(disk)
        position = disk.committed
        while position < len(log):
            batch = flushes[flush % len(flushes)]
            for offset in range(position, min(position + batch, len(log))):
                watching.take(log[offset], 0, offset)
            position = min(position + batch, len(log))
            changes = watching.changes()
            crash = next((c % 3 for c in crashes if c // 3 == flush), None)
            flush += 1
            if crash == 0:
                break
            disk.sent += changes.events
            if crash == 1:
                break
            disk.states |= {key: packed for key, (_, packed) in changes.states.items()}
            if crash == 2:
                break
            disk.committed = position
    return disk


makers = st.sampled_from([audit, score, decision, finding, review])
logs = st.lists(st.tuples(makers, st.integers(0, 40)), min_size=1, max_size=60).map(
    lambda drawn: [make(number) for make, number in drawn]
)


@settings(max_examples=150, deadline=None)
@given(logs, st.lists(st.integers(1, 20), min_size=1, max_size=5), st.lists(st.integers(0, 30), max_size=10))
def test_crashes_lose_nothing_and_count_nothing_twice(
    log: list[Event[Any]], flushes: list[int], crashes: list[int]
) -> None:
    calm, stormy = play(log, [1], []), play(log, flushes, crashes)
    assert {e.data.signal_id for e in stormy.sent} == {e.data.signal_id for e in calm.sent}
    assert {e.id for e in stormy.sent} == {e.id for e in calm.sent}
    key = "line-a/cell-1"
    assert zlib.decompress(stormy.states[key]) == zlib.decompress(calm.states[key])


def test_a_signal_is_sent_once_when_nothing_crashes() -> None:
    disk = play([finding(n, kind="escape", class_name="crack") for n in range(10)], [3], [])
    assert len(disk.sent) == 1


def test_events_that_the_state_contains_are_not_counted_again() -> None:
    watching = collector(Disk())
    assert watching.take(decision(1), 0, 7)
    assert not watching.take(decision(1), 0, 7)
    assert not watching.take(decision(0), 0, 6)
    assert watching.take(audit(1), 0, 3), "each topic has offsets of its own"


def test_what_is_not_durable_is_forgotten_when_partitions_go_away() -> None:
    disk = Disk()
    watching = collector(disk)
    watching.take(finding(1, kind="escape"), 0, 0)
    watching.forget()
    assert not watching.changes()
    assert watching.take(finding(1, kind="escape"), 0, 0)
    assert watching.urgent


def test_a_state_of_another_format_is_dropped() -> None:
    packed = zlib.compress(json.dumps({"format": 0}).encode())
    assert Remembered.unpack(packed) is None
    disk = Disk()
    disk.states["line-a/cell-1"] = packed
    assert collector(disk).take(decision(1), 0, 0)


observations = st.one_of(
    st.builds(
        audited, st.integers(0, 99), brightness=st.floats(1, 255), variant=st.sampled_from(["poly", "mono"])
    ),
    st.builds(scored, st.integers(0, 99), score=st.floats(0, 1), uncertain=st.booleans()),
    st.builds(decided, st.integers(0, 99), latency_ms=st.floats(0, 1e6), by_deadline=st.booleans()),
    st.builds(rejected, st.integers(0, 99)),
    st.builds(
        found, st.integers(0, 99), kind=st.sampled_from(["escape", "false-reject", "operator-override"])
    ),
    st.builds(reviewed, st.integers(0, 99), agreed=st.booleans(), classes=st.just(["crack"])),
)


@settings(deadline=None)
@given(st.lists(observations, max_size=60), st.lists(observations, max_size=30))
def test_a_stored_station_goes_on_as_if_it_had_never_been_stored(
    before: list[Observation], after: list[Observation]
) -> None:
    station = Station("line-a", "cell-1")
    observe(before, station=station, limits=LIMITS)
    restored = Station.from_json(json.loads(json.dumps(station.to_json())))
    raised = observe(after, station=station, limits=LIMITS)
    assert observe(after, station=restored, limits=LIMITS) == raised
    assert restored.to_json() == station.to_json()
    assert all(len(signal.evidence) <= 20 and signal.explanation for signal in raised)


class TestWhatEventsTell:
    def test_a_clock_that_is_ahead_does_not_close_windows(self) -> None:
        ahead = NOW + timedelta(days=1)
        told = observation(audit(1, captured_at=ahead))
        assert told is not None
        assert told.at_ms == milliseconds(NOW)
        late = observation(decision(1, captured_at=ahead))
        assert isinstance(late, Decided)
        assert late.latency_ms == pytest.approx(300.0)

    def test_latency_runs_from_the_trigger(self) -> None:
        told = observation(decision(1, captured_at=NOW - timedelta(seconds=2)))
        assert isinstance(told, Decided)
        assert told.latency_ms == pytest.approx(2300.0)

    @pytest.mark.parametrize("changes", [{"shadow": True}, {"status": "unscorable", "defect_score": None}])
    def test_shadow_and_missing_scores_tell_nothing(self, changes: dict[str, Any]) -> None:
        assert observation(score(1, **changes)) is None

    def test_a_review_s_correction_is_no_override_but_a_person_s_is(self) -> None:
        reviewed_evidence = r.Evidence(audit_verdict="accepted", policy_version="v1", review_id="r")
        by_review = decision(1, revision=2, decided_by="person:ann", evidence=reviewed_evidence)
        assert observation(by_review) is None
        assert observation(decision(1, revision=2, decided_by="policy")) is None
        told = observation(decision(1, revision=2, decided_by="person:ann"))
        assert isinstance(told, Decided)
        assert told.override

    def test_deadlines_and_unregistered_stations_are_exceptions(self) -> None:
        for changes in ({"decided_by": "deadline"}, {"reasons": ["unregistered-station"]}):
            told = observation(decision(1, **changes))
            assert isinstance(told, Decided)
            assert told.by_deadline

    def test_findings_and_reviews(self) -> None:
        told = observation(finding(1, kind="escape", class_name="crack", disposition_kind="pass"))
        assert isinstance(told, Found)
        assert (told.kind, told.class_name, told.disposition, told.part) == (
            "escape",
            "crack",
            "pass",
            "cell",
        )
        assert observation(review(1)) == reviewed_as_told()

    def test_the_signal_s_ids_are_a_function_of_rule_scope_and_window(self) -> None:
        (signal,) = observe([found(1, kind="escape", class_name="crack")])
        one = signal_raised(signal, finding(1), NOW)
        two = signal_raised(replace(signal, measured=9.0), finding(2), NOW + timedelta(hours=1))
        other = signal_raised(replace(signal, start_ms=signal.start_ms + 1), finding(1), NOW)
        assert (one.id, one.data.signal_id) == (two.id, two.data.signal_id)
        assert one.data.signal_id != other.data.signal_id
        assert one.key == "line-a/cell-1"
        assert one.data.window_start < one.data.window_end
        assert one.data.scope.class_name == "crack"

    def test_a_signal_belongs_to_the_trace_of_what_made_it_fire(self) -> None:
        (signal,) = observe([found(1, kind="escape", class_name="crack")])
        with recorded_spans() as spans:
            raised = signal_raised(signal, replace(finding(1), traceparent=TRACEPARENT), NOW)
        (span,) = spans.named("feedback-collector signal")
        assert span.parent is not None and f"{span.parent.span_id:016x}" in TRACEPARENT
        assert [raised.traceparent] == spans.traceparents("feedback-collector signal")


def reviewed_as_told() -> Observation:
    told = reviewed(1, agreed=False, classes=["crack"], at_ms=milliseconds(NOW))
    told.capture_id = capture(1)
    return told

"""Events to observations, and signals to events."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from andon_chassis.events import Event, deterministic_id, event, station_key
from andon_chassis.telemetry import child_traceparent
from andon_events import records as r

from feedback_collector.domain.observations import (
    Audited,
    Decided,
    Found,
    Observation,
    Reviewed,
    Scored,
    StationFacts,
)
from feedback_collector.domain.signals import Signal

SERVICE = "feedback-collector"


def milliseconds(moment: datetime) -> int:
    """Since 1970, UTC."""
    return int(moment.timestamp() * 1000)


def moment(ms: int) -> datetime:
    """The other way round."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def _happened(captured: datetime, received: datetime) -> datetime:
    """The trigger's time; when a station's clock is ahead of the plant's, the time at which the capture
    arrived.

    Nothing can have been received before it happened, and one clock that is a day ahead would close every
    window.
    """
    return min(captured, received)


def _audited(data: r.CaptureAudited) -> Audited:
    return Audited(
        capture_id=data.capture_id,
        at_ms=milliseconds(_happened(data.captured_at, data.received_at)),
        part=data.context.part_number,
        variant=data.context.product_variant,
        accepted=data.verdict == "accepted",
        measures=data.measures,
        unregistered="unregistered-station" in data.reasons,
    )


def _scored(data: r.InferenceCompleted) -> Scored | None:
    if data.shadow or data.status != "scored" or data.defect_score is None:
        return None
    return Scored(
        capture_id=data.capture_id,
        at_ms=milliseconds(_happened(data.captured_at, data.received_at)),
        release=data.release,
        score=data.defect_score,
        uncertain=data.band == "uncertain",
        classes=tuple(data.scores),
    )


def _decided(data: r.DispositionDecided) -> Decided | None:
    by_person = data.decided_by.startswith("person:")
    if data.revision > 1 and (data.evidence.review_id or not by_person):
        return None  # a review's answer is the normal way, not an override
    start = _happened(data.captured_at, data.received_at)
    return Decided(
        capture_id=data.capture_id,
        at_ms=milliseconds(start),
        part=data.context.part_number,
        class_name=data.class_name,
        kind=data.kind,
        latency_ms=max(0.0, (data.decided_at - start).total_seconds() * 1000),
        by_deadline=data.decided_by == "deadline" or "unregistered-station" in data.reasons,
        override=data.revision > 1,
    )


def _found(data: r.MesFindingReceived) -> Found:
    return Found(
        capture_id=data.capture_id,
        at_ms=milliseconds(_happened(data.found_at, data.received_at)),
        kind=data.kind,
        part=data.context.part_number,
        class_name=data.class_name,
        disposition=data.disposition_kind,
    )


def _reviewed(data: r.ReviewCompleted) -> Reviewed:
    named = [data.class_name, *(answer.class_name for answer in data.answers)]
    return Reviewed(
        capture_id=data.capture_id,
        at_ms=milliseconds(data.completed_at),
        answers=len(data.answers),
        agreed=data.agreed,
        classes=tuple(dict.fromkeys(name for name in named if name)),
    )


OBSERVERS: dict[type, Callable[[Any], Observation | None]] = {
    r.CaptureAudited: _audited,
    r.InferenceCompleted: _scored,
    r.DispositionDecided: _decided,
    r.MesFindingReceived: _found,
    r.ReviewCompleted: _reviewed,
}


def observation(seen: Event[Any]) -> Observation | None:
    """What an event tells the rules; None when it tells them nothing."""
    return OBSERVERS[type(seen.data)](seen.data)


def station_facts(data: r.StationPublished) -> StationFacts:
    """The published station as the rules see it."""
    return StationFacts(
        validated_variants=frozenset(data.validated_variants),
        takt_ms=data.takt_ms,
        standard=data.capture_standard_version,
    )


def signal_raised(signal: Signal, cause: Event[Any], now: datetime) -> Event[r.SignalRaised]:
    """A signal as an event: with ids that a repeat finds again, in the trace of what made it fire."""
    signal_id = deterministic_id(*signal.identity)
    data = r.SignalRaised(
        signal_id=signal_id,
        kind=signal.kind,
        scope=r.Scope(
            line=signal.line,
            station=signal.station,
            part_number=signal.part,
            product_variant=signal.variant,
            class_name=signal.class_name,
        ),
        window_start=moment(signal.start_ms),
        window_end=moment(signal.end_ms),
        measured=signal.measured,
        expected=signal.expected,
        threshold=signal.threshold,
        unit=signal.unit,
        sample_size=signal.sample_size,
        evidence=list(signal.evidence),
        suspected_cause=signal.cause,
        explanation=signal.explanation,
        raised_at=now,
    )
    key = station_key(signal.line, signal.station)
    at_ns = milliseconds(now) * 1_000_000
    traceparent = child_traceparent(
        f"{SERVICE} signal", cause.traceparent, at_ns, at_ns, signal_id=signal_id, kind=signal.kind
    )
    return event(data, source=SERVICE, key=key, time=cause.time, cause=signal_id, traceparent=traceparent)

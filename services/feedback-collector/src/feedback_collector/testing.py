"""For tests: observations where everything but what a test is about has a quiet default."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
from feedback_collector.domain.station import Station
from feedback_collector.domain.thresholds import Thresholds

HOUR_MS = 3_600_000
START_MS = 1_767_225_600_000
"""The start of a window of an hour."""

FACTS = StationFacts(validated_variants=frozenset({"poly"}), takt_ms=1000, standard="v1")
LIMITS = Thresholds()


def audited(
    number: int = 0,
    *,
    at_ms: int = START_MS,
    variant: str | None = "poly",
    accepted: bool = True,
    brightness: float = 0.4,
    sharpness: float = 2.0,
) -> Audited:
    return Audited(
        capture_id=f"capture-{number}",
        at_ms=at_ms,
        part="cell",
        variant=variant,
        accepted=accepted,
        measures={"brightness": brightness, "sharpness": sharpness},
    )


def scored(
    number: int = 0,
    *,
    at_ms: int = START_MS,
    score: float = 0.1,
    uncertain: bool = False,
    release: str = "r1",
    classes: Sequence[str] = ("good", "crack"),
) -> Scored:
    return Scored(
        capture_id=f"capture-{number}",
        at_ms=at_ms,
        release=release,
        score=score,
        uncertain=uncertain,
        classes=tuple(classes),
    )


def decided(
    number: int = 0,
    *,
    at_ms: int = START_MS,
    kind: str = "pass",
    part: str | None = "cell",
    class_name: str | None = None,
    latency_ms: float = 100.0,
    by_deadline: bool = False,
    override: bool = False,
) -> Decided:
    return Decided(
        capture_id=f"capture-{number:08d}"[-16:],
        at_ms=at_ms,
        part=part,
        class_name=class_name,
        kind=kind,
        latency_ms=latency_ms,
        by_deadline=by_deadline,
        override=override,
    )


def rejected(number: int, *, class_name: str = "crack", at_ms: int = START_MS) -> Decided:
    seen = decided(number, kind="reject", class_name=class_name, at_ms=at_ms)
    seen.capture_id = capture_id(number)
    return seen


def capture_id(number: int) -> str:
    """Differs in its first eight characters, as UUIDs do."""
    return f"{number:08x}-0000-5000-8000-000000000000"


def found(
    number: int = 0,
    *,
    kind: str = "false-reject",
    at_ms: int = START_MS,
    part: str | None = "cell",
    class_name: str | None = None,
    disposition: str | None = None,
) -> Found:
    return Found(
        capture_id=capture_id(number),
        at_ms=at_ms,
        kind=kind,
        part=part,
        class_name=class_name,
        disposition=disposition,
    )


def reviewed(
    number: int = 0,
    *,
    at_ms: int = START_MS,
    answers: int = 2,
    agreed: bool = True,
    classes: Sequence[str] = (),
) -> Reviewed:
    return Reviewed(
        capture_id=f"capture-{number}", at_ms=at_ms, answers=answers, agreed=agreed, classes=tuple(classes)
    )


def observe(
    seen: Iterable[Observation],
    *,
    station: Station | None = None,
    facts: StationFacts | None = FACTS,
    limits: Thresholds = LIMITS,
) -> list[Signal]:
    """All signals that a station raises over these observations, in order."""
    watched = station or Station("line-a", "cell-1")
    return [signal for one in seen for signal in watched.observe(one, facts, limits)]

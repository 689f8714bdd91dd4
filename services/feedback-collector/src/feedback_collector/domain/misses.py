"""Missed defects and new variants: single events that matter at once.

An escape or a customer's return fires for each class and window; a variant that a station was never validated
for fires once for good.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from feedback_collector.domain import signals
from feedback_collector.domain.observations import Audited, Found, StationFacts
from feedback_collector.domain.shares import Result
from feedback_collector.domain.signals import EVIDENCE_MOST, Circumstances, Signal, best, suspect
from feedback_collector.domain.thresholds import Thresholds
from feedback_collector.domain.windows import Json, Tallies, Windows

MISSES = {"escape": "escaped to a later step", "customer-return": "came back from the customer"}


@dataclass(slots=True)
class Misses:
    """Escapes and returns at one station, by class."""

    windows: dict[str, Windows[Tallies]] = field(
        default_factory=lambda: {kind: Windows(Tallies) for kind in MISSES}
    )

    def observe(
        self, seen: Found, where: tuple[str, str], around: Circumstances, limits: Thresholds
    ) -> Result:
        """Count, and say what fires."""
        if seen.kind not in MISSES:
            return Result([])
        place = self.windows[seen.kind].at(seen.at_ms, limits)
        if place is None:
            return Result([], late=True)
        start, tallies = place
        tally = tallies.of(("", seen.class_name or ""))
        tally.hit(seen.capture_id)
        if tally.fired or tally.hits < limits.missed_defects:
            return Result([])
        tally.fired = True
        named = f" of class {seen.class_name}" if seen.class_name else ""
        decided = f"; it had been decided {seen.disposition}" if seen.disposition else ""
        return Result(
            [
                Signal(
                    kind=signals.MISSED_DEFECT,
                    aspect=seen.kind,
                    line=where[0],
                    station=where[1],
                    class_name=seen.class_name,
                    start_ms=start,
                    end_ms=start + limits.window_ms,
                    measured=tally.hits,
                    expected=0.0,
                    threshold=limits.missed_defects,
                    unit="missed defects",
                    sample_size=tally.hits,
                    evidence=best(reversed(tally.evidence)),
                    cause=suspect(signals.MISSED_DEFECT, around, seen.class_name),
                    explanation=(
                        f"{tally.hits} defective part{'s' if tally.hits > 1 else ''}{named} passed "
                        f"{'/'.join(where)} and {MISSES[seen.kind]}{decided}."
                    ),
                )
            ]
        )

    def to_json(self) -> Json:
        return {k: [[start, t.to_json()] for start, t in w.open.items()] for k, w in self.windows.items()}

    @classmethod
    def from_json(cls, raw: Json) -> Misses:
        misses = cls()
        for kind, windows in raw.items():
            misses.windows[kind].open = {start: Tallies.from_json(tallies) for start, tallies in windows}
        return misses


@dataclass(slots=True)
class Variants:
    """First captures of each variant that the station is not validated for; None once it has been told."""

    waiting: dict[str, list[str] | None] = field(default_factory=dict)

    def observe(
        self, seen: Audited, where: tuple[str, str], facts: StationFacts | None, limits: Thresholds
    ) -> list[Signal]:
        """Collect first captures, and say when there are enough."""
        variant = seen.variant
        if (
            not variant
            or facts is None
            or not facts.validated_variants
            or variant in facts.validated_variants
        ):
            return []
        captures = self.waiting.setdefault(variant, [])
        if captures is None:
            return []
        if len(captures) < EVIDENCE_MOST:
            captures.append(seen.capture_id)
        if len(captures) < min(limits.variant_captures, EVIDENCE_MOST):
            return []
        self.waiting[variant] = None
        valid = ", ".join(sorted(facts.validated_variants))
        return [
            Signal(
                kind=signals.NEW_VARIANT,
                line=where[0],
                station=where[1],
                variant=variant,
                start_ms=0,
                end_ms=seen.at_ms + 1,
                measured=len(captures),
                expected=0.0,
                threshold=limits.variant_captures,
                unit="captures of the variant",
                sample_size=len(captures),
                evidence=best(captures),
                cause=suspect(signals.NEW_VARIANT, Circumstances()),
                explanation=(
                    f"Variant {variant} arrived at {'/'.join(where)}, which is validated for "
                    f"{valid} only; "
                    f"the model was never evaluated on it there."
                ),
            )
        ]

    def to_json(self) -> Json:
        return self.waiting

    @classmethod
    def from_json(cls, raw: Json) -> Variants:
        return cls(raw)

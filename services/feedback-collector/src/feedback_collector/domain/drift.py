"""Camera and lighting drift: the last captures of a station against what that station's pictures used to be.

The baseline is learned from the first accepted captures of each variant, so that a dark variant is no drift,
and is learned anew when the capture standard changes. Measures are compared as logarithms, because light and
focus act as factors. What the audit rejected counts too: a lamp that fails makes rejects, and those are the
evidence. The median of the last captures must be off by several deviations of the baseline and by a factor
that matters: one bad image, or many tiny but regular differences, stay quiet.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from feedback_collector.domain import signals
from feedback_collector.domain.observations import Audited
from feedback_collector.domain.shares import Result
from feedback_collector.domain.signals import Circumstances, Signal, best, suspect
from feedback_collector.domain.statistics import Moments, median
from feedback_collector.domain.thresholds import Thresholds
from feedback_collector.domain.windows import Json, Windows

FLOOR = 1e-3
DECADES = frozenset({"sharpness"})
"""Measures that are logarithms already, to base ten."""
LEAST_DEVIATION = 0.02
"""Baselines of very regular parts: 2 % of scatter is assumed at least."""


@dataclass(slots=True)
class Recent:
    """One measure of the last captures: how far each is from its baseline.

    Attributes:
        captures: (deviations, logarithm of the factor, capture), oldest first.
        active: The median is off now.
    """

    captures: list[tuple[float, float, str]] = field(default_factory=list)
    active: bool = False

    def add(self, deviations: float, change: float, capture_id: str, most: int) -> None:
        self.captures.append((round(deviations, 3), round(change, 4), capture_id))
        if len(self.captures) > most:
            del self.captures[: len(self.captures) - most]


@dataclass(slots=True)
class CaptureDrift:
    """State of the rule at one station.

    Attributes:
        standard: Capture standard that the baselines belong to.
        baselines: Moments of the logarithms by variant and measure.
        recent: By measure.
        fired: Measures that fired, by window.
    """

    standard: str = ""
    baselines: dict[str, dict[str, Moments]] = field(default_factory=dict)
    recent: dict[str, Recent] = field(default_factory=dict)
    fired: Windows[set[str]] = field(default_factory=lambda: Windows(set))

    @property
    def drifting(self) -> tuple[str, ...]:
        return tuple(measure for measure, recent in self.recent.items() if recent.active)

    def new_standard(self, standard: str) -> None:
        """The station was set up differently on purpose: learn again."""
        if self.standard and standard != self.standard:
            self.baselines.clear()
            self.recent.clear()
        self.standard = standard

    def observe(self, seen: Audited, where: tuple[str, str], limits: Thresholds) -> Result:
        """Learn or compare, and say what fires."""
        raised: list[Signal] = []
        late = False
        baselines = self.baselines.setdefault(seen.variant or "", {})
        for measure, change in limits.drift_change.items():
            value = seen.measures.get(measure)
            if value is None or not math.isfinite(value):
                continue
            logarithm = _logarithm(measure, value)
            baseline = baselines.setdefault(measure, Moments())
            if baseline.count < limits.drift_reference:
                if seen.accepted:
                    baseline.add(logarithm)
                continue
            recent = self.recent.setdefault(measure, Recent())
            off = logarithm - baseline.mean
            recent.add(
                off / max(baseline.deviation, LEAST_DEVIATION), off, seen.capture_id, limits.drift_recent
            )
            if len(recent.captures) < limits.drift_recent or not _is_off(recent, change, limits):
                recent.active = False
                continue
            recent.active = True
            place = self.fired.at(seen.at_ms, limits)
            if place is None:
                late = True
            elif measure not in place[1]:
                place[1].add(measure)
                raised.append(
                    _signal(measure, recent, where, place[0], math.exp(baseline.mean), change, limits)
                )
        return Result(raised, late)

    def to_json(self) -> Json:
        return {
            "standard": self.standard,
            "baselines": {
                variant: {measure: [m.count, m.mean, m.squares] for measure, m in measures.items()}
                for variant, measures in self.baselines.items()
            },
            "recent": {measure: [r.captures, int(r.active)] for measure, r in self.recent.items()},
            "fired": [[start, sorted(measures)] for start, measures in self.fired.open.items()],
        }

    @classmethod
    def from_json(cls, raw: Json) -> CaptureDrift:
        drift = cls(standard=raw["standard"])
        drift.baselines = {
            variant: {measure: Moments(*moments) for measure, moments in measures.items()}
            for variant, measures in raw["baselines"].items()
        }
        drift.recent = {
            measure: Recent([(d, c, capture) for d, c, capture in captures], bool(active))
            for measure, (captures, active) in raw["recent"].items()
        }
        drift.fired.open = {start: set(measures) for start, measures in raw["fired"]}
        return drift


def _logarithm(measure: str, value: float) -> float:
    return value * math.log(10) if measure in DECADES else math.log(max(value, FLOOR))


def _is_off(recent: Recent, change: float, limits: Thresholds) -> bool:
    deviations = median([entry[0] for entry in recent.captures])
    if abs(deviations) < limits.drift_deviations:
        return False
    factor = math.exp(median([entry[1] for entry in recent.captures]))
    return factor >= 1 + change or factor <= 1 / (1 + change)


def _signal(
    measure: str,
    recent: Recent,
    where: tuple[str, str],
    start: int,
    usual: float,
    change: float,
    limits: Thresholds,
) -> Signal:
    deviations = median([entry[0] for entry in recent.captures])
    factor = math.exp(median([entry[1] for entry in recent.captures]))
    direction = math.copysign(1.0, deviations)
    telling = sorted(recent.captures, key=lambda entry: -direction * entry[0])
    moved = f"{factor - 1:.0%} above" if factor > 1 else f"{1 - factor:.0%} below"
    return Signal(
        kind=signals.CAPTURE_DRIFT,
        aspect=measure,
        line=where[0],
        station=where[1],
        start_ms=start,
        end_ms=start + limits.window_ms,
        measured=factor,
        expected=1.0,
        threshold=1 + change if factor > 1 else 1 / (1 + change),
        unit=f"{measure} as a factor of the station's baseline",
        sample_size=len(recent.captures),
        evidence=best(entry[2] for entry in telling),
        cause=suspect(signals.CAPTURE_DRIFT, Circumstances()),
        explanation=(
            f"The {measure} of the last {len(recent.captures)} captures at {'/'.join(where)} is {moved} what "
            f"the station's accepted captures used to show (about {usual:.3g}), "
            f"{abs(deviations):.1f} standard deviations off."
        ),
    )

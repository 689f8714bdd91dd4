"""Everything that is remembered of one station, and the function that turns observations into signals."""

from __future__ import annotations

from dataclasses import dataclass, field

from feedback_collector.domain.drift import CaptureDrift
from feedback_collector.domain.latency import Slowness
from feedback_collector.domain.misses import Misses, Variants
from feedback_collector.domain.observations import Audited, Decided, Found, Observation, Scored, StationFacts
from feedback_collector.domain.scores import Scores
from feedback_collector.domain.shares import Result, Shares
from feedback_collector.domain.signals import Circumstances, Signal
from feedback_collector.domain.thresholds import Thresholds
from feedback_collector.domain.windows import Json


@dataclass(slots=True)
class Station:
    """The rules' state at one station.

    Attributes:
        late: Events that came after their window had closed.
    """

    line: str
    station: str
    late: int = 0
    shares: Shares = field(default_factory=Shares)
    misses: Misses = field(default_factory=Misses)
    variants: Variants = field(default_factory=Variants)
    slowness: Slowness = field(default_factory=Slowness)
    drift: CaptureDrift = field(default_factory=CaptureDrift)
    scores: Scores = field(default_factory=Scores)

    def observe(self, seen: Observation, facts: StationFacts | None, limits: Thresholds) -> list[Signal]:
        """Take one observation into account and say what it raises. Changes the station's state."""
        where = (self.line, self.station)
        if isinstance(seen, Audited):
            if facts is not None and facts.standard != self.drift.standard:
                self.drift.new_standard(facts.standard)
            results = [
                self.drift.observe(seen, where, limits),
                Result(self.variants.observe(seen, where, facts, limits)),
            ]
        elif isinstance(seen, Scored):
            results = [self.scores.observe(seen, where, self._around(seen.at_ms, limits), limits)]
        else:
            around = self._around(seen.at_ms, limits)
            results = [self.shares.observe(seen, where, around, limits)]
            if isinstance(seen, Decided):
                results.append(self.slowness.observe(seen, where, facts, limits))
            elif isinstance(seen, Found):
                results.append(self.misses.observe(seen, where, around, limits))
        self.late += any(result.late for result in results)
        return [signal for result in results for signal in result.signals]

    def _around(self, now_ms: int, limits: Thresholds) -> Circumstances:
        return Circumstances(
            drifting=self.drift.drifting,
            new_release=self.scores.fresh(now_ms, limits),
            known_classes=frozenset(self.scores.classes),
        )

    def to_json(self) -> Json:
        return {
            "line": self.line,
            "station": self.station,
            "late": self.late,
            "shares": self.shares.to_json(),
            "misses": self.misses.to_json(),
            "variants": self.variants.to_json(),
            "slowness": self.slowness.to_json(),
            "drift": self.drift.to_json(),
            "scores": self.scores.to_json(),
        }

    @classmethod
    def from_json(cls, raw: Json) -> Station:
        return cls(
            line=raw["line"],
            station=raw["station"],
            late=raw["late"],
            shares=Shares.from_json(raw["shares"]),
            misses=Misses.from_json(raw["misses"]),
            variants=Variants.from_json(raw["variants"]),
            slowness=Slowness.from_json(raw["slowness"]),
            drift=CaptureDrift.from_json(raw["drift"]),
            scores=Scores.from_json(raw["scores"]),
        )

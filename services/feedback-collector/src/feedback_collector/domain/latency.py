"""Slow decisions: the 95th percentile of a window against the station's takt or the agreed limit."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field

from feedback_collector.domain import signals
from feedback_collector.domain.observations import Decided, StationFacts
from feedback_collector.domain.shares import Result
from feedback_collector.domain.signals import EVIDENCE_MOST, Circumstances, Signal, best, suspect
from feedback_collector.domain.statistics import clearly_above
from feedback_collector.domain.thresholds import Thresholds
from feedback_collector.domain.windows import Json, Windows

STEP = math.log(1.05)
"""Bins grow by 5 %, so a quantile is right to 2.5 %."""

PERCENTILE = 0.95
DEFAULT_TAKT_MS = 1000.0


@dataclass(slots=True)
class Latencies:
    """Decision times of one window.

    Attributes:
        over: Decisions that took longer than the limit.
        bins: Counts by logarithmic bin.
        slowest: The slowest (milliseconds, capture), a heap of at most twenty.
    """

    count: int = 0
    over: int = 0
    bins: dict[int, int] = field(default_factory=dict)
    slowest: list[tuple[float, str]] = field(default_factory=list)
    fired: bool = False

    def add(self, latency_ms: float, limit_ms: float, capture_id: str) -> None:
        self.count += 1
        self.over += latency_ms > limit_ms
        index = int(math.log(max(latency_ms, 1.0)) / STEP)
        self.bins[index] = self.bins.get(index, 0) + 1
        entry = (round(latency_ms, 1), capture_id)
        if len(self.slowest) < EVIDENCE_MOST:
            heapq.heappush(self.slowest, entry)
        elif entry > self.slowest[0]:
            heapq.heapreplace(self.slowest, entry)

    def quantile(self, share: float) -> float:
        """Milliseconds below which this share of the decisions was taken."""
        wanted, seen = share * self.count, 0
        for index in sorted(self.bins):
            seen += self.bins[index]
            if seen >= wanted:
                return math.exp((index + 0.5) * STEP)
        return 0.0

    def to_json(self) -> Json:
        return [self.count, self.over, list(self.bins.items()), self.slowest, int(self.fired)]

    @classmethod
    def from_json(cls, raw: Json) -> Latencies:
        return cls(raw[0], raw[1], dict(raw[2]), [(ms, capture) for ms, capture in raw[3]], bool(raw[4]))


@dataclass(slots=True)
class Slowness:
    """Decision times at one station."""

    windows: Windows[Latencies] = field(default_factory=lambda: Windows(Latencies))

    def observe(
        self, seen: Decided, where: tuple[str, str], facts: StationFacts | None, limits: Thresholds
    ) -> Result:
        """Count, and say what fires: the percentile must be over the limit, and not by chance."""
        if seen.override:
            return Result([])
        place = self.windows.at(seen.at_ms, limits)
        if place is None:
            return Result([], late=True)
        start, window = place
        limit_ms = limits.slow_ms or (float(facts.takt_ms) if facts else DEFAULT_TAKT_MS)
        window.add(seen.latency_ms, limit_ms, seen.capture_id)
        if (
            window.fired
            or seen.latency_ms <= limit_ms
            or window.count < limits.slow_samples
            or not clearly_above(window.over, window.count, 1 - PERCENTILE, limits.confidence)
        ):
            return Result([])
        window.fired = True
        p95 = max(window.quantile(PERCENTILE), limit_ms)
        named = "the agreed limit" if limits.slow_ms else "the takt time"
        return Result(
            [
                Signal(
                    kind=signals.SLOW_DECISION,
                    line=where[0],
                    station=where[1],
                    start_ms=start,
                    end_ms=start + limits.window_ms,
                    measured=p95,
                    expected=window.quantile(0.5),
                    threshold=limit_ms,
                    unit="ms, 95th percentile",
                    sample_size=window.count,
                    evidence=best(capture for _, capture in sorted(window.slowest, reverse=True)),
                    cause=suspect(signals.SLOW_DECISION, Circumstances()),
                    explanation=(
                        f"5 % of the decisions at {'/'.join(where)} took longer than {p95:.0f} ms, "
                        f"over {named} of {limit_ms:.0f} ms; {window.over} of {window.count} were late, "
                        f"half took {window.quantile(0.5):.0f} ms or more."
                    ),
                )
            ]
        )

    def to_json(self) -> Json:
        return [[start, window.to_json()] for start, window in self.windows.open.items()]

    @classmethod
    def from_json(cls, raw: Json) -> Slowness:
        slowness = cls()
        slowness.windows.open = {start: Latencies.from_json(window) for start, window in raw}
        return slowness

"""Tumbling windows of event time, a few of them open at once so that what comes late still counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from feedback_collector.domain.signals import EVIDENCE_MOST
from feedback_collector.domain.statistics import clearly_above
from feedback_collector.domain.thresholds import Thresholds

T = TypeVar("T")
Json = Any


@dataclass(slots=True)
class Windows(Generic[T]):
    """What is counted in each open window, by the window's start in milliseconds."""

    new: Callable[[], T]
    open: dict[int, T] = field(default_factory=dict)

    def at(self, time_ms: int, limits: Thresholds) -> tuple[int, T] | None:
        """The window that a moment belongs to, or None when it has closed: the event is late."""
        length = limits.window_ms
        start = time_ms // length * length
        window = self.open.get(start)
        if window is not None:
            return start, window
        newest = max(self.open, default=start)
        if start < newest - (limits.keep_windows - 1) * length:
            return None
        window = self.open[start] = self.new()
        if start > newest:
            oldest = start - (limits.keep_windows - 1) * length
            for old in [s for s in self.open if s < oldest]:
                del self.open[old]
        return start, window


@dataclass(slots=True)
class Tally:
    """How often something happened out of how many times it could have.

    Attributes:
        evidence: Captures of the hits, in order, at most twenty.
        fired: The signal of this scope and window has been raised.
    """

    trials: int = 0
    hits: int = 0
    evidence: list[str] = field(default_factory=list)
    fired: bool = False

    def trial(self) -> None:
        self.trials += 1

    def hit(self, capture_id: str) -> None:
        self.hits += 1
        if len(self.evidence) < EVIDENCE_MOST:
            self.evidence.append(capture_id)

    @property
    def sample(self) -> int:
        """Hits can come from trials of an earlier window, so there are never fewer trials than hits."""
        return max(self.trials, self.hits)

    @property
    def share(self) -> float:
        return self.hits / self.sample if self.sample else 0.0

    def fires(self, share: float, limits: Thresholds) -> bool:
        """Whether the share lies above its threshold beyond chance, for the first time in this window."""
        if self.fired or self.hits < limits.share_hits or self.sample < limits.share_samples:
            return False
        self.fired = clearly_above(self.hits, self.sample, share, limits.confidence)
        return self.fired

    def to_json(self) -> Json:
        return [self.trials, self.hits, self.evidence, int(self.fired)]

    @classmethod
    def from_json(cls, raw: Json) -> Tally:
        return cls(raw[0], raw[1], raw[2], bool(raw[3]))


Scope = tuple[str, str]
"""Part number and class; the empty string stands for any."""

EVERYTHING: Scope = ("", "")


@dataclass(slots=True)
class Tallies:
    """The tallies of one window, by scope, the whole station among them."""

    by_scope: dict[Scope, Tally] = field(default_factory=dict)

    def of(self, scope: Scope) -> Tally:
        tally = self.by_scope.get(scope)
        if tally is None:
            tally = self.by_scope[scope] = Tally()
        return tally

    def judge(self, scopes: tuple[Scope, ...], share: float, limits: Thresholds) -> Scope | None:
        """The first scope that fires, narrow before wide. What the station as a whole has told is not told
        again.
        """
        whole = self.by_scope.get(EVERYTHING)
        if whole is not None and whole.fired:
            return None
        for scope in scopes:
            if scope == EVERYTHING and any(tally.fired for tally in self.by_scope.values()):
                return None
            if self.of(scope).fires(share, limits):
                return scope
        return None

    def to_json(self) -> Json:
        return [[*scope, tally.to_json()] for scope, tally in self.by_scope.items()]

    @classmethod
    def from_json(cls, raw: Json) -> Tallies:
        return cls({(part, name): Tally.from_json(tally) for part, name, tally in raw})

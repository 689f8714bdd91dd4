"""Limits: absolute ones for every station, tighter ones learned from the station's own accepted images
(M3.3).

A learned limit is set outside the range of what the station normally delivers: the 2 % quantile of its recent
accepted images, moved outwards by a share of its distance to the median. Quantiles are used because natural
images spread unevenly to both sides, and a few bad ones must not move the limit. Between the limit of doubt
and the limit of rejection a person decides.

Everything here is a function of the accepted images in their order, and of nothing else: no clock, no counter
that a restart would reset. New limits are learned when an accepted image's own id says so (one in sixteen),
so an instance that rebuilt its memory learns at the same images as the one before it.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from quality_audit.domain.measures import (
    BORDER_FRACTION,
    BRIGHTNESS,
    CONTRAST,
    OVER_FRACTION,
    SHARPNESS,
    UNDER_FRACTION,
)

Side = Literal["low", "high"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A reason code and when it applies.

    Attributes:
        reason: As in the event.
        absolute: Beyond this, an image is rejected at any station, learned or not.
        least_spread: A station whose images are all alike still tolerates this much.
    """

    reason: str
    measure: str
    side: Side
    absolute: float
    least_spread: float


RULES: Final = (
    Rule("over-exposed", BRIGHTNESS, "high", 0.99, 0.05),
    Rule("over-exposed", OVER_FRACTION, "high", 0.995, 0.25),
    Rule("cropped", BORDER_FRACTION, "high", 0.9, 0.25),
    Rule("under-exposed", BRIGHTNESS, "low", 0.03, 0.05),
    Rule("under-exposed", UNDER_FRACTION, "high", 0.995, 0.25),
    Rule("low-contrast", CONTRAST, "low", 0.012, 0.02),
    Rule("blurred", SHARPNESS, "low", -1.0, 0.15),
)
"""In this order an image's first reason explains the others: too much light washes out detail, a part that
slid out of the frame leaves it dark. Blur explains nothing else."""


@dataclass(frozen=True, slots=True)
class LearningSettings:
    """How a station's limits follow its images.

    Attributes:
        window: Accepted images that count.
        warm_up: Accepted images before which only absolute limits apply.
        quantile: Share of images beyond the anchor of a limit.
        doubt, reject: Distance of the two limits from the anchor, in units of the anchor's distance to the
            median.
    """

    window: int = 300
    warm_up: int = 40
    quantile: float = 0.02
    doubt: float = 0.4
    reject: float = 0.7


@dataclass(frozen=True, slots=True)
class Bound:
    """A rule with its numbers for one station."""

    rule: Rule
    doubt: float
    reject: float

    def crossed(self, value: float, limit: float) -> bool:
        return value < limit if self.rule.side == "low" else value > limit


@dataclass(frozen=True, slots=True)
class Limits:
    """All bounds in force at a station for a product variant.

    Attributes:
        document: JSON, kept as evidence under its hash.
        version: SHA-256 of the document.
    """

    bounds: tuple[Bound, ...]
    document: bytes
    version: str

    def reasons(self, measures: Mapping[str, float]) -> tuple[list[str], list[str]]:
        """Reasons to reject, and reasons to doubt that are not among them; each once, in the order of the
        rules.
        """
        rejected = [b.rule.reason for b in self.bounds if b.crossed(measures[b.rule.measure], b.reject)]
        doubted = [b.rule.reason for b in self.bounds if b.crossed(measures[b.rule.measure], b.doubt)]
        return list(dict.fromkeys(rejected)), [r for r in dict.fromkeys(doubted) if r not in rejected]


def _limits(bounds: tuple[Bound, ...], learned_from: int) -> Limits:
    body = {
        "learned_from": learned_from,
        "bounds": [
            {
                "reason": b.rule.reason,
                "measure": b.rule.measure,
                "side": b.rule.side,
                "doubt": b.doubt,
                "reject": b.reject,
            }
            for b in bounds
        ],
    }
    document = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    return Limits(bounds, document, hashlib.sha256(document).hexdigest())


ABSOLUTE: Final = _limits(tuple(Bound(r, r.absolute, r.absolute) for r in RULES), 0)


def relearns(capture_id: str) -> bool:
    """True for one id in sixteen; the ids are hashes, so this is a fair and repeatable draw."""
    return capture_id.endswith("0")


class Learner:
    """The recent accepted images of one station and variant, and the limits that follow from them."""

    def __init__(self, settings: LearningSettings) -> None:
        self._settings = settings
        self._window: deque[tuple[float, ...]] = deque()
        self._names = tuple(dict.fromkeys(r.measure for r in RULES))
        self._sorted: dict[str, list[float]] = {name: [] for name in self._names}
        self.limits = ABSOLUTE

    def accept(self, capture_id: str, measures: Mapping[str, float]) -> None:
        """Take an accepted image into account.

        One that an earlier release measured less of is left out: its event is read back after an upgrade.
        """
        if not measures.keys() >= set(self._names):
            return
        values = tuple(measures[name] for name in self._names)
        self._window.append(values)
        for name, value in zip(self._names, values, strict=True):
            insort(self._sorted[name], value)
        if len(self._window) > self._settings.window:
            for name, value in zip(self._names, self._window.popleft(), strict=True):
                held = self._sorted[name]
                del held[bisect_left(held, value)]
        warm = len(self._window) >= self._settings.warm_up
        if warm and (self.limits is ABSOLUTE or relearns(capture_id)):
            self.limits = _limits(tuple(self._bound(rule) for rule in RULES), len(self._window))

    def _bound(self, rule: Rule) -> Bound:
        held = self._sorted[rule.measure]
        share = self._settings.quantile if rule.side == "low" else 1 - self._settings.quantile
        anchor = held[round(share * (len(held) - 1))]
        median = held[len(held) // 2]
        spread = max(abs(median - anchor), rule.least_spread)
        sign = -1 if rule.side == "low" else 1
        tightest = max if rule.side == "low" else min
        doubt, reject = (
            tightest(round(anchor + sign * factor * spread, 4), rule.absolute)
            for factor in (self._settings.doubt, self._settings.reject)
        )
        return Bound(rule, doubt, reject)

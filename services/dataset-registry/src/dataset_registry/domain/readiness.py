"""The readiness of a dataset version: five questions, each with its figures, what they rest on, a verdict, and what is
missing with what to do (M6.6). A verdict follows from figures alone; nobody writes one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from dataset_registry.domain.agreement import Figure

READY, NOT_READY, NOT_PROVEN = "ready", "not-ready", "not-proven"
_Z: Final = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Reading:
    """A figure of the package.

    Attributes:
        value: None where it is undefined.
        low, high: 95 % interval of an estimate; None for a count.
        of: Units that it rests on.
        unit: images, parts, share (0 to 1), ms, ... as a reader says it.
    """

    name: str
    value: float | None
    unit: str
    low: float | None = None
    high: float | None = None
    of: int | None = None


class Missing(NamedTuple):
    """What speaks against a yes.

    Attributes:
        shown: The figures show that it is wrong; otherwise there is nothing to judge by.
        advice: What to do.
    """

    code: str
    what: str
    advice: str
    shown: bool = True


class Evidence(NamedTuple):
    """Where the figures can be looked up; `href` is a path of this API."""

    title: str
    href: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one question."""

    key: str
    question: str
    figures: tuple[Reading, ...]
    evidence: tuple[Evidence, ...]
    missing: tuple[Missing, ...]

    @property
    def verdict(self) -> str:
        """not-ready where something is shown to be wrong, not-proven where something cannot be judged, else ready."""
        if not self.missing:
            return READY
        return NOT_READY if any(lack.shown for lack in self.missing) else NOT_PROVEN


def whole(answers: Sequence[Answer]) -> str:
    """The worst of the verdicts."""
    said = {answer.verdict for answer in answers}
    return next(worst for worst in (NOT_READY, NOT_PROVEN, READY) if worst in said)


def count(name: str, value: float, unit: str = "images") -> Reading:
    """A count, which has no interval."""
    return Reading(name, value, unit)


def portion(name: str, part: int, of: int) -> Reading:
    """A share of all that there is in the version: counted, so without an interval."""
    return Reading(name, part / of if of else None, "share", of=of)


def share(name: str, part: int, of: int) -> Reading:
    """A share that stands for what will come, with its 95 % interval (Wilson)."""
    if not of:
        return Reading(name, None, "share", of=0)
    p, spread = part / of, _Z**2 / of
    centre = (p + spread / 2) / (1 + spread)
    half = _Z * math.sqrt(p * (1 - p) / of + spread / (4 * of)) / (1 + spread)
    return Reading(name, p, "share", max(0.0, centre - half), min(1.0, centre + half), of)


def estimate(name: str, figure: Figure, unit: str) -> Reading:
    """A figure of agreement."""
    return Reading(name, figure.value, unit, figure.low, figure.high, figure.units)

"""Promises about escapes: a threshold under which parts may pass, with a bound that holds for parts not yet made.

The parts must be independent and must not have been learned from. A part escapes as soon as one of its images passes,
so it counts once, with its lowest score. How many of `n` parts may escape is fixed before their scores are looked at:
the most for which the exact binomial (Clopper-Pearson) bound keeps the wish. The threshold is then the score at that
place, which is what testing every threshold from the safest upwards until one fails comes to (fixed-sequence testing:
escapes only grow with the threshold), so choosing among many costs no confidence. Each promise holds by itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from trainer.domain.calibration import Floats
from trainer.domain.snapshot import Row, SnapshotError
from trainer.domain.thresholds import Thresholds

KEPT: Final = "kept"
"""The thresholds chosen by cost already keep the promise."""
LOWERED: Final = "kept by a lower pass_below"
NOT_ENOUGH: Final = "not enough data"

_STEPS = 10_000  # thresholds are written with four digits
_WISH = re.compile(r"(?P<subject>.+):(?P<rate>[0-9.]+)(?:@(?P<confidence>[0-9.]+))?")


@dataclass(frozen=True, slots=True)
class Wish:
    """At most `rate` of the parts of a class or severity may pass.

    `confidence` is that of the promise over all sets of parts that it may be made from; None asks for `rate` on
    average over them (conformal risk control), which needs fewer parts and promises less. Where one of `among` models
    will be kept by these same parts, each gets an equal share of what may go wrong.
    """

    subject: str
    rate: float
    confidence: float | None = None
    among: int = 1

    @classmethod
    def parse(cls, text: str) -> Wish:
        """Reads `crack:0.01@0.95`, or `crack:0.01` for an average. Raises `SnapshotError`."""
        found = _WISH.fullmatch(text.strip())
        try:
            if found is None:
                raise ValueError
            sure = found["confidence"]
            wish = cls(found["subject"].strip(), float(found["rate"]), float(sure) if sure else None)
        except ValueError:
            raise SnapshotError(
                f"a guarantee is written like crack:0.01@0.95 (class or severity, rate, confidence), not {text!r}"
            ) from None
        if not all(0 < value < 1 for value in (wish.rate, wish.confidence) if value is not None):
            raise SnapshotError(f"rate and confidence of the guarantee {text!r} must lie between 0 and 1")
        return wish

    def __str__(self) -> str:
        return f"at most {percent(self.rate)} of {self.subject} pass, {self.how}"

    @property
    def strict(self) -> tuple[float, float | None]:
        """Rate and confidence that one model has to keep so that the promise holds for whichever is kept."""
        if self.confidence is None:
            return self.rate / self.among, None
        return self.rate, 1 - (1 - self.confidence) / self.among

    @property
    def how(self) -> str:
        """The words for the confidence."""
        return "on average" if self.confidence is None else f"at {percent(self.confidence)} confidence"


@dataclass(frozen=True, slots=True)
class Guarantee:
    """What became of a wish.

    Attributes:
        parts: Independent parts of the subject that it rests on.
        threshold: Parts below it may pass under this promise; None where there are not enough parts.
        bound: The bound of the escape rate at the threshold.
        verdict: `KEPT`, `LOWERED` or `NOT_ENOUGH`.
        advice: One sentence for the owner of the line.
    """

    wish: Wish
    parts: int
    threshold: float | None
    bound: float | None
    verdict: str
    advice: str

    def to_json(self) -> dict[str, Any]:
        return {
            "class": self.wish.subject,
            "rate": self.wish.rate,
            "confidence": self.wish.confidence,
            "threshold": self.threshold,
            "bound": None if self.bound is None else round(self.bound, 6),
            "parts": self.parts,
            "verdict": self.verdict,
            "advice": self.advice,
        }


def binomial_tail(escapes: int, parts: int, rate: float) -> float:
    """The probability of at most `escapes` escapes among `parts`, each with probability `rate` (0 < rate < 1)."""
    count = np.arange(1, escapes + 1)
    ways = np.concatenate([[0.0], np.cumsum(np.log((parts - count + 1) / count))])
    taken = np.arange(escapes + 1)
    return math.fsum(np.exp(ways + taken * math.log(rate) + (parts - taken) * math.log1p(-rate)))


def escape_bound(escapes: int, parts: int, confidence: float) -> float:
    """Clopper and Pearson's upper bound of the rate behind `escapes` of `parts`, by bisection."""
    if escapes >= parts:
        return 1.0
    low, high = 0.0, 1.0
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (
            (middle, high) if binomial_tail(escapes, parts, middle) > 1 - confidence else (low, middle)
        )
    return high


def allowed_escapes(parts: int, rate: float, confidence: float | None) -> int:
    """How many of `parts` may escape so that the promise can still be made; -1 where not even none is enough."""
    if confidence is None:
        return math.floor(rate * (parts + 1) + 1e-9) - 1
    low, high = -1, parts  # `low` escapes are allowed, `high` are not
    while high - low > 1:
        middle = (low + high) // 2
        if binomial_tail(middle, parts, rate) <= 1 - confidence:
            low = middle
        else:
            high = middle
    return low


def parts_needed(rate: float, confidence: float | None) -> int:
    """The fewest parts, none of them escaping, by which the promise can be made."""
    exact = 1 / rate - 1 if confidence is None else math.log(1 - confidence) / math.log1p(-rate)
    return max(1, math.ceil(exact - 1e-9))


def attainable_rate(parts: int, confidence: float | None) -> float:
    """The lowest rate that so many parts can promise, none of them escaping."""
    return 1 / (parts + 1) if confidence is None else 1 - (1 - confidence) ** (1 / parts)


def part_scores(scores: Floats, groups: Sequence[int]) -> Floats:
    """The lowest score of each group, sorted."""
    lowest: dict[int, float] = {}
    for group, score in zip(groups, scores.tolist(), strict=True):
        lowest[group] = min(score, lowest.get(group, math.inf))
    return np.sort(np.array(list(lowest.values()), dtype=np.float64))


def classes_of(subject: str, classes: Sequence[str], severities: Mapping[str, str]) -> frozenset[str]:
    """The classes that a wish speaks of. Raises `SnapshotError` for a name that is neither class nor severity."""
    if subject in classes:
        return frozenset([subject])
    found = frozenset(name for name in classes if severities.get(name) == subject)
    if not found:
        known = ", ".join([*classes, *sorted(set(severities.values()))]) or "none"
        raise SnapshotError(f"no class or severity is called {subject!r}; known are: {known}")
    return found


def grant(wish: Wish, scores: Floats, pass_below: float) -> Guarantee:
    """The promise that these scores of independent parts (`part_scores`) allow, beside the threshold chosen by cost."""
    parts = len(scores)
    _, confidence = wish.strict
    allowed = allowed_escapes(parts, *wish.strict)
    if allowed < 0:
        return Guarantee(wish, parts, None, None, NOT_ENOUGH, _what_is_missing(wish, parts))
    threshold = _rounded_down(float(scores[allowed]))
    bound = (
        wish.among * (allowed + 1) / (parts + 1)
        if confidence is None
        else escape_bound(allowed, parts, confidence)
    )
    if pass_below <= threshold:
        advice = f"The cheapest thresholds keep it; pass_below may rise to {threshold:g} before it breaks."
        return Guarantee(wish, parts, threshold, bound, KEPT, advice)
    advice = f"pass_below falls from {pass_below:g} to {threshold:g}, so more parts go to people."
    if threshold == 0:
        advice = f"pass_below falls from {pass_below:g} to 0: no part passes any more without a person."
    return Guarantee(wish, parts, threshold, bound, LOWERED, advice)


def _rounded_down(score: float) -> float:
    steps = math.floor(score * _STEPS)
    return (steps if steps / _STEPS <= score else steps - 1) / _STEPS


def _what_is_missing(wish: Wish, parts: int) -> str:
    needed = parts_needed(*wish.strict)
    best = attainable_rate(parts, wish.strict[1]) if parts else 1.0
    if wish.confidence is None:
        best *= wish.among
    least = f" {parts} can promise {percent(best)} at best." if best < 1 else ""
    return (
        f"{parts} independent parts of {wish.subject} are there that were not learned from, at least "
        f"{needed} are needed for {percent(wish.rate)} {wish.how} (with zero escapes), which means that no threshold "
        f"can promise it yet and pass_below rests on costs alone.{least} Label {needed - parts} more parts for the "
        "validation side, or let people look at every part."
    )


def percent(share: float) -> str:
    """A share in three digits, as in 1 % or 1.65 %."""
    return f"{100 * share:.3g} %"


def keep_promises(
    wishes: Sequence[Wish],
    severities: Mapping[str, str],
    known: Sequence[str],
    rows: Sequence[Row],
    groups: Sequence[int],
    scores: Floats,
    limits: Thresholds,
) -> tuple[Thresholds, list[Guarantee]]:
    """The thresholds, `pass_below` lowered where a promise needs it, and what became of each wish.

    Args:
        severities: Severity of each class, where known.
        known: All defect classes of the data, also those that none of `rows` shows.
        rows: Images that the model has not learned from, with their `groups` and defect `scores`.

    Raises `SnapshotError` for a wish about a class or severity that nobody knows.
    """
    made: list[Guarantee] = []
    for wish in wishes:
        classes = classes_of(wish.subject, known, severities)
        shows = np.array([not classes.isdisjoint(row.classes) for row in rows], dtype=np.bool_)
        own = [group for group, kept in zip(groups, shows, strict=True) if kept]
        made.append(grant(wish, part_scores(scores[shows], own), limits.pass_below))
    lowest = min([limits.pass_below, *(item.threshold for item in made if item.threshold is not None)])
    return replace(limits, pass_below=lowest), made

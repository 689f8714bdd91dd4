"""The few statistics that the rules need, exact where samples are small."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Continued fraction of the incomplete beta function, by Lentz's method."""
    tiny = 1e-300
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > tiny else tiny)
    total = d
    for m in range(1, 400):
        for factor in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 + factor * d
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = 1.0 + factor / c
            c = c if abs(c) > tiny else tiny
            total *= c * d
        if abs(c * d - 1.0) < 1e-12:
            break
    return total


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function."""
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    if x < (a + 1.0) / (a + b + 2.0):
        return math.exp(log_front) * _beta_fraction(a, b, x) / a
    return 1.0 - math.exp(log_front) * _beta_fraction(b, a, 1.0 - x) / b


def chance_of_at_least(hits: int, trials: int, share: float) -> float:
    """Probability of at least `hits` in `trials` when each hits with probability `share`."""
    if hits <= 0:
        return 1.0
    if hits > trials:
        return 0.0
    return min(1.0, max(0.0, _incomplete_beta(hits, trials - hits + 1, share)))


def lower_bound(hits: int, trials: int, confidence: float) -> float:
    """One-sided Clopper-Pearson bound: the share is at least this, with this confidence."""
    if hits <= 0 or trials <= 0:
        return 0.0
    low, high = 0.0, hits / trials
    for _ in range(50):
        middle = (low + high) / 2
        if chance_of_at_least(hits, trials, middle) <= 1 - confidence:
            low = middle
        else:
            high = middle
    return low


def upper_bound(hits: int, trials: int, confidence: float) -> float:
    """One-sided Clopper-Pearson bound: the share is at most this, with this confidence."""
    return 1.0 if trials <= 0 else 1.0 - lower_bound(trials - hits, trials, confidence)


def clearly_above(hits: int, trials: int, share: float, confidence: float) -> bool:
    """Whether the lower bound of hits/trials lies above `share`, without computing the bound."""
    return hits > share * trials and chance_of_at_least(hits, trials, share) <= 1 - confidence


def median(values: Sequence[float]) -> float:
    """Raises ValueError when there are none."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def chi_square_quantile(freedom: int, confidence: float) -> float:
    """Wilson and Hilferty's approximation; within 1 % for what is asked of it here."""
    z = normal_quantile(confidence)
    return float(freedom * (1 - 2 / (9 * freedom) + z * math.sqrt(2 / (9 * freedom))) ** 3)


def normal_quantile(confidence: float) -> float:
    """Quantile of the standard normal distribution, by bisection on erfc."""
    low, high = -10.0, 10.0
    for _ in range(80):
        middle = (low + high) / 2
        if 0.5 * math.erfc(-middle / math.sqrt(2)) < confidence:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def stability_index(reference: Sequence[int], recent: Sequence[int]) -> float:
    """Population stability index of two histograms with the same bins; half a count is added to each bin."""
    n, m = sum(reference) + 0.5 * len(reference), sum(recent) + 0.5 * len(recent)
    total = 0.0
    for r, s in zip(reference, recent, strict=True):
        p, q = (r + 0.5) / n, (s + 0.5) / m
        total += (q - p) * math.log(q / p)
    return total


def stability_noise(bins: int, reference: int, recent: int, confidence: float) -> float:
    """The index stays below this by chance alone when nothing has drifted: samples this small scatter."""
    return chi_square_quantile(bins - 1, confidence) * (1 / reference + 1 / recent)


@dataclass(slots=True)
class Moments:
    """Mean and spread of a stream of numbers, by Welford's method."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        delta = value - self.mean
        self.mean += delta / self.count
        self.squares += delta * (value - self.mean)

    @property
    def deviation(self) -> float:
        """Sample standard deviation; 0 below two values."""
        return math.sqrt(self.squares / (self.count - 1)) if self.count > 1 else 0.0

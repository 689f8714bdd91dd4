"""What an evaluation shows beside its figures: mistakes by name, honesty of probabilities, leaks of a split."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from trainer.domain.calibration import Bools, Floats

Index = npt.NDArray[np.int_]


@dataclass(frozen=True, slots=True)
class ConfusedPair:
    """Rows that show `actual` and were called `predicted`."""

    actual: str
    predicted: str
    rows: tuple[int, ...]


def confused_pairs(actual: Sequence[str], predicted: Sequence[str]) -> list[ConfusedPair]:
    """Every mistake that was made, the most frequent first."""
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, pair in enumerate(zip(actual, predicted, strict=True)):
        if pair[0] != pair[1]:
            found[pair].append(row)
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return [ConfusedPair(*pair, tuple(rows)) for pair, rows in ordered]


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Rows with about the same claimed probability, and the share that really was so (95 % Wilson interval)."""

    claimed: float
    observed: float
    low: float
    high: float
    count: int


def reliability(probabilities: Floats, positive: Bools, bins: int = 10) -> list[ReliabilityBin]:
    """Bins of equal size over the claimed probabilities, the lowest first."""
    order = np.argsort(probabilities, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    found = []
    for part in parts:
        share = float(positive[part].mean())
        low, high = wilson(share, len(part))
        found.append(ReliabilityBin(float(probabilities[part].mean()), share, low, high, len(part)))
    return found


def wilson(share: float, count: int, deviate: float = 1.959964) -> tuple[float, float]:
    """Wilson's interval of a share of `count` trials."""
    square = deviate**2 / count
    centre = (share + square / 2) / (1 + square)
    reach = deviate / (1 + square) * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return max(0.0, centre - reach), min(1.0, centre + reach)


def most_wrong(true_probability: Floats, count: int) -> list[int]:
    """Rows to whose true answer the model gave the least probability, the worst first; only wrong ones (< 0.5)."""
    order = np.argsort(true_probability, kind="stable")[:count]
    return [int(row) for row in order if true_probability[row] < 0.5]


def near_pairs(hashes: Sequence[int], bits: int) -> list[tuple[int, int]]:
    """Pairs of rows (lower first) whose perceptual hashes differ in at most `bits` of 64 bits."""
    values = np.array(hashes, dtype=np.uint64)
    return [
        (int(other), row)
        for row, value in enumerate(values)
        for other in np.flatnonzero(np.bitwise_count(values[:row] ^ value) <= bits)
    ]


@dataclass(frozen=True, slots=True)
class Leak:
    """Near-duplicate pairs of a data set, and how many of them a split tears apart.

    `leaked_rows` counts the rows with a near-duplicate on the other side of their fold: their answer was seen.
    """

    pairs: int
    crossing: int
    rows: int
    leaked_rows: int

    def to_json(self) -> dict[str, int]:
        return asdict(self)


def leak_of(pairs: Sequence[tuple[int, int]], fold: Sequence[int]) -> Leak:
    """What a split into folds leaks through near-duplicates."""
    torn = [(one, other) for one, other in pairs if fold[one] != fold[other]]
    return Leak(len(pairs), len(torn), len(fold), len({row for pair in torn for row in pair}))


def naive_folds(strata: Sequence[Hashable], count: int, seed: str = "naive") -> list[int]:
    """The split that everyone makes first: image by image, each stratum spread evenly, blind to what belongs together.

    It is here to be shown beside the grouped one, never to be reported alone.
    """
    order = sorted(range(len(strata)), key=lambda row: hashlib.sha256(f"{seed}/{row}".encode()).digest())
    seen: Counter[Hashable] = Counter()
    fold = [0] * len(strata)
    for row in order:
        # Starting each stratum elsewhere keeps small strata from all filling fold 0.
        offset = hashlib.sha256(repr(strata[row]).encode()).digest()[0]
        fold[row] = (seen[strata[row]] + offset) % count
        seen[strata[row]] += 1
    return fold

"""What splitting, leakage and segments need to know of one labelled image."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from dataset_registry.domain.neighbours import Forest, Hashes, Indices, distinct, near_groups

TRAIN, VALIDATION, TEST, HOLDOUT = "train", "validation", "test", "holdout"
PARTS: Final = (TRAIN, VALIDATION, TEST, HOLDOUT)
"""The parts of a dataset, from the one that is learned from to the one that nothing may look at but an evaluation."""

NEIGHBOUR: Final = "neighbour"
CONTENT: Final = "content"


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled image.

    Attributes:
        id: Unique in its dataset; everything that is chosen by chance is chosen by it.
        content: SHA-256 of the image file.
        classes: What it shows, the good class alone where it is good; never empty.
        station: Line and station; None of a picture from elsewhere.
        part: Serial number of the very part that it shows, with its part number; None where unknown.
        perceptual_hash: 64 bits; None where nobody has computed it.
        synthetic: Generated, not taken.
        kept: Part of the dataset that it must stay in, as it was there in an earlier version.
    """

    id: str
    content: str
    classes: tuple[str, ...]
    is_defect: bool
    station: str | None = None
    captured_at: datetime | None = None
    batch: str | None = None
    part: str | None = None
    product: str | None = None
    camera: str | None = None
    perceptual_hash: int | None = None
    synthetic: bool = False
    kept: str | None = None


def time_block(sample: Sample, seconds: float) -> Hashable | None:
    """Station and stretch of time, on a fixed grid; None where one of them is unknown."""
    if sample.captured_at is None or sample.station is None:
        return None
    return sample.station, math.floor(sample.captured_at.timestamp() / seconds)


KEYS: Final[dict[str, Callable[[Sample, float], Hashable | None]]] = {
    CONTENT: lambda sample, _: sample.content,
    "part": lambda sample, _: sample.part,
    "batch": lambda sample, _: sample.batch,
    "time": time_block,
    "product": lambda sample, _: sample.product,
    "station": lambda sample, _: sample.station,
}
"""What images may have in common, by the name under which it is asked for; the number is the length of a block of time
in seconds. Perceptual neighbours are the one more, `NEIGHBOUR`."""


@dataclass(frozen=True, slots=True)
class Looks:
    """The images of which a perceptual hash is known.

    Attributes:
        known: Positions of these samples, shape (k,).
        values: Their different hashes, shape (v,).
        value: For each known sample the position of its hash, shape (k,).
    """

    known: Indices
    values: Hashes
    value: Indices

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Looks:
        pairs = [(i, s.perceptual_hash) for i, s in enumerate(samples) if s.perceptual_hash is not None]
        values, value = distinct(np.array([known for _, known in pairs], np.uint64))
        return cls(np.array([i for i, _ in pairs], np.int64), values, value)


def grouped(samples: Sequence[Sample], keys: Sequence[str], distance: int, block_s: float) -> Indices:
    """For each sample a position that all share that may not be parted: joined by any key, over any chain.

    Args:
        keys: Of `KEYS`, or `NEIGHBOUR`; the same bytes are always joined.
        distance: Bits, for neighbours.
        block_s: Length of a block of time.

    Returns:
        Shape (samples,): the smallest position of the group.
    """
    forest = Forest(len(samples))
    for key in dict.fromkeys((CONTENT, *keys)):
        if key == NEIGHBOUR:
            looks = Looks.of(samples)
            group = near_groups(looks.values, distance)[looks.value]
            _, first = np.unique(group, return_index=True)
            forest.join(looks.known[first][np.searchsorted(group[first], group)], looks.known)
        else:
            forest.join_equal(KEYS[key](sample, block_s) for sample in samples)
    return forest.groups()

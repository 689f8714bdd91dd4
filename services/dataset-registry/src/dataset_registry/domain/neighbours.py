"""Which of many images look alike: all pairs of 64-bit perceptual hashes within a Hamming distance, exactly.

Multi-index hashing: cut into distance + 1 bands, two hashes that differ in at most `distance` bits are equal in one
band at least, so only hashes that share a band are compared. Where most share a band (thousands of pictures of one
part), comparing all with all costs less, and that is then done; either way nothing is missed.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]

BITS = 64
MOST = 15
"""Bits; above it bands are shorter than four bits, and hashes of different things begin to be neighbours."""
_CHUNK = 1 << 20
"""Pairs looked at together: what bounds the memory."""
_ROWS, _COLUMNS = 64, 8192
"""A block of a comparison of all with all stays in the processor's cache."""
_BY_INDEX = 8
"""How many times as much a pair costs through an index as in a block."""


class Pairs(NamedTuple):
    """Pairs of positions, `left` and `right` and the number of bits in which they differ; each of shape (pairs,)."""

    left: Indices
    right: Indices
    distance: npt.NDArray[np.uint8]


def near_pairs(hashes: Hashes, most: int) -> Iterator[Pairs]:
    """All pairs of positions whose hashes differ in at most `most` bits, each pair once, in portions.

    Args:
        hashes: Shape (n,), each value once: of n equal ones there would be n² / 2 pairs. See `distinct`.
        most: 0 to `MOST`.
    """
    bands = _bands(hashes, most)
    return _by_band(hashes, most, bands) if _pays(bands, len(hashes)) else _all_with_all(hashes, most)


def near_groups(hashes: Hashes, most: int) -> Indices:
    """For each hash the smallest position of its group: whoever is near, and whoever is near to those, and so on.

    Arguments as for `near_pairs`; the pairs inside a group are not all looked at, so many of them cost nothing.
    """
    bands = _bands(hashes, most)
    if not _pays(bands, len(hashes)):
        return _flooded(hashes, most)
    forest = Forest(len(hashes))
    for pairs in _by_band(hashes, most, bands):
        forest.join(pairs.left, pairs.right)
    return forest.groups()


def distinct(hashes: Hashes) -> tuple[Hashes, Indices]:
    """The different values, sorted, and for each hash the position of its value."""
    values, position = np.unique(hashes, return_inverse=True)
    return values, position.astype(np.int64, copy=False)


class Forest:
    """Things 0 to `size` - 1 in groups that are joined, many at a time; a group is named by its smallest member."""

    def __init__(self, size: int) -> None:
        self._parent = np.arange(size)

    def join(self, left: Indices, right: Indices) -> None:
        """Put left[k] and right[k] into one group, for each k."""
        while True:
            left, right = self._roots(left), self._roots(right)
            apart = left != right
            if not apart.any():
                return
            left, right = left[apart], right[apart]
            # The smaller is the parent, so nothing turns in circles; of several for one, the last counts for now.
            self._parent[np.maximum(left, right)] = np.minimum(left, right)

    def join_equal(self, values: Iterable[Hashable | None]) -> None:
        """Put those with the same value into one group; None joins nothing. One value for each thing."""
        first: dict[Hashable, int] = {}
        links = [
            (first.setdefault(value, index), index) for index, value in enumerate(values) if value is not None
        ]
        if links:
            self.join(*np.array(links, np.int64).T)

    def groups(self) -> Indices:
        """For each thing the smallest member of its group."""
        return self._roots(np.arange(len(self._parent)))

    def _roots(self, things: Indices) -> Indices:
        while True:
            parents = self._parent[things]
            above = self._parent[parents]
            if np.array_equal(parents, above):
                return parents
            self._parent[things] = above


@dataclass(frozen=True, slots=True)
class _Band:
    """Some of the bits.

    Attributes:
        mask: Which.
        order: Positions of the hashes, sorted by these bits.
        ends: For each of them, in this order, where the run of those with equal bits ends.
    """

    mask: np.uint64
    order: Indices
    ends: Indices


def _bands(hashes: Hashes, most: int) -> list[_Band]:
    """most + 1 bands of about equal width."""
    if not 0 <= most <= MOST:
        raise ValueError(f"a distance of 0 to {MOST} bits, not {most}")
    edges = [BITS * band // (most + 1) for band in range(most + 2)]
    bands = []
    for low, high in pairwise(edges):
        mask = np.uint64((1 << high) - (1 << low))
        order = np.argsort(hashes & mask, kind="stable")
        keys = hashes[order] & mask
        bands.append(
            _Band(mask, order, np.searchsorted(keys, keys, side="right").astype(np.int64, copy=False))
        )
    return bands


def _pays(bands: list[_Band], size: int) -> bool:
    """Whether going through the bands costs less than comparing all with all."""
    compared = sum(int((band.ends - np.arange(1, size + 1)).sum()) for band in bands)
    return compared * _BY_INDEX < size * (size - 1) // 2


def _by_band(hashes: Hashes, most: int, bands: list[_Band]) -> Iterator[Pairs]:
    for number, band in enumerate(bands):
        for first, second in _within(band.ends):
            left, right = band.order[first], band.order[second]
            differing = hashes[left] ^ hashes[right]
            distance = np.bitwise_count(differing)
            near = distance <= most
            for earlier in bands[:number]:  # who shares an earlier band has been found there
                near &= (differing & earlier.mask) != 0
            if near.any():
                yield Pairs(left[near], right[near], distance[near])


def _within(ends: Indices) -> Iterator[tuple[Indices, Indices]]:
    """All pairs (i, j), i < j < ends[i], about a chunk at a time; a row is never cut, so one may be longer."""
    counts = ends - np.arange(len(ends)) - 1
    total = np.concatenate([[0], np.cumsum(counts)])
    start = 0
    while start < len(counts):
        stop = max(start + 1, int(np.searchsorted(total, total[start] + _CHUNK, side="right")) - 1)
        rows = np.arange(start, stop)
        first = np.repeat(rows, counts[start:stop])
        second = np.arange(len(first)) - np.repeat(total[start:stop] - total[start], counts[start:stop])
        second += first + 1
        if len(first):
            yield first, second
        start = stop


def _all_with_all(hashes: Hashes, most: int) -> Iterator[Pairs]:
    for top in range(0, len(hashes), _ROWS):
        rows = hashes[top : top + _ROWS, None]
        for start in range(top, len(hashes), _COLUMNS):
            distance = np.bitwise_count(rows ^ hashes[None, start : start + _COLUMNS])
            left, right = np.nonzero(distance <= most)
            left, right = left + top, right + start
            once = left < right
            if once.any():
                left, right = left[once], right[once]
                yield Pairs(left, right, distance[left - top, right - start])


def _flooded(hashes: Hashes, most: int) -> Indices:
    """Group by group: what is near to one of its members is taken out of those still waiting."""
    groups = np.empty(len(hashes), np.int64)
    waiting, values = np.arange(len(hashes)), hashes
    while len(waiting):
        first = int(waiting[0])
        groups[first] = first
        waiting, values = waiting[1:], values[1:]
        members = [first]
        while members:
            near = np.bitwise_count(values ^ hashes[members.pop()]) <= most
            if near.any():
                found = waiting[near]
                groups[found] = first
                members += found.tolist()
                waiting, values = waiting[~near], values[~near]
    return groups

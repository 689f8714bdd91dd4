"""What lies on both sides of a split: images that are not independent of each other, though figures treat them so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from dataset_registry.domain.neighbours import BITS, Indices, near_groups, near_pairs
from dataset_registry.domain.samples import CONTENT, KEYS, NEIGHBOUR, PARTS, Looks, Sample

Numbers = npt.NDArray[np.int64]

EXAMPLES: Final = 20
_PROOFS: Final = (CONTENT, NEIGHBOUR, "part")
"""Two such images show the same thing; the other kinds only make it likely."""
_KINDS: Final = (CONTENT, NEIGHBOUR, "part", "batch", "time")
_ADVICE: Final = {
    CONTENT: "remove the doubles",
    NEIGHBOUR: "split by neighbour, or look at the examples and lower the distance if they are different parts",
    "part": "split by part",
    "batch": "split by batch if a batch shares its defects or its material",
    "time": "split by time if light or position drift within a block",
}


class Example(NamedTuple):
    """Two images in different parts; `distance` in bits where both hashes are known."""

    left: str
    right: str
    parts: tuple[str, str]
    distance: int | None


@dataclass(frozen=True, slots=True)
class Leak:
    """One kind of relation across parts.

    Attributes:
        kind: content, neighbour, part, batch or time.
        pairs: Pairs of images in different parts.
        images: Images that are in such a pair.
        by_parts: Pairs by the two parts, "train/holdout".
        unknown: Images of which nothing is on record by which it could be found.
        examples: The worst: nearest to the holdout's side first, then the most alike.
    """

    kind: str
    pairs: int
    images: int
    by_parts: dict[str, int]
    unknown: int
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """Attributes:
    verdict: clean, unproven (too little is on record), related, or leaks.
    advice: What to do.
    """

    verdict: str
    advice: str
    leaks: tuple[Leak, ...]


def leakage(samples: Sequence[Sample], parts: Sequence[str], distance: int, block_s: float) -> Report:
    """Everything that two images in different parts have in common; arguments as for a `Plan`."""
    number = np.array([PARTS.index(part) for part in parts], np.int64)
    leaks = [
        _neighbours(samples, number, distance)
        if kind == NEIGHBOUR
        else _by_key(kind, (KEYS[kind](sample, block_s) for sample in samples), samples, number)
        for kind in _KINDS
    ]
    return _judged(leaks, len(samples))


def _judged(leaks: Sequence[Leak], size: int) -> Report:
    found = [leak for leak in leaks if leak.pairs]
    proofs = [leak for leak in found if leak.kind in _PROOFS]
    blind = [leak for leak in leaks if leak.kind == NEIGHBOUR and leak.unknown]
    said = "; ".join(f"{leak.pairs} pairs by {leak.kind}: {_ADVICE[leak.kind]}" for leak in found)
    if proofs:
        return Report("leaks", f"Do not use these figures. {said}.", tuple(leaks))
    if blind:
        text = f"{blind[0].unknown} of {size} images have no perceptual hash: compute it before calling this clean"
        return Report("unproven", f"{text}{'; ' * bool(said)}{said}.", tuple(leaks))
    if found:
        return Report("related", f"Nothing shows twice, but {said}.", tuple(leaks))
    return Report("clean", "No image is related to one of another part.", tuple(leaks))


class _Tally:
    """Counts the pairs of one kind while they are found, and keeps the worst."""

    def __init__(self, samples: Sequence[Sample], number: Numbers) -> None:
        self._samples = samples
        self._number = number
        self._crossing = np.zeros((len(PARTS), len(PARTS)), np.int64)
        self._worst: list[Example] = []

    def add(self, left: Numbers, right: Numbers) -> None:
        """All pairs of so many images of each part on the left with those on the right; shape (pairs, parts)."""
        self._crossing += left.T @ right

    def add_group(self, held: Numbers) -> None:
        """All pairs within a group with so many images of each part; shape (parts,)."""
        self._crossing += np.triu(np.outer(held, held), 1)

    def show(self, left: Iterable[int], right: Iterable[int]) -> None:
        """Keep the pair of samples of different parts that is nearest to the holdout, if it is among the worst."""
        pairs = [(i, j) for i in left for j in right if self._number[i] != self._number[j]]
        if pairs:
            i, j = max(pairs, key=lambda pair: max(self._number[list(pair)]))
            self._worst.append(self._example(*sorted((i, j), key=lambda index: self._samples[index].id)))
        if len(self._worst) > 50 * EXAMPLES:
            self._worst = sorted(self._worst, key=_rank)[:EXAMPLES]

    def leak(self, kind: str, images: int, unknown: int) -> Leak:
        both = self._crossing + self._crossing.T
        by_parts = {
            f"{PARTS[i]}/{PARTS[j]}": int(both[i, j])
            for i, j in combinations(range(len(PARTS)), 2)
            if both[i, j]
        }
        examples = tuple(sorted(self._worst, key=_rank)[:EXAMPLES])
        return Leak(kind, sum(by_parts.values()), images, by_parts, unknown, examples)

    def _example(self, i: int, j: int) -> Example:
        a, b = self._samples[i], self._samples[j]
        known = a.perceptual_hash is not None and b.perceptual_hash is not None
        distance = (a.perceptual_hash ^ b.perceptual_hash).bit_count() if known else None  # type: ignore[operator]
        return Example(a.id, b.id, (PARTS[self._number[i]], PARTS[self._number[j]]), distance)


def _rank(example: Example) -> tuple[int, int, str, str]:
    part = max(PARTS.index(part) for part in example.parts)
    return -part, BITS if example.distance is None else example.distance, example.left, example.right


def _by_key(kind: str, values: Iterable[Hashable | None], samples: Sequence[Sample], number: Numbers) -> Leak:
    members: dict[Hashable, list[int]] = defaultdict(list)
    unknown = 0
    for index, value in enumerate(values):
        if value is None:
            unknown += 1
        else:
            members[value].append(index)
    tally, images = _Tally(samples, number), 0
    for indices in members.values():
        if len(indices) > 1 and len(first := _first_of_each(indices, number)) > 1:
            tally.add_group(np.bincount(number[indices], minlength=len(PARTS)))
            tally.show(first, first)
            images += len(indices)
    return tally.leak(kind, images, unknown)


def _first_of_each(indices: Sequence[int], number: Numbers) -> list[int]:
    first: dict[int, int] = {}
    for index in indices:
        first.setdefault(int(number[index]), index)
    return list(first.values())


def _neighbours(samples: Sequence[Sample], number: Numbers, distance: int) -> Leak:
    looks, tally = Looks.of(samples), _Tally(samples, number)
    shape = len(looks.values), len(PARTS)
    held = np.zeros(shape, np.int64)  # images by hash and part: of equal ones only the number matters
    np.add.at(held, (looks.value, number[looks.known]), 1)
    shown = np.full(shape, -1, np.int64)  # one of them, to show
    shown[looks.value[::-1], number[looks.known[::-1]]] = looks.known[::-1]
    related = np.zeros(shape, bool)  # has a neighbour in another part

    def relate(left: Numbers, right: Numbers) -> None:
        elsewhere = held[right].sum(axis=1, keepdims=True) - held[right]
        np.logical_or.at(related, left, elsewhere > 0)

    double = np.flatnonzero((held > 0).sum(axis=1) > 1)
    relate(double, double)
    for value in double:
        tally.add_group(held[value])
        tally.show(_known(shown[value]), _known(shown[value]))
    apart = _apart(near_groups(looks.values, distance), held)
    for pairs in near_pairs(looks.values[apart], distance):
        left, right = apart[pairs.left], apart[pairs.right]
        tally.add(held[left], held[right])
        relate(left, right)
        relate(right, left)
        crossing = np.flatnonzero(((held[left] > 0) | (held[right] > 0)).sum(axis=1) > 1)
        for pair in crossing[np.argsort(pairs.distance[crossing], kind="stable")[:EXAMPLES]]:
            tally.show(_known(shown[left[pair]]), _known(shown[right[pair]]))
    return tally.leak(NEIGHBOUR, int(held[related].sum()), len(samples) - len(looks.known))


def _known(shown: Numbers) -> list[int]:
    return [int(index) for index in shown if index >= 0]


def _apart(groups: Indices, held: Numbers) -> Indices:
    """Positions of the hashes whose group lies in several parts: within one part nothing can leak."""
    names, group = np.unique(groups, return_inverse=True)
    parts = np.zeros((len(names), len(PARTS)), bool)
    np.logical_or.at(parts, group, held > 0)
    return np.flatnonzero((parts.sum(axis=1) > 1)[group])

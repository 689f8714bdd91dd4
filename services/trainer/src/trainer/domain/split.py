"""Splits images into training and validation without a leak: what belongs together stays together."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Sequence

from trainer.domain.snapshot import TRAIN, VALIDATION, Row


class LeakError(ValueError):
    """The given split puts images of one group on both sides."""


def joined_groups(*keys: Sequence[Hashable | None]) -> list[int]:
    """Group numbers such that rows sharing a value in any key column share a group. None and "" join nothing."""
    size = len(keys[0])
    parent = list(range(size))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for column in keys:
        first: dict[Hashable, int] = {}
        for index, value in enumerate(column):
            if value is None or value == "":
                continue
            parent[root(index)] = root(first.setdefault(value, index))
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root(index), len(numbers)) for index in range(size)]


def grouped_split(
    groups: Sequence[int], strata: Sequence[Hashable], share: float, seed: str = "andonloop"
) -> list[str]:
    """`train` or `validation` for each row; a group is never divided and about `share` of each stratum is validation.

    Groups are taken in an order that looks random but depends only on `seed`. A group that would alone make up a tenth
    of validation goes to training: validation has to hold many independent parts, or its figures mean little.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    wanted: dict[Hashable, float] = defaultdict(float)
    for stratum in strata:
        wanted[stratum] += share
    order = sorted(members, key=lambda group: hashlib.sha256(f"{seed}/{members[group][0]}".encode()).digest())
    parts = [TRAIN] * len(groups)
    largest = max(4.0, share * len(groups) / 10)
    for group in order:
        gain = sum(min(1.0, max(-1.0, wanted[strata[index]])) for index in members[group])
        if gain <= 0 or len(members[group]) > largest:
            continue
        for index in members[group]:
            parts[index] = VALIDATION
            wanted[strata[index]] -= 1
    return parts


def folds(groups: Sequence[int], count: int) -> list[int]:
    """A fold number, 0 to `count` - 1, for each row; groups stay whole and folds are about equally large."""
    sizes: dict[int, int] = defaultdict(int)
    for group in groups:
        sizes[group] += 1
    filled = [0] * count
    fold_of: dict[int, int] = {}
    shuffled = sorted(sizes, key=lambda group: hashlib.sha256(str(group).encode()).digest())
    for group in sorted(shuffled, key=lambda group: sizes[group], reverse=True):
        fold = filled.index(min(filled))
        fold_of[group] = fold
        filled[fold] += sizes[group]
    return [fold_of[group] for group in groups]


def check_no_leak(parts: Sequence[str], groups: Sequence[int]) -> None:
    """Raises `LeakError` when a group lies on both sides of the split."""
    side: dict[int, str] = {}
    for part, group in zip(parts, groups, strict=True):
        if side.setdefault(group, part) != part:
            raise LeakError(
                f"group {group} has images in {side[group]} and in {part}; regroup the dataset version"
            )


def strata_of(rows: Sequence[Row]) -> list[Hashable]:
    """What validation should hold in the same shares as training: variant and first class."""
    return [(row.variant, row.classes[0] if row.classes else "") for row in rows]

"""Splits images into training and validation without a leak: what belongs together stays together."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence

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
    of validation goes to training: validation has to hold many independent parts, or its figures mean little. So does
    the only group of a stratum: what nothing was learned of cannot be validated either.
    """
    members: dict[int, list[int]] = defaultdict(list)
    spread: dict[Hashable, set[int]] = defaultdict(set)
    for index, (group, stratum) in enumerate(zip(groups, strata, strict=True)):
        members[group].append(index)
        spread[stratum].add(group)
    wanted: dict[Hashable, float] = defaultdict(float)
    for stratum in strata:
        wanted[stratum] += share
    order = sorted(members, key=lambda group: hashlib.sha256(f"{seed}/{members[group][0]}".encode()).digest())
    parts = [TRAIN] * len(groups)
    largest = max(4.0, share * len(groups) / 10)
    for group in order:
        gain = sum(min(1.0, max(-1.0, wanted[strata[index]])) for index in members[group])
        is_only = any(len(spread[strata[index]]) < 2 for index in members[group])
        if gain <= 0 or is_only or len(members[group]) > largest:
            continue
        for index in members[group]:
            parts[index] = VALIDATION
            wanted[strata[index]] -= 1
    return parts


def folds(groups: Sequence[int], count: int, labels: Sequence[int] = ()) -> list[int]:
    """A fold number, 0 to `count` - 1, for each row; groups stay whole and folds are about equally large.

    A label with two groups or more is in two folds at least, so that without any fold there is something of it left.
    """
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
    _spread(fold_of, sizes, _groups_of(groups, labels), count)
    return [fold_of[group] for group in groups]


def _groups_of(groups: Sequence[int], labels: Sequence[int]) -> list[set[int]]:
    """The groups of each label that has several."""
    own: dict[int, set[int]] = defaultdict(set)
    for group, label in zip(groups, labels, strict=False):
        own[label].add(group)
    return [members for members in own.values() if len(members) > 1]


def _spread(fold_of: dict[int, int], sizes: Mapping[int, int], labels: list[set[int]], count: int) -> None:
    """Move the smallest group of each label whose groups all came into one fold."""
    for members in labels:
        moved = min(members, key=lambda group: (sizes[group], group))
        concerned = [other for other in labels if moved in other]
        for fold in range(count):
            if all(len({fold_of[group] for group in other}) > 1 for other in concerned):
                break
            fold_of[moved] = fold


def independent_images(rows: Sequence[Row], groups: Sequence[int]) -> dict[str, int]:
    """How many groups show each defect class: images of one part count once."""
    pairs = [(row, group) for row, group in zip(rows, groups, strict=True) if row.is_defect]
    seen = {(name, group) for row, group in pairs for name in row.classes}
    return dict(Counter(name for name, _ in seen))


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

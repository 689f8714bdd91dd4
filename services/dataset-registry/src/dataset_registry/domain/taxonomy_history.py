"""What became of a class: from the version that a label was made under to the one in force (M4.5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from dataset_registry.domain.taxonomy_changes import MERGED, REMOVED, RENAMED, SPLIT, diff
from dataset_registry.domain.taxonomy_document import Document

_MOVES = (RENAMED, SPLIT, MERGED, REMOVED)


class Step(NamedTuple):
    """A version in which a class got other names, or none."""

    version: str
    kind: str
    before: tuple[str, ...]
    after: tuple[str, ...]


class Fate(NamedTuple):
    """What happened to classes, and what they are called now; a class that was split has several names."""

    steps: tuple[Step, ...]
    today: tuple[str, ...]


def fate(classes: Sequence[str], versions: Sequence[tuple[str, Document]]) -> Fate:
    """Follow classes through the versions.

    Args:
        classes: Names in the first version.
        versions: One after the other, the first is the one they are taken from.
    """
    names, steps = list(dict.fromkeys(classes)), list[Step]()
    for (_, old), (version, new) in pairwise(versions):
        moved = list(_moves(names, version, old, new))
        gone = {name for step in moved for name in step.before}
        names = [name for name in names if name not in gone]
        names += [name for step in moved for name in step.after if name not in names]
        steps += moved
    return Fate(tuple(steps), tuple(names))


def _moves(names: Sequence[str], version: str, old: Document, new: Document) -> Iterator[Step]:
    for change in diff(old, new).changes:
        if change.kind in _MOVES and set(change.before) & set(names):
            yield Step(version, change.kind, change.before, change.after)

"""Whether two people said the same of an image: the same verdict and classes, and shapes that cover each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from dataset_registry.domain.annotations import Annotation, KeyPoints, Shape, Verdict
from dataset_registry.domain.geometry import bounds, overlap
from dataset_registry.domain.labeling_checks import classes_of
from dataset_registry.domain.matching import LEAST_OVERLAP

_NEAR_SHARE, _NEAR_PX = 0.05, 3.0
"""Key points are the same when they are no further apart than this share of their figure's diagonal, or so near."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How much two annotations have in common.

    Attributes:
        agrees: Everything that counts is the same.
        score: 0 to 1: the share of what either says that both say; classes count for a half where shapes are marked.
    """

    agrees: bool
    score: float


def compared(left: Annotation, right: Annotation, width: int, height: int) -> Comparison:
    """Compare two annotations of one image of this size."""
    if left.verdict is not right.verdict:
        return Comparison(agrees=False, score=0.0)
    if left.verdict is not Verdict.LABELED:
        return Comparison(agrees=True, score=1.0)
    a, b = classes_of(left), classes_of(right)
    classes = len(a & b) / len(a | b) if a | b else 1.0
    marks = max(len(left.shapes), len(right.shapes))
    if not marks:
        return Comparison(a == b, classes)
    both = 2 * len(matched(left.shapes, right.shapes, width, height))
    shapes = both / (len(left.shapes) + len(right.shapes))
    return Comparison(a == b and shapes == 1.0, (classes + shapes) / 2.0)


def matched(left: Sequence[Shape], right: Sequence[Shape], width: int, height: int) -> list[tuple[int, int]]:
    """Pairs of positions of shapes that mean the same place: of one class, best overlap first, each in one pair."""
    found = [
        (likeness, i, j)
        for i, a in enumerate(left)
        for j, b in enumerate(right)
        if a.class_name == b.class_name and (likeness := _likeness(a, b, width, height)) >= LEAST_OVERLAP
    ]
    pairs, used_left, used_right = list[tuple[int, int]](), set[int](), set[int]()
    for _, i, j in sorted(found, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if i not in used_left and j not in used_right:
            pairs.append((i, j))
            used_left.add(i)
            used_right.add(j)
    return pairs


def consensus(answers: Sequence[Annotation], width: int, height: int) -> int | None:
    """The position of the answer that is most like all others, the first among equals; None when two differ."""
    scores = [0.0] * len(answers)
    for i, j in combinations(range(len(answers)), 2):
        comparison = compared(answers[i], answers[j], width, height)
        if not comparison.agrees:
            return None
        likeness = comparison.score + _mean_likeness(answers[i].shapes, answers[j].shapes, width, height)
        scores[i] += likeness
        scores[j] += likeness
    return scores.index(max(scores))


def _mean_likeness(left: Sequence[Shape], right: Sequence[Shape], width: int, height: int) -> float:
    pairs = matched(left, right, width, height)
    return sum(_likeness(left[i], right[j], width, height) for i, j in pairs) / len(pairs) if pairs else 0.0


def _likeness(left: Shape, right: Shape, width: int, height: int) -> float:
    if isinstance(left.geometry, KeyPoints) and isinstance(right.geometry, KeyPoints):
        return _near(left.geometry, right.geometry)
    return overlap(left.geometry, right.geometry, width, height)


def _near(left: KeyPoints, right: KeyPoints) -> float:
    """1 where all points lie on each other, 0.5 where one is as far away as the same point may be, then less."""
    a, b = dict(left.points), dict(right.points)
    if a.keys() != b.keys():
        return 0.0
    box = bounds(left)
    allowed = max(_NEAR_PX, _NEAR_SHARE * math.hypot(box.width, box.height))
    farthest = max(math.dist(a[name], b[name]) for name in a)
    return 1.0 / (1.0 + farthest / allowed)

"""The geometry of an anchor-free detector: its points, and which labelled box each of them answers for.

Boxes are x1, y1, x2, y2 in pixels of the model's input. A list of boxes of varying length travels as an array of
`MOST_BOXES` rows x1, y1, x2, y2, class; a row that holds none has the class -1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]

MOST_BOXES: Final = 16
CENTRAL: Final = 0.5
"""A point answers for a box when it lies in this share of the box's width and height around its centre."""


@dataclass(frozen=True, slots=True)
class Level:
    """A grid of points `stride` pixels apart that answers for boxes with sides (root of the area) of `least` to `most`.

    Sides are in pixels of the model's input; levels overlap, for between two of them both may answer.
    """

    stride: int
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Points:
    """All points of all levels, row by row, the finest level first.

    Attributes:
        at: x, y in pixels of the model's input, (points, 2).
        stride: Of each point's level, (points).
        least, most: The sides of boxes that it answers for, (points).
    """

    at: npt.NDArray[np.float32]
    stride: npt.NDArray[np.float32]
    least: npt.NDArray[np.float32]
    most: npt.NDArray[np.float32]


def points_of(levels: Sequence[Level], width: int, height: int) -> Points:
    """The points of an input of this size, which every stride must divide."""
    places: list[npt.NDArray[np.float64]] = []
    strides: list[npt.NDArray[np.float32]] = []
    least: list[npt.NDArray[np.float32]] = []
    most: list[npt.NDArray[np.float32]] = []
    for level in levels:
        if width % level.stride or height % level.stride:
            raise ValueError(f"an input of {width} x {height} pixels is not a multiple of {level.stride}")
        rows, columns = height // level.stride, width // level.stride
        y, x = np.mgrid[:rows, :columns]
        places.append((np.stack([x.ravel(), y.ravel()], axis=1) + 0.5) * level.stride)
        for values, value in ((strides, level.stride), (least, level.least), (most, level.most)):
            values.append(np.full(rows * columns, value))
    at, stride, low, high = (
        np.concatenate(parts).astype(np.float32) for parts in (places, strides, least, most)
    )
    return Points(at, stride, low, high)


def turned_points(levels: Sequence[Level], width: int, height: int, turn: int) -> npt.NDArray[np.int_]:
    """For each point of an upright input its row among the points of the input after `turn` counter-clockwise quarters.

    An odd turn needs a square input.
    """
    found, start = [], 0
    for level in levels:
        rows, columns = height // level.stride, width // level.stride
        own = start + np.arange(rows * columns).reshape(rows, columns)
        found.append(np.rot90(own, -turn).ravel())
        start += rows * columns
    return np.concatenate(found)


def padded(boxes: Floats) -> npt.NDArray[np.float32]:
    """Rows x1, y1, x2, y2, class as `MOST_BOXES` rows; where there are more, the largest stay."""
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = boxes[np.argsort(-area, kind="stable")[:MOST_BOXES]]
    rows = np.full((MOST_BOXES, 5), -1, np.float32)
    rows[: len(kept)] = kept
    return rows


def owners(boxes: Floats, points: Points) -> npt.NDArray[np.int8]:
    """For each point the row of the box that it answers for, or -1 (points).

    Of several boxes the smallest wins, for the large one has other points. The point nearest to a box's centre answers
    for it in any case, so that no box is too thin or too small to be learned.
    """
    known = boxes[:, 4] >= 0
    centre, size = (boxes[:, :2] + boxes[:, 2:4]) / 2, boxes[:, 2:4] - boxes[:, :2]
    area = np.where(known, size[:, 0] * size[:, 1], np.inf)
    side = np.sqrt(np.where(known, area, 0))[:, None]
    fits = (side >= points.least) & (side < points.most)
    away = np.abs(points.at - centre[:, None])  # boxes x points x 2
    inside = (away <= CENTRAL / 2 * size[:, None]).all(axis=2) & fits
    distance = np.where(fits, (away**2).sum(axis=2), np.inf)
    nearest = (distance == distance.min(axis=1, keepdims=True)) & fits
    answers = (inside | nearest) & known[:, None]
    cost = np.where(answers, area[:, None] - 1e9 * nearest, np.inf)
    return np.where(answers.any(axis=0), cost.argmin(axis=0), -1).astype(np.int8)


def overlaps(first: Floats, second: Floats) -> Floats:
    """Intersection over union of each of the first boxes with each of the second, (first, second)."""
    corner = np.minimum(first[:, None, 2:4], second[None, :, 2:4])
    sides = np.clip(corner - np.maximum(first[:, None, :2], second[None, :, :2]), 0, None)
    shared = sides[..., 0] * sides[..., 1]
    areas = [(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) for boxes in (first, second)]
    return np.asarray(shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9))


def hits(found: Floats, truth: Floats, overlap: float = 0.5) -> npt.NDArray[np.bool_]:
    """For each found box, surest first, whether it covers a labelled one of its class that no surer one took.

    `found` and `truth` are rows of x1, y1, x2, y2, class.
    """
    shared = overlaps(found, truth) * (found[:, None, 4] == truth[None, :, 4])
    free = np.ones(len(truth), bool)
    right = np.zeros(len(found), bool)
    for row, values in enumerate(shared):
        left = np.where(free, values, 0.0)
        if len(left) and left.max() >= overlap:
            right[row] = True
            free[int(left.argmax())] = False
    return right


def shown_from(scores: Floats, right: npt.NDArray[np.bool_], labelled: int) -> float:
    """The score from which boxes are shown: best by F2, in which a missed defect weighs more than a box too many.

    `scores` and `right` (see `hits`) are of all boxes of all images, `labelled` is how many there were to find. Without
    a right box there is nothing to choose by; then it is one half.
    """
    if not right.any():
        return 0.5
    order = np.argsort(-scores, kind="stable")
    caught = np.cumsum(right[order])
    quality = 5 * caught / (np.arange(1, len(order) + 1) + 4 * labelled)
    return float(scores[order][int(quality.argmax())])

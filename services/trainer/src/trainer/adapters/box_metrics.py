"""Average precision of boxes, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

MOST = 100
"""Boxes of an image and class that are looked at, the surest first."""


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes of one image, labelled or found.

    Attributes:
        corners: x1, y1, x2, y2 in pixels of the image, (n, 4).
        classes: Number of each box's class, (n).
        scores: How sure each is, (n); ones for what a person labelled.
    """

    corners: npt.NDArray[np.floating[Any]]
    classes: npt.NDArray[np.integer[Any]]
    scores: npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class BoxFigures:
    """Average precision at one overlap: of all classes that are labelled somewhere, and of each (nan: nowhere)."""

    mean: float
    of_class: tuple[float, ...]


def average_precision(
    truth: Sequence[Boxes], found: Sequence[Boxes], classes: int, iou: float = 0.5
) -> BoxFigures:
    """As COCO counts: matched by falling score, precision made monotonous, mean of 101 recalls.

    `truth` and `found` are of the same images in the same order. Without any labelled box all figures are nan.
    """
    if not any(len(image.classes) for image in truth):
        return BoxFigures(float("nan"), (float("nan"),) * classes)
    judged = COCOeval(*_as_coco(truth, found, classes), "bbox")
    judged.params.iouThrs = np.array([iou])
    judged.params.maxDets = [MOST]
    judged.params.areaRng, judged.params.areaRngLbl = [[0, 1e10]], ["all"]
    with contextlib.redirect_stdout(io.StringIO()):
        judged.evaluate()
        judged.accumulate()
    precision = judged.eval["precision"][0, :, :, 0, 0]  # recalls x classes; -1 where nothing is labelled
    each = [float(column.mean()) if column.min() >= 0 else float("nan") for column in precision.T]
    return BoxFigures(float(np.nanmean(each)), tuple(each))


def _as_coco(truth: Sequence[Boxes], found: Sequence[Boxes], classes: int) -> tuple[COCO, COCO]:
    images = [{"id": number} for number in range(1, len(truth) + 1)]
    categories = [{"id": number, "name": str(number)} for number in range(classes)]
    both = []
    for side in (truth, found):
        coco = COCO()
        coco.dataset = {"images": images, "categories": categories, "annotations": _annotations(side)}
        with contextlib.redirect_stdout(io.StringIO()):
            coco.createIndex()
        both.append(coco)
    return both[0], both[1]


def _annotations(images: Sequence[Boxes]) -> list[dict[str, Any]]:
    """One entry a box; numbers start at 1, for pycocotools takes 0 for "no match"."""
    entries: list[dict[str, Any]] = []
    for number, image in enumerate(images, start=1):
        for corners, kind, score in zip(image.corners, image.classes, image.scores, strict=True):
            left, top, right, bottom = (float(value) for value in corners)
            entries.append(
                {
                    "id": len(entries) + 1,
                    "image_id": number,
                    "category_id": int(kind),
                    "bbox": [left, top, right - left, bottom - top],
                    "area": (right - left) * (bottom - top),
                    "score": float(score),
                    "iscrowd": 0,
                }
            )
    return entries

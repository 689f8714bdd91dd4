"""Which differing pixels are one difference, and which differences are pieces of one defect.

The module leans on NumPy and OpenCV alone; the Triton model carries a copy of it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from andon_vision.opencv import cv2

_MOST_DIFFERENCES: Final = 256
"""The largest are looked at: a board with more is broken or torn, and must not hold up the line."""


def components(
    differs: npt.NDArray[np.bool_], join: int, min_area: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Differing pixels (H, W) as differences: left, top, right, bottom of each, (M, 4), and whose each pixel is.

    Pixels closer than `join` are one difference, and one of fewer than `min_area` pixels is none. The latter answer is
    0 or the difference's number from 1 on, (H, W).
    """
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (join, join))
    count, labels = cv2.connectedComponents(cv2.dilate(differs.astype(np.uint8), kernel))
    labels[~differs] = 0
    area = np.bincount(labels.ravel(), minlength=count)
    area[0] = 0
    large = area >= min_area
    large[np.argsort(-area, kind="stable")[_MOST_DIFFERENCES:]] = False
    numbers = np.cumsum(large) * large
    parts = numbers[labels].astype(np.int32)
    boxes = np.zeros((int(large.sum()), 4), np.float32)
    rows, columns = np.nonzero(parts)
    owner = parts[rows, columns] - 1
    boxes[:, :2] = np.inf
    np.minimum.at(boxes[:, 0], owner, columns)
    np.minimum.at(boxes[:, 1], owner, rows)
    np.maximum.at(boxes[:, 2], owner, columns + 1)
    np.maximum.at(boxes[:, 3], owner, rows + 1)
    return boxes, parts


def pieces(
    boxes: npt.NDArray[np.float32], light: npt.NDArray[np.bool_], real: npt.NDArray[np.bool_], reach: float
) -> npt.NDArray[np.int_]:
    """For each difference the number of the defect that it is a piece of; numbers are 0 on without a gap, (M,).

    Real ones that are both light or both dark belong together where less than `reach` pixels lie between their boxes.
    """
    gap = np.maximum(boxes[:, None, :2] - boxes[None, :, 2:], boxes[None, :, :2] - boxes[:, None, 2:])
    near = (gap.max(axis=2) < reach) & real[:, None] & real & (light[:, None] == light)
    owner = np.arange(len(boxes))
    for _ in range(len(boxes)):
        lowest = np.where(near, owner, owner[:, None]).min(axis=1)
        if (lowest == owner).all():
            break
        owner = lowest
    return np.unique(owner, return_inverse=True)[1].reshape(-1)

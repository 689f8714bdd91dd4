"""Describes a difference between a board and its template in numbers: how large it is, what it takes or adds, what it
joins or parts.

A break parts one piece of copper into two and a bridge makes one of two; a hole is surrounded by copper and a splash
by none. These are counts of connected pieces, which a small network would have to see thousands of boards to learn.

The module leans on NumPy and OpenCV alone; the Triton model carries a copy of it.
"""

from __future__ import annotations

from typing import Final, cast

import numpy as np
import numpy.typing as npt

from andon_vision.opencv import cv2

Mask = npt.NDArray[np.uint8]
"""(H, W), 0 or 1."""

RINGS: Final = (2, 4)
"""How far around a difference its surroundings are looked at, in pixels."""
NAMES: Final = (
    "step",
    "absolute step",
    "area",
    "width",
    "height",
    "filled",
    "thickness",
    "farthest from an edge",
    "distance from edges",
    "other differences",
    "bright",
    *(
        f"{what} at {reach} in the {plane}"
        for reach in RINGS
        for plane in ("template", "picture")
        for what in ("bright", "bright pieces", "bright parts", "dark pieces", "dark parts")
    ),
)
"""What the numbers are, in their order: pieces are of the ring alone, parts hang together anywhere in the window."""
_LEAST_PIECE: Final = 3
"""Smaller pieces, in pixels, are an edge's roughness."""


def shape_of(blob: Mask, ground: npt.NDArray[np.uint8], picture: npt.NDArray[np.uint8]) -> list[float]:
    """The numbers of one difference in the order of `NAMES`, each of about the size of one.

    Args:
        blob: Its pixels, in a window with room around it.
        ground: The registered template in this window, 0 to 255.
        picture: The picture in the template's light.
    """
    inside = blob > 0
    bright = [(plane > 127).astype(np.uint8) for plane in (ground, picture)]
    step = picture[inside].astype(np.float32) - ground[inside]
    rows, columns = np.nonzero(inside)
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    thickness = cv2.distanceTransform(
        cv2.copyMakeBorder(blob, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 3
    )
    edge = _distance_to_edge(bright[0])
    other = (np.abs(picture.astype(np.float32) - ground) > 127) & ~inside
    described = [
        float(step.mean()) / 255.0,
        float(np.abs(step).mean()) / 255.0,
        np.log(len(rows)) / 4.0,
        width / 32.0,
        height / 32.0,
        len(rows) / (width * height),
        float(thickness.max()) / 8.0,
        float(edge[inside].max()) / 8.0,
        float(edge[inside].mean()) / 8.0,
        float(other.mean()) * 10.0,
        float(bright[0].mean()),
    ]
    for reach in RINGS:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)
        grown = cast(Mask, cv2.dilate(blob, kernel))
        ring = cast(Mask, cv2.dilate(grown, np.ones((3, 3), np.uint8)) - grown)
        for plane in bright:
            described.append(float(plane[ring > 0].mean()) if ring.any() else 0.5)
            for side in (plane, 1 - plane):
                described.append(min(4, _pieces(ring & side)) / 2.0)
                described.append(min(4, _touching(side, grown)) / 2.0)
    return described


def _distance_to_edge(bright: Mask) -> npt.NDArray[np.float32]:
    """How far each pixel of a window is from where the template changes, at most 32."""
    edge = cv2.morphologyEx(bright, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    if not edge.any():
        return np.full(bright.shape, 32.0, np.float32)
    return np.minimum(cv2.distanceTransform(1 - edge, cv2.DIST_L2, 3), 32.0)


def _pieces(mask: Mask) -> int:
    """Connected pieces that are more than roughness."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    return int((stats[1:count, cv2.CC_STAT_AREA] >= _LEAST_PIECE).sum())


def _touching(side: Mask, near: Mask) -> int:
    """Different connected pieces of `side` that reach `near` with more than roughness."""
    count, labels = cv2.connectedComponents(side, connectivity=4)
    seen = np.bincount(labels[near > 0].ravel(), minlength=count)
    return int((seen[1:] >= _LEAST_PIECE).sum())

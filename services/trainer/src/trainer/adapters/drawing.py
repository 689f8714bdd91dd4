"""Draws what people marked in the labeling room: polygons with holes, and masks as COCO's run lengths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from trainer.domain.snapshot import DrawnMask, LabelledArea, SnapshotError

Pixels = npt.NDArray[np.bool_]


def mask_png(mask: DrawnMask) -> bytes:
    """The PNG that `Row.mask` promises. The largest area is painted first, so that a pit in a stain stays one.

    Raises `SnapshotError` for run lengths that are none of this size.
    """
    drawn = [(area.class_name, pixels_of(area, mask.height, mask.width)) for area in mask.areas]
    canvas = np.zeros((mask.height, mask.width), np.uint8)
    for name, pixels in sorted(drawn, key=lambda item: -int(item[1].sum())):
        canvas[pixels] = mask.classes.index(name) + 1 if len(mask.classes) > 1 else 255
    return cv2.imencode(".png", canvas)[1].tobytes()


def pixels_of(area: LabelledArea, height: int, width: int) -> Pixels:
    """(height, width): the pixels whose centres lie inside, those on an edge to either side. Raises `SnapshotError`."""
    if area.counts:
        return _decoded({"size": [height, width], "counts": area.counts.encode()})
    inside = np.zeros((height, width), bool)
    for ring in area.rings:
        outline = [[coordinate for point in ring for coordinate in point]]
        for filled in coco.frPyObjects(outline, height, width):
            inside ^= _decoded(filled)
    return inside


def _decoded(runs: Mapping[str, Any]) -> Pixels:
    try:
        return np.asarray(coco.decode(runs), bool)
    except ValueError as error:
        height, width = runs["size"]
        raise SnapshotError(f"a mask's run lengths are none of {width} x {height} pixels: {error}") from error

"""Heat maps as small grey PNG files."""

from __future__ import annotations

import cv2

from inference.domain.scoring import HeatMap

LONGER_SIDE = 112


def draw_heat_map(heat: HeatMap, width: int, height: int) -> bytes:
    """A grey PNG with the proportions of an image of `width` x `height` pixels; the same map gives the same bytes."""
    scale = LONGER_SIDE / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = cv2.resize(heat, size, interpolation=cv2.INTER_LINEAR)
    ok, data = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not ok:
        raise RuntimeError("OpenCV could not write a PNG")
    return data.tobytes()

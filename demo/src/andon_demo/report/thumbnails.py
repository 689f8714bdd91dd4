"""Small pictures for the page, as data URIs, with what the model points at laid over them on request."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import cv2
import numpy as np
from andon_events.records import Region

LINE = (60, 220, 255)
"""Blue, green, red: bright on grey cells and boards."""


def thumbnail(
    image: bytes,
    heat_map: bytes | None = None,
    side: int = 150,
    arrived: float = 1.0,
    regions: Sequence[Region] = (),
) -> str | None:
    """A JPEG data URI no longer than `side` pixels on a side; None for what cannot be decoded.

    Args:
        heat_map: Where the model looked, to lay over it.
        arrived: So much of it is shown, from the top; the rest is grey.
        regions: What the model points at, to draw over it.
    """
    pixels = _decoded(image, cv2.IMREAD_COLOR)
    if pixels is None:
        return None
    scale = side / max(pixels.shape[:2])
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    small[round(small.shape[0] * arrived) :] = 200
    if heat_map is not None:
        heat = _decoded(heat_map, cv2.IMREAD_GRAYSCALE)
        if heat is not None:
            spread = cv2.resize(heat, size, interpolation=cv2.INTER_CUBIC)
            colour = cv2.applyColorMap(spread.astype(np.uint8), cv2.COLORMAP_INFERNO).astype(np.float32)
            weight = (spread.astype(np.float32) / 255.0)[..., None] * 0.75
            small = (small * (1 - weight) + colour * weight).clip(0, 255).astype(np.uint8)
    for region in regions:
        cv2.polylines(small, [(_ring(region) * scale).round().astype(np.int32)], True, LINE, 1, cv2.LINE_AA)
    done, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 82])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode() if done else None


def screenshot(png: bytes, width: int = 1200) -> str | None:
    """A page's picture, made smaller for embedding."""
    pixels = _decoded(png, cv2.IMREAD_COLOR)
    if pixels is None:
        return None
    if pixels.shape[1] > width:
        pixels = cv2.resize(
            pixels, (width, round(pixels.shape[0] * width / pixels.shape[1])), interpolation=cv2.INTER_AREA
        )
    done, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode() if done else None


def _ring(region: Region) -> cv2.typing.MatLike:
    """The outline as corners in pixels of the image."""
    if region.outline:
        return np.array(region.outline).reshape(-1, 2)
    right, bottom = region.x + region.width, region.y + region.height
    return np.array([(region.x, region.y), (right, region.y), (right, bottom), (region.x, bottom)])


def _decoded(data: bytes, flags: int) -> cv2.typing.MatLike | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None

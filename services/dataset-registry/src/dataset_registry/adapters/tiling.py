"""Cuts an image into the tiles of all levels, one by one: what is held is the decoded image and a quarter of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from andon_chassis.errors import Invalid
from andon_vision.decode import DecodeLimits, inspect_image
from andon_vision.errors import DAMAGED
from andon_vision.header import ImageHeader
from andon_vision.opencv import cv2

from dataset_registry.domain.pyramid import TILE, Pyramid

_FLAGS = (
    cv2.IMREAD_ANYCOLOR | cv2.IMREAD_IGNORE_ORIENTATION
)  # 8 bits; colours stay in the decoder's order, unconverted
_AS = {
    "png": (".png", [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]),
    "jpg": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 92]),
}

EightBit = npt.NDArray[np.uint8]


class Tile(NamedTuple):
    """One encoded tile."""

    level: int
    column: int
    row: int
    data: bytes


def tiles(data: bytes, limits: DecodeLimits) -> tuple[Pyramid, str, Iterator[Tile]]:
    """The pyramid of an encoded image, its format - "jpg" for a JPEG, else "png", so that nothing is lost that was
    there - and all tiles, the largest level first and row by row. Raises ImageRefused, and Invalid where the pixels
    are not what the header says."""
    header = inspect_image(data, limits)
    pyramid = Pyramid(header.width, header.height)
    format_ = "jpg" if header.media_type == "image/jpeg" else "png"
    return pyramid, format_, _cut(data, header, pyramid, format_)


def _cut(data: bytes, header: ImageHeader, pyramid: Pyramid, format_: str) -> Iterator[Tile]:
    pixels = _decoded(data, header)
    for level in range(pyramid.top, -1, -1):
        if level < pyramid.top:
            pixels = cast(EightBit, cv2.resize(pixels, pyramid.size(level), interpolation=cv2.INTER_AREA))
        columns, rows = pyramid.grid(level)
        for row in range(rows):
            for column in range(columns):
                left, top = column * TILE, row * TILE
                yield Tile(level, column, row, _encode(pixels[top : top + TILE, left : left + TILE], format_))


def _decoded(data: bytes, header: ImageHeader) -> EightBit:
    """By a file, as OpenCV reads one into a place that is given; what it decodes from memory it holds twice."""
    size = (header.height, header.width)
    pixels: Any = np.empty(size if header.channels < 3 else (*size, 3), np.uint8)
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            pixels = cv2.imread(file.name, pixels, _FLAGS)
        except (cv2.error, MemoryError):
            pixels = None
    if pixels is None or pixels.shape[:2] != size:
        raise Invalid(DAMAGED, "The image's pixels do not match its header; take the picture again.")
    return cast(EightBit, pixels)


def _encode(pixels: EightBit, format_: str) -> bytes:
    suffix, options = _AS[format_]
    done, encoded = cv2.imencode(suffix, np.ascontiguousarray(pixels), options)
    if not done:
        raise RuntimeError(f"OpenCV could not write {suffix}")
    return bytes(encoded)

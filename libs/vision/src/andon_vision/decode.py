"""Turns untrusted image bytes into pixels: header first, limits next, decoder last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from andon_vision.errors import DAMAGED, TOO_LARGE, TOO_MANY_PIXELS, ImageRefused
from andon_vision.header import ImageHeader, sniff_image
from andon_vision.opencv import MOST_PIXELS, cv2

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

# Alpha is dropped, depth and grey are kept; the sensor's orientation counts, not the viewer's wish in EXIF.
_FLAGS = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR | cv2.IMREAD_IGNORE_ORIENTATION


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """How much one image may cost: bytes of the file, pixels in all - unless said otherwise, as many as the plant
    accepts - pixels of the longer side."""

    max_bytes: int = 64 * 1024 * 1024
    max_pixels: int = MOST_PIXELS
    max_side: int = 20_000


DEFAULT_LIMITS = DecodeLimits()


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """`pixels` is (H, W) for grey or (H, W, 3) in RGB order, uint8 or uint16; `header` is what the file claimed."""

    pixels: Pixels
    header: ImageHeader


def check_limits(header: ImageHeader, size: int, limits: DecodeLimits = DEFAULT_LIMITS) -> None:
    """Raises `ImageRefused` when a file of `size` bytes with this header may not be decoded."""
    if size > limits.max_bytes:
        raise ImageRefused(TOO_LARGE, f"The file has {size} bytes, at most {limits.max_bytes} are accepted.")
    if header.pixels > limits.max_pixels or max(header.width, header.height) > limits.max_side:
        raise ImageRefused(
            TOO_MANY_PIXELS,
            f"{header.width} x {header.height} pixels are claimed, at most {limits.max_pixels} in all and "
            f"{limits.max_side} on a side are accepted.",
        )


def inspect_image(data: bytes, limits: DecodeLimits = DEFAULT_LIMITS) -> ImageHeader:
    """Header of an image that may be decoded, without decoding it. Raises `ImageRefused`."""
    if len(data) > limits.max_bytes:
        raise ImageRefused(
            TOO_LARGE, f"The file has {len(data)} bytes, at most {limits.max_bytes} are accepted."
        )
    header = sniff_image(data)
    check_limits(header, len(data), limits)
    return header


def decode_image(data: bytes, limits: DecodeLimits = DEFAULT_LIMITS) -> DecodedImage:
    """Pixels of a PNG, JPEG, BMP or TIFF file. Raises `ImageRefused`, and before decoding where that can be told."""
    header = inspect_image(data, limits)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS)
    except (cv2.error, MemoryError) as error:
        raise ImageRefused(DAMAGED, "The decoder gave up on this file; take the picture again.") from error
    if pixels is None or pixels.shape[:2] != (header.height, header.width):
        raise ImageRefused(DAMAGED, "The file's pixels do not match its header; take the picture again.")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageRefused(DAMAGED, f"The file decodes to {pixels.dtype}, which no camera here sends.")
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return DecodedImage(cast(Pixels, pixels), header)

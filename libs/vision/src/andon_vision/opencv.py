"""OpenCV with its own limit set, the second line behind `header`: import `cv2` from here where images are decoded.

OpenCV reads the limit once, while it is loaded. Whoever imports it before this module has its default of a thousand
million pixels.
"""

from __future__ import annotations

import os
from typing import Final

DEFAULT_PIXELS: Final = 50_000_000


def _most_pixels() -> int:
    """What the plant's services accept; their own settings refuse a value that is no number."""
    try:
        return int(os.environ["ANDON_MAX_IMAGE_PIXELS"])
    except (KeyError, ValueError):
        return DEFAULT_PIXELS


MOST_PIXELS: Final = _most_pixels()

# A person who set OpenCV's own variable knows why.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MOST_PIXELS))

import cv2  # noqa: E402


def _silence_decoder() -> None:
    """The decoder would write a line to stderr for every bad file; the caller gets `ImageRefused` instead."""
    if hasattr(cv2, "setLogLevel"):  # OpenCV 4, beside Triton's NumPy 1
        cv2.setLogLevel(0)
    else:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


_silence_decoder()

__all__ = ["DEFAULT_PIXELS", "MOST_PIXELS", "cv2"]

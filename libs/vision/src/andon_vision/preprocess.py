"""From an encoded image to a model's input, exactly as a release bundle describes it.

Training and serving both call `prepare`; nothing else in the product resizes an image for a model. The module leans
only on this package's decoder, NumPy and OpenCV, so the Triton model carries a copy of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from andon_vision.decode import DEFAULT_LIMITS, DecodeLimits, Pixels, decode_image
from andon_vision.opencv import cv2

_INTERPOLATION = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR}


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a model wants its image: size in pixels, RGB, 8 bits. Brightness normalisation is part of the graph."""

    width: int
    height: int
    fit: Literal["stretch", "letterbox"] = "stretch"
    interpolation: Literal["area", "linear"] = "area"

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Preprocessing:
        """Reads the `preprocessing` object of a bundle. Raises `ValueError` for a step this version cannot do."""
        spec = cls(**value)
        if spec.fit not in ("stretch", "letterbox") or spec.interpolation not in _INTERPOLATION:
            raise ValueError(f"unknown preprocessing: {dict(value)}")
        if not (1 <= spec.width <= 4096 and 1 <= spec.height <= 4096):
            raise ValueError(f"a model input of {spec.width} x {spec.height} pixels is not supported")
        return spec

    def to_json(self) -> dict[str, Any]:
        """The `preprocessing` object of a bundle."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Frame:
    """Where an original image of `width` x `height` pixels lies in a model's input.

    `content` is left, top, right, bottom in pixels of the input; outside of it is the letterbox's grey.
    """

    width: int
    height: int
    input_width: int
    input_height: int
    content: tuple[int, int, int, int]

    def to_original(
        self, left: float, top: float, right: float, bottom: float
    ) -> tuple[float, float, float, float]:
        """A rectangle's corners in the input as corners in the original image, cut at its border."""
        x0, y0, x1, y1 = self.content
        across, down = self.width / (x1 - x0), self.height / (y1 - y0)
        return (
            min(max((left - x0) * across, 0.0), self.width),
            min(max((top - y0) * down, 0.0), self.height),
            min(max((right - x0) * across, 0.0), self.width),
            min(max((bottom - y0) * down, 0.0), self.height),
        )

    def cut(self, cells: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The part of a map over the whole input, (..., rows, columns), that shows the image."""
        rows, columns = cells.shape[-2:]
        x0, y0, x1, y1 = self.content
        top, left = y0 * rows // self.input_height, x0 * columns // self.input_width
        bottom = max(top + 1, round(y1 * rows / self.input_height))
        right = max(left + 1, round(x1 * columns / self.input_width))
        return cells[..., top:bottom, left:right]


def frame_of(width: int, height: int, spec: Preprocessing) -> Frame:
    """Where `prepare_pixels` puts an image of this size."""
    if spec.fit == "stretch":
        return Frame(width, height, spec.width, spec.height, (0, 0, spec.width, spec.height))
    scale = min(spec.width / width, spec.height / height)
    inner_width, inner_height = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (spec.width - inner_width) // 2, (spec.height - inner_height) // 2
    content = (left, top, left + inner_width, top + inner_height)
    return Frame(width, height, spec.width, spec.height, content)


def to_eight_bit(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """8 bits a channel; of 16 the upper ones, so that the same scene always gives the same number."""
    return (
        (pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels.astype(np.uint8, copy=False)
    )


def resize(pixels: Pixels, width: int, height: int, interpolation: str = "area") -> Pixels:
    """The image stretched to `width` x `height` pixels; "area" averages when shrinking and is linear when growing."""
    if pixels.shape[:2] == (height, width):
        return pixels
    method = _INTERPOLATION[interpolation]
    if width > pixels.shape[1] and height > pixels.shape[0]:
        method = cv2.INTER_LINEAR
    return cast(Pixels, cv2.resize(pixels, (width, height), interpolation=method))


def _letterbox(pixels: npt.NDArray[np.uint8], spec: Preprocessing) -> npt.NDArray[np.uint8]:
    """Keeps the aspect ratio and fills the rest with mid-grey, centred."""
    left, top, right, bottom = frame_of(pixels.shape[1], pixels.shape[0], spec).content
    small = resize(pixels, right - left, bottom - top, spec.interpolation)
    canvas = np.full((spec.height, spec.width, *pixels.shape[2:]), 127, np.uint8)
    canvas[top:bottom, left:right] = small
    return canvas


def prepare_pixels(pixels: Pixels, spec: Preprocessing) -> npt.NDArray[np.uint8]:
    """A decoded image as (height, width, 3) RGB bytes, ready for the graph."""
    eight = to_eight_bit(pixels)
    if spec.fit == "letterbox":
        sized = _letterbox(eight, spec)
    else:
        sized = to_eight_bit(resize(eight, spec.width, spec.height, spec.interpolation))
    return cast(npt.NDArray[np.uint8], cv2.cvtColor(sized, cv2.COLOR_GRAY2RGB)) if sized.ndim == 2 else sized


def prepare(data: bytes, spec: Preprocessing, limits: DecodeLimits = DEFAULT_LIMITS) -> npt.NDArray[np.uint8]:
    """Decodes and prepares one encoded image. Raises `ImageRefused`."""
    return prepare_pixels(decode_image(data, limits).pixels, spec)

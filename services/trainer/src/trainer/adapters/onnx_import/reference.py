"""The original model, run as its owner would: the truth that a release's graph is held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from onnx import helper

from trainer.adapters.features import open_session
from trainer.adapters.onnx_import.inspection import ImportRefused, Original

Pixels = npt.NDArray[np.uint8]
Outputs = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Numbers:
    """How bytes become what a model was trained on: (byte x `scale` - `mean`) / `std`, channel by channel."""

    scale: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    colour: Literal["rgb", "bgr"] = "rgb"

    def of(self, image: Pixels) -> npt.NDArray[np.float32]:
        """(H, W, 3) bytes in RGB to the model's numbers in its own order of colours."""
        ordered = image[..., ::-1] if self.colour == "bgr" else image
        scaled = ordered.astype(np.float32) * np.float32(self.scale)
        mean, std = np.array([self.mean, self.std], np.float32)
        return np.asarray((scaled - mean) / std, np.float32)


class Reference:
    """The original model in onnxruntime. Raises `ImportRefused` where it does not load or cannot run."""

    def __init__(self, original: Original, numbers: Numbers, *, threads: int = 2) -> None:
        self._picture = original.picture
        self._numbers = numbers
        self._type = helper.tensor_dtype_to_np_dtype(original.picture.type)
        try:
            self._session = open_session(original.whole, threads)
        except Exception as error:  # onnxruntime has no common class for what it raises
            raise ImportRefused(f"onnxruntime cannot load {original.name}: {error}") from error

    def outputs(self, image: Pixels) -> Outputs:
        """Raw outputs by name, for one image (H, W, 3)."""
        planes = self._numbers.of(image)
        if self._picture.channels_first:
            planes = planes.transpose(2, 0, 1)
        batch = planes[None] if self._picture.batched else planes
        names = [item.name for item in self._session.get_outputs()]
        try:
            values = self._session.run(names, {self._picture.name: batch.astype(self._type)})
        except Exception as error:
            height, width = image.shape[:2]
            raise ImportRefused(
                f"the model cannot be run on a picture of {width} x {height} pixels: {error}"
            ) from error
        return dict(zip(names, values, strict=True))


def probes(width: int, height: int, count: int = 3) -> list[Pixels]:
    """Made-up pictures that are the same each time: noise, coarser from one to the next."""
    random = np.random.default_rng(20_240_501)
    found = []
    for number in range(count):
        block = 4**number
        cells = (-(-height // block), -(-width // block), 3)
        noise = random.integers(0, 256, cells, dtype=np.uint8).repeat(block, axis=0).repeat(block, axis=1)
        found.append(np.ascontiguousarray(noise[:height, :width]))
    return found

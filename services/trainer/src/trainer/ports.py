"""What training needs from the world around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from trainer.domain.snapshot import DrawnMask, ImagePlace


class ImageReader(Protocol):
    """Reads the encoded images that a snapshot names."""

    def read(self, place: ImagePlace | DrawnMask) -> bytes:
        """The verified bytes. Raises `OSError` or `ValueError` when they are not there or not what was promised."""


class Extractor(Protocol):
    """Features and perceptual hashes of encoded images."""

    def hashes(self, images: Sequence[bytes]) -> list[int | None]:
        """Perceptual hash of each image; None for one that is refused."""

    def features(self, images: Sequence[bytes], view: str = "as-is") -> npt.NDArray[np.float32]:
        """(images, features)."""

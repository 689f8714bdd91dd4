"""Counts an image's good and defective pixels by level of heat, for the figures of `domain/localisation.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from trainer.domain.localisation import Levels

LEVELS: Final = 512


@dataclass(frozen=True, slots=True)
class HeatCounts:
    """One image: good and defective pixels by level, and the sum of its regions' shares at each level."""

    good: Levels
    bad: Levels
    covered: Levels
    regions: int


def count_heat(heat: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_]) -> HeatCounts:
    """Counts for a heat map of any size, 0 (cold) to 1 (hot), drawn to the size of `mask` (True: defective)."""
    drawn = cv2.resize(heat, mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
    level = (drawn * (LEVELS - 1)).round().clip(0, LEVELS - 1).astype(np.int64)
    number, label = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    by_region = np.bincount((label * LEVELS + level).ravel(), minlength=number * LEVELS).reshape(
        number, LEVELS
    )
    areas = by_region[1:]
    shares = areas / areas.sum(axis=1, keepdims=True)
    return HeatCounts(
        by_region[0].astype(np.float64),
        areas.sum(axis=0).astype(np.float64),
        shares.sum(axis=0).astype(np.float64),
        number - 1,
    )

"""Dice and IoU of masks from counts of pixels (`trainer.adapters.mask_metrics` counts them)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
"""(images, classes, 3): pixels where prediction and truth agree, predicted pixels, true pixels."""


def dice_of(counts: Counts) -> npt.NDArray[np.float64]:
    """Dice by class from all pixels of all images together; nan for a class that nobody drew or predicted."""
    common, predicted, actual = (counts[:, :, kind].sum(axis=0).astype(np.float64) for kind in range(3))
    with np.errstate(invalid="ignore"):
        return np.asarray(2 * common / (predicted + actual))


def iou_of(counts: Counts) -> npt.NDArray[np.float64]:
    """Intersection over union by class, counted as in `dice_of`."""
    dice = dice_of(counts)
    return np.asarray(dice / (2 - dice))


def dice_of_shown(counts: Counts) -> npt.NDArray[np.float64]:
    """As `dice_of`, but of each class only over the images that show it: false alarms elsewhere do not count."""
    return dice_of(np.where(counts[:, :, 2:] > 0, counts, 0))


def dice_of_images(counts: Counts) -> npt.NDArray[np.float64]:
    """By class the mean of each image's own Dice, over the images that show the class; small defects count as much."""
    common, predicted, actual = (counts[:, :, kind].astype(np.float64) for kind in range(3))
    with np.errstate(invalid="ignore"):
        dice = np.where(actual > 0, 2 * common / (predicted + actual), 0.0)
        return np.asarray(dice.sum(axis=0) / (actual > 0).sum(axis=0))


def mean_of_classes(figures: npt.NDArray[np.float64]) -> float:
    """The mean over the classes that have a figure; nan where none has."""
    known = figures[~np.isnan(figures)]
    return float(known.mean()) if len(known) else float("nan")

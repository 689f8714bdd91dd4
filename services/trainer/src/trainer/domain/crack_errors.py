"""How far the measurements of a predicted crack are from those of the annotated one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

COLUMNS: Final = ("found", "length", "relative_length", "width", "centre", "angle")
"""Of an annotated crack: 1 where one was predicted on it, else 0; errors in pixels, as a share, and in degrees."""
_STRAIGHT: Final = 180.0


@dataclass(frozen=True, slots=True)
class Crack:
    """Lengths in pixels, the centre as x and y, the angle to the x axis in degrees."""

    length: float
    width: float
    centre: tuple[float, float]
    angle: float


def errors(predicted: Crack | None, actual: Crack) -> npt.NDArray[np.float64]:
    """One value for each of `COLUMNS`; nan for the errors of a crack that was not found."""
    if predicted is None:
        return np.array([0.0] + [np.nan] * (len(COLUMNS) - 1))
    turned = abs(predicted.angle - actual.angle) % _STRAIGHT
    length = abs(predicted.length - actual.length)
    return np.array(
        [
            1.0,
            length,
            length / actual.length,
            abs(predicted.width - actual.width),
            float(np.hypot(*np.subtract(predicted.centre, actual.centre))),
            min(turned, _STRAIGHT - turned),
        ]
    )


def crack_figures(rows: npt.NDArray[np.float64]) -> Mapping[str, float]:
    """Share of cracks found and median errors of those; `rows` (images, columns) are nan where no crack is shown."""
    shown = rows[~np.isnan(rows[:, 0])]
    found = shown[shown[:, 0] > 0]
    middle = np.median(found, axis=0) if len(found) else np.full(len(COLUMNS), np.nan)
    values = dict(zip(COLUMNS, middle.tolist(), strict=True))
    return {
        "cracks_found": float(shown[:, 0].mean()) if len(shown) else float("nan"),
        "crack_length_error_px": values["length"],
        "crack_length_error_share": values["relative_length"],
        "crack_width_error_px": values["width"],
        "crack_centre_error_px": values["centre"],
        "crack_angle_error_deg": values["angle"],
    }

"""What a model's numbers mean: class, band and the region the model points at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

HeatMap = npt.NDArray[np.uint8]

# A cell belongs to a region from half of the brightest cell on; below this brightness there is nothing to point at.
FAINTEST = 48


class Rules(Protocol):
    """What a release says about its own numbers."""

    def band(self, defect_score: float) -> str:
        """`pass`, `uncertain` or `defect`."""

    def named(
        self, defect_score: float, class_probabilities: Sequence[float]
    ) -> tuple[str, dict[str, float]]:
        """The class that the model calls the part, and the probability of each."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A model's answer for one image; `refused` names why there is none. `model_ms` is the time of its whole batch."""

    defect_score: float
    class_probabilities: tuple[float, ...]
    heat_map: HeatMap | None
    model_ms: float
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The same in the words of the event."""

    predicted_class: str
    defect_score: float
    scores: dict[str, float]
    band: str


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the original image."""

    x: float
    y: float
    width: float
    height: float


def judge(rules: Rules, scored: Scored) -> Verdict:
    """Class and band by the release's own thresholds."""
    predicted, scores = rules.named(scored.defect_score, scored.class_probabilities)
    return Verdict(predicted, scored.defect_score, scores, rules.band(scored.defect_score))


def hottest_region(heat: HeatMap, width: int, height: int) -> Box | None:
    """The connected cells around the brightest one, as a box in an image of `width` x `height` pixels."""
    row, column = (int(index) for index in np.unravel_index(int(heat.argmax()), heat.shape))
    peak = int(heat[row, column])
    if peak < FAINTEST:
        return None
    bright = heat >= peak // 2
    top, left, bottom, right = _extent(bright, row, column)
    rows, columns = heat.shape
    scale_x, scale_y = width / columns, height / rows
    return Box(left * scale_x, top * scale_y, (right - left + 1) * scale_x, (bottom - top + 1) * scale_y)


def _extent(bright: npt.NDArray[np.bool_], row: int, column: int) -> tuple[int, int, int, int]:
    """First row, first column, last row, last column of the bright cells connected to one cell."""
    rows, columns = bright.shape
    seen = {(row, column)}
    waiting = [(row, column)]
    while waiting:
        at_row, at_column = waiting.pop()
        for near in _neighbours(at_row, at_column):
            inside = 0 <= near[0] < rows and 0 <= near[1] < columns
            if inside and near not in seen and bright[near]:
                seen.add(near)
                waiting.append(near)
    reached = np.array(sorted(seen))
    (top, left), (bottom, right) = reached.min(axis=0), reached.max(axis=0)
    return int(top), int(left), int(bottom), int(right)


def _neighbours(row: int, column: int) -> Sequence[tuple[int, int]]:
    return ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1))


def refused(reason: str) -> Scored:
    """An image for which there is no answer."""
    return Scored(0.0, (), None, 0.0, reason)

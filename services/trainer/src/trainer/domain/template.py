"""Template comparison: which labelled defect a difference belongs to, and how well found boxes match labelled ones.

Boxes are x1, y1, x2, y2 in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from trainer.domain.detection import hits, overlaps

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]

NO_DEFECT: Final = 0
UNCLEAR: Final = -1
CUTS: Final = np.linspace(0.05, 0.95, 19)


@dataclass(frozen=True, slots=True)
class Lessons:
    """What is taught of differences.

    Attributes:
        kinds: `NO_DEFECT`, one more than the number of a class, or `UNCLEAR` where nothing should be learned, (M,).
        boxes: The labelled box of each defect; zeros elsewhere, (M, 4).
    """

    kinds: npt.NDArray[np.int32]
    boxes: npt.NDArray[np.float32]


def lessons(differences: Floats, labelled: Floats, classes: Ints) -> Lessons:
    """A difference belongs to the labelled box that its centre lies in, to the nearest if there are several.

    One that only touches a box is unclear: it may be a part of the defect or an edge beside it.
    """
    kinds = np.zeros(len(differences), np.int32)
    boxes = np.zeros((len(differences), 4), np.float32)
    if not len(labelled) or not len(differences):
        return Lessons(kinds, boxes)
    middle = (differences[:, :2] + differences[:, 2:]) / 2
    centre = (labelled[:, :2] + labelled[:, 2:]) / 2
    within = (middle[:, None] >= labelled[:, :2]) & (middle[:, None] <= labelled[:, 2:])
    inside = within[..., 0] & within[..., 1]
    away = np.where(inside, ((middle[:, None] - centre) ** 2).sum(axis=2), np.inf)
    nearest, belongs = away.argmin(axis=1), inside.any(axis=1)
    touching = overlaps(differences, labelled).max(axis=1) > 0
    kinds[touching] = UNCLEAR
    kinds[belongs] = classes[nearest[belongs]] + 1
    boxes[belongs] = labelled[nearest[belongs]]
    return Lessons(kinds, boxes)


@dataclass(frozen=True, slots=True)
class Matches:
    """Found boxes of many images against labelled ones.

    Attributes:
        scores: Of each found box.
        hits: Whether a labelled box of its class, not taken by a surer one, overlaps it enough.
        labelled: How many boxes there were to find.
    """

    scores: npt.NDArray[np.float64]
    hits: npt.NDArray[np.bool_]
    labelled: int

    def f1(self, cut: float) -> float:
        """Of the boxes with scores from `cut` on; nan without any labelled box."""
        kept = self.scores >= cut
        return (
            float(2 * self.hits[kept].sum() / (kept.sum() + self.labelled)) if self.labelled else float("nan")
        )

    def best_cut(self) -> float:
        """The score from which F1 is best; the middle one of equal ones."""
        values = np.array([self.f1(cut) for cut in CUTS])
        best = np.flatnonzero(values >= np.nanmax(values) - 1e-12)
        return float(CUTS[best[len(best) // 2]])


def matched(labelled: Sequence[Floats], found: Sequence[Floats], iou: float) -> Matches:
    """Of each image's rows x1, y1, x2, y2, score, class; found ones by falling score."""
    own = [hits(_plain(rows), _plain(wanted), iou) for wanted, rows in zip(labelled, found, strict=True)]
    scores = np.concatenate([np.zeros(0), *(rows[:, 4] for rows in found)])
    return Matches(scores, np.concatenate([np.zeros(0, bool), *own]), sum(len(rows) for rows in labelled))


def _plain(rows: Floats) -> Floats:
    """Without the score."""
    return rows[:, [0, 1, 2, 3, 5]]

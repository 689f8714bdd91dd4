"""The trained part of a release: linear weights on frozen features, with their calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from trainer.domain.calibration import Platt

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Linear:
    """scores = features @ weights.T + bias; `weights` is (columns, features)."""

    weights: Matrix
    bias: Matrix

    def __call__(self, features: Matrix) -> npt.NDArray[np.float64]:
        return np.asarray(features @ self.weights.T + self.bias, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class ClassHead:
    """Which defect it is, given that it is one.

    "softmax" where an image shows one class (`calibration` is then one temperature, as a slope), "sigmoid" where it
    may show several (one Platt fit for each class).
    """

    linear: Linear
    mode: Literal["softmax", "sigmoid"]
    calibration: tuple[Platt, ...]

    def __call__(self, features: Matrix) -> npt.NDArray[np.float64]:
        """Probability of each class given a defect, (rows, classes)."""
        return self.probabilities(self.linear(features))

    def probabilities(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The same from raw scores."""
        if self.mode == "softmax":
            return softmax(scores * self.calibration[0].slope)
        return np.column_stack([platt(scores[:, index]) for index, platt in enumerate(self.calibration)])


@dataclass(frozen=True, slots=True)
class Head:
    """`defect` with `calibration` gives the probability of any defect; both None where training had no good part.

    `classes_head` is None where there is only one defect class.
    """

    classes: tuple[str, ...]
    defect: Linear | None
    calibration: Platt | None
    classes_head: ClassHead | None

    def defect_probability(self, features: Matrix) -> npt.NDArray[np.float64]:
        """Calibrated probability of a defect for each row; 1 where the training data know nothing else."""
        if self.defect is None or self.calibration is None:
            return np.ones(len(features))
        return self.calibration(self.defect(features)[:, 0])

    def class_probabilities(self, features: Matrix) -> npt.NDArray[np.float64]:
        """Probability of each defect class for each row, (rows, classes)."""
        defect = self.defect_probability(features)[:, None]
        return defect if self.classes_head is None else defect * self.classes_head(features)


def softmax(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Row-wise softmax."""
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def fit_temperature(scores: npt.NDArray[np.float64], truth: npt.NDArray[np.int_]) -> Platt:
    """The slope that makes softmax probabilities most likely, by a fine search over two decades."""
    slopes = np.geomspace(0.1, 10.0, 161)
    rows = np.arange(len(truth))
    losses = [-np.log(softmax(scores * slope)[rows, truth] + 1e-12).mean() for slope in slopes]
    return Platt(float(slopes[int(np.argmin(losses))]), 0.0)

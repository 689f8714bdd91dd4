"""The trained part of a release: linear weights or a kernel machine on frozen features, with their calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from trainer.domain.calibration import Platt

Matrix = npt.NDArray[np.float32]
LIMIT: Final = 5.0
"""Spreads beyond which a feature says no more."""


@dataclass(frozen=True, slots=True)
class Linear:
    """scores = features @ weights.T + bias; `weights` is (columns, features), and features behind those say nothing."""

    weights: Matrix
    bias: Matrix

    def __call__(self, features: Matrix) -> npt.NDArray[np.float64]:
        known = features[:, : self.weights.shape[1]]
        return np.asarray(known @ self.weights.T + self.bias, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Kernel:
    """A machine with a Gaussian kernel: scores = exp(-width * d) @ weights + bias.

    d is the mean squared difference to each of `support` (vectors, features) in standardised features: (features -
    mean) * scale, clipped to +-`LIMIT`. `weights` is (1, vectors), `bias` (1).
    """

    mean: Matrix
    scale: Matrix
    support: Matrix
    width: float
    weights: Matrix
    bias: Matrix

    def __call__(self, features: Matrix) -> npt.NDArray[np.float64]:
        """(rows, 1)"""
        asked = standardised(features, self.mean, self.scale)
        near = np.exp(-self.width * mean_squared_differences(asked, self.support))
        return np.asarray(near @ self.weights.T + self.bias, dtype=np.float64)


def standardised(features: Matrix, mean: Matrix, scale: Matrix) -> Matrix:
    """A maximum behind a ReLU6 is often 0 or 6 nearly everywhere: unclipped, the one image where it is not would be
    far from all."""
    return np.asarray(np.clip((features - mean) * scale, -LIMIT, LIMIT), np.float32)


def mean_squared_differences(left: Matrix, right: Matrix) -> Matrix:
    """(rows of left, rows of right)"""
    squared = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2 * left @ right.T
    return np.asarray(np.maximum(squared, 0) / np.float32(left.shape[1]), np.float32)


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
    defect: Linear | Kernel | None
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

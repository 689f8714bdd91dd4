"""Fits a machine with a Gaussian kernel on rich features (see `maxima.py`), by scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.svm import SVC

from trainer.adapters.fitting import FOLDS, TrainingSet
from trainer.domain.calibration import Bools, Floats, Platt, fit_platt
from trainer.domain.head import Kernel, Matrix, mean_squared_differences, standardised
from trainer.domain.metrics import auroc
from trainer.domain.split import folds

STRENGTH = 10.0
WIDTHS = (0.5, 1.0, 2.0)
_EVEN = 1e-4  # a feature that varies less than this says nothing


@dataclass(frozen=True, slots=True)
class FittedKernel:
    """The machine, how its scores become probabilities, and those of its training rows, out of fold."""

    kernel: Kernel
    calibration: Platt
    probabilities: Floats


def fit_kernel(data: TrainingSet) -> FittedKernel:
    """Defect or not, from the images as they are: other views would double the vectors that a release carries.

    The kernel's width is chosen, and the calibration fitted, by grouped folds. The rows must show both kinds.
    """
    features, labels = data.views[0], data.is_defect
    fold = np.array(folds(data.groups, FOLDS, labels.astype(int).tolist()))
    scores = {width: np.zeros(len(labels)) for width in WIDTHS}
    for number in sorted(set(fold.tolist())):
        held = fold == number
        for width, found in _machines(features[~held], labels[~held], data.weights[~held], WIDTHS).items():
            scores[width][held] = found(features[held])[:, 0]
    best = max(WIDTHS, key=lambda width: auroc(scores[width], labels))
    platt = fit_platt(scores[best], labels, data.weights)
    kernel = _machines(features, labels, data.weights, (best,))[best]
    return FittedKernel(kernel, platt, platt(scores[best]))


def _machines(
    features: Matrix, labels: Bools, weights: npt.NDArray[np.float64], widths: tuple[float, ...]
) -> dict[float, Kernel]:
    """One for each width; they share what takes longest, the distances."""
    mean, spread = features.mean(axis=0), features.std(axis=0)
    scale = np.where(spread > _EVEN, 1 / np.maximum(spread, _EVEN), 0).astype(np.float32)
    # Releases keep vectors in 16 bits.
    rows = standardised(features, mean, scale).astype(np.float16).astype(np.float32)
    apart = mean_squared_differences(rows, rows)
    found = {}
    for width in widths:
        machine = SVC(C=STRENGTH, kernel="precomputed")
        machine.fit(np.exp(-width * apart), labels, sample_weight=weights)
        found[width] = Kernel(
            mean,
            scale,
            rows[machine.support_],
            width,
            machine.dual_coef_.astype(np.float32),
            machine.intercept_.astype(np.float32),
        )
    return found

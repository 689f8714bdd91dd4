"""A support vector machine with a Gaussian kernel on features of several backbones, by scikit-learn.

It ranks better than a linear head, but has no exact heat map: its score is not a mean over positions. One would be
drawn from the score's gradient at the image, that is, from the linear head that the machine is near that image. Means
and spreads then share out over positions as in a release; a maximum's share goes to the position where it was found.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.svm import SVC

from trainer.domain.calibration import Platt, fit_platt
from trainer.domain.metrics import auroc
from trainer.domain.split import folds

STRENGTH = 10.0
WIDTHS = (0.1, 0.3, 1.0)
FOLDS = 5
LIMIT = 5.0

Floats = npt.NDArray[np.float64]


def mean_squared_distances(
    blocks: Sequence[npt.NDArray[np.float32]], learned: int
) -> npt.NDArray[np.float32]:
    """(rows, rows), each block (rows x features) counting alike, features standardised by the first `learned` rows.

    The scale of later rows is not looked at: they are those to be asked about.
    """
    total = np.zeros((len(blocks[0]), len(blocks[0])), np.float32)
    for block in blocks:
        standard = _standardised(block, learned)
        product = standard @ standard.T / np.float32(block.shape[1])
        own = np.diag(product)
        total += np.maximum(own[:, None] + own[None, :] - 2 * product, 0) / len(blocks)
    return total


def _standardised(block: npt.NDArray[np.float32], learned: int) -> npt.NDArray[np.float32]:
    """Mean 0 and spread 1 over the first rows, within +-`LIMIT`; a feature that is constant there says nothing.

    A maximum behind a ReLU6 is often 0 or 6 nearly everywhere: the one image where it is not would be far from all.
    """
    mean, spread = block[:learned].mean(axis=0), block[:learned].std(axis=0)
    scale = np.where(spread > 1e-4, spread, np.inf)
    return np.asarray(np.clip((block - mean) / scale, -LIMIT, LIMIT), np.float32)


def fit_and_score(
    distances: npt.NDArray[np.float32],
    is_defect: npt.NDArray[np.bool_],
    weights: Floats,
    groups: Sequence[int],
) -> tuple[Floats, Platt]:
    """Raw scores of the rows after the first `len(is_defect)`, and the calibration of such scores.

    The kernel's width is chosen, and the calibration fitted, by grouped folds inside the learned rows.
    """
    learned = len(is_defect)
    fold = np.array(folds(groups, FOLDS, is_defect.astype(int).tolist()))
    inner = distances[:learned, :learned]

    def crossed(width: float) -> Floats:
        kernel = np.exp(-width * inner)
        scores = np.zeros(learned)
        for number in range(FOLDS):
            train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
            scores[test] = _scores(kernel, train, test, is_defect, weights)
        return scores

    tried = {width: crossed(width) for width in WIDTHS}
    width = max(tried, key=lambda choice: auroc(tried[choice], is_defect))
    kernel = np.exp(-width * distances)
    train, test = np.arange(learned), np.arange(learned, len(distances))
    raw = _scores(kernel, train, test, is_defect, weights)
    return raw, fit_platt(tried[width], is_defect, weights)


def _scores(
    kernel: npt.NDArray[np.float32],
    train: npt.NDArray[np.int_],
    test: npt.NDArray[np.int_],
    is_defect: npt.NDArray[np.bool_],
    weights: Floats,
) -> Floats:
    machine = SVC(C=STRENGTH, kernel="precomputed")
    machine.fit(kernel[np.ix_(train, train)], is_defect[train], sample_weight=weights[train])
    return np.asarray(machine.decision_function(kernel[np.ix_(test, train)]), np.float64)

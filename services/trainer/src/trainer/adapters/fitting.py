"""Fits linear heads with scikit-learn and chooses how strongly to regularise them by grouped cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from trainer.domain.calibration import Platt, fit_platt
from trainer.domain.head import ClassHead, Head, Linear, fit_temperature
from trainer.domain.metrics import auroc
from trainer.domain.snapshot import SnapshotError
from trainer.domain.split import folds

STRENGTHS = (1e-3, 3e-3, 1e-2)
FOLDS = 5
FEW_FOLDS = 3  # enough to rank a handful of strengths
_ITERATIONS = 300

Labels = npt.NDArray[np.int_]
Weights = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Features of each view of each row (views x rows x features), with what is known of the rows.

    View 0 is the image as it is, the others are mirrored; only view 0 is ever scored.
    """

    views: npt.NDArray[np.float32]
    is_defect: npt.NDArray[np.bool_]
    classes: tuple[tuple[str, ...], ...]
    weights: Weights
    groups: Sequence[int]

    def rows(self, keep: npt.NDArray[np.bool_]) -> TrainingSet:
        """The rows for which `keep` is true."""
        index = np.flatnonzero(keep)
        return TrainingSet(
            self.views[:, index],
            self.is_defect[index],
            tuple(self.classes[i] for i in index),
            self.weights[index],
            [self.groups[int(i)] for i in index],
        )


def _fit_linear(views: npt.NDArray[np.float32], labels: Labels, weights: Weights, strength: float) -> Linear:
    """Class-weighted logistic regression on standardised features, with the standardising folded into its weights."""
    stacked = views.reshape(-1, views.shape[-1])
    mean, scale = stacked.mean(axis=0), stacked.std(axis=0) + 1e-6
    model = LogisticRegression(C=strength, max_iter=_ITERATIONS, class_weight="balanced")
    model.fit(
        (stacked - mean) / scale, np.tile(labels, len(views)), sample_weight=np.tile(weights, len(views))
    )
    folded = (model.coef_ / scale).astype(np.float32)
    return Linear(folded, (model.intercept_ - folded @ mean).astype(np.float32))


def _out_of_fold(
    views: npt.NDArray[np.float32],
    labels: Labels,
    weights: Weights,
    groups: Sequence[int],
    strength: float,
    names: Sequence[str],
    count: int = FOLDS,
) -> npt.NDArray[np.float64]:
    """Raw scores of each row by a head that has not seen the row's group; `names` are those of the labels.

    Raises `SnapshotError` when a label has too few independent groups.
    """
    known = set(labels.tolist())
    fold = np.array(folds(groups, count, labels.tolist()))
    scores = np.zeros((len(labels), 1 if len(known) == 2 else len(known)))
    for number in range(count):
        held = fold == number
        if not held.any():
            continue
        unseen = known - set(labels[~held].tolist())
        if unseen:
            raise SnapshotError(
                f"too few independent parts show {' and '.join(names[label] for label in sorted(unseen))} to train on "
                "some and check with others; add images of other parts"
            )
        scores[held] = _fit_linear(views[:, ~held], labels[~held], weights[~held], strength)(views[0, held])
    return scores


def _best_strength(data: TrainingSet, labels: Labels, names: Sequence[str]) -> float:
    """The regularisation with the best out-of-fold ranking, on unmirrored images to save time."""

    def quality(strength: float) -> float:
        scores = _out_of_fold(data.views[:1], labels, data.weights, data.groups, strength, names, FEW_FOLDS)
        if scores.shape[1] == 1:
            return auroc(scores[:, 0], labels == 1)
        return float((scores.argmax(axis=1) == labels).mean())

    return max(STRENGTHS, key=quality)


def fit_head(data: TrainingSet, classes: tuple[str, ...]) -> tuple[Head, npt.NDArray[np.float64] | None]:
    """A head for `classes`, and the calibrated out-of-fold defect probabilities of the rows (None without good parts).

    Calibration uses out-of-fold scores, so validation rows stay untouched until the metrics. Rows of other classes are
    defects like all others, but say nothing about which class it is. Raises `SnapshotError`.
    """
    defect, calibration, probabilities = None, None, None
    if not data.is_defect.all() and data.is_defect.any():
        labels = data.is_defect.astype(np.int_)
        names = ("no defect", "a defect")
        strength = _best_strength(data, labels, names)
        scores = _out_of_fold(data.views, labels, data.weights, data.groups, strength, names)[:, 0]
        calibration = fit_platt(scores, data.is_defect, data.weights)
        probabilities = calibration(scores)
        defect = _fit_linear(data.views, labels, data.weights, strength)
    return Head(classes, defect, calibration, fit_class_head(data, classes)), probabilities


def fit_class_head(data: TrainingSet, classes: tuple[str, ...]) -> ClassHead | None:
    """Which of several classes it is; None where there is one. Raises `SnapshotError`."""
    return _fit_classes(_showing(data, classes), classes) if len(classes) > 1 else None


def _showing(data: TrainingSet, classes: tuple[str, ...]) -> TrainingSet:
    """The rows that show one of these classes, without the names of others."""
    names = tuple(tuple(name for name in row if name in classes) for row in data.classes)
    return replace(data, classes=names).rows(np.array([bool(row) for row in names]))


def _fit_classes(data: TrainingSet, classes: tuple[str, ...]) -> ClassHead:
    if all(len(names) == 1 for names in data.classes):
        return _fit_softmax(data, classes)
    return _fit_sigmoids(data, classes)


def _fit_softmax(data: TrainingSet, classes: tuple[str, ...]) -> ClassHead:
    labels = np.array([classes.index(names[0]) for names in data.classes])
    strength = _best_strength(data, labels, classes)
    scores = _two_columns(_out_of_fold(data.views, labels, data.weights, data.groups, strength, classes))
    linear = _fit_linear(data.views, labels, data.weights, strength)
    if len(linear.weights) == 1:
        # scikit-learn keeps one column for two classes; softmax over (-s/2, s/2) is the same probability.
        half = np.float32(0.5)
        both = np.vstack([-linear.weights, linear.weights]) * half
        linear = Linear(both, np.concatenate([-linear.bias, linear.bias]) * half)
    return ClassHead(linear, "softmax", (fit_temperature(scores, labels),))


def _two_columns(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.hstack([-scores, scores]) / 2 if scores.shape[1] == 1 else scores


def _fit_sigmoids(data: TrainingSet, classes: tuple[str, ...]) -> ClassHead:
    columns, calibrations = [], []
    for name in classes:
        labels = np.array([int(name in names) for names in data.classes])
        if len({group for group, shows in zip(data.groups, labels, strict=True) if not shows}) < 2:
            # A class that (nearly) every defective part shows has nothing to be told apart from.
            columns.append(
                Linear(np.zeros((1, data.views.shape[-1]), np.float32), np.full(1, 10.0, np.float32))
            )
            calibrations.append(Platt(1.0, 0.0))
            continue
        strength = STRENGTHS[1]
        told = (f"defects other than {name}", name)
        scores = _out_of_fold(data.views[:1], labels, data.weights, data.groups, strength, told)[:, 0]
        columns.append(_fit_linear(data.views, labels, data.weights, strength))
        calibrations.append(fit_platt(scores, labels == 1))
    linear = Linear(np.vstack([c.weights for c in columns]), np.concatenate([c.bias for c in columns]))
    return ClassHead(linear, "sigmoid", tuple(calibrations))

"""Figures of classification by scikit-learn; `tests/test_evaluation.py` holds them against a second computation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    precision_recall_curve,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from trainer.domain.calibration import Bools, Floats, expected_calibration_error

Curve = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


def binary_figures(probabilities: Floats, positive: Bools) -> dict[str, float]:
    """Defect or not: ranking, the plain decision at one half, and how honest the probabilities are.

    `false_reject_rate` and `false_escape_rate` are those of the plain decision. nan where a figure needs both classes.
    """
    called = probabilities >= 0.5
    both = bool(positive.any() and not positive.all())
    return {
        "auroc": float(roc_auc_score(positive, probabilities)) if both else float("nan"),
        "auprc": float(average_precision_score(positive, probabilities)) if both else float("nan"),
        "accuracy": float(accuracy_score(positive, called)),
        "false_reject_rate": float(called[~positive].mean()) if not positive.all() else float("nan"),
        "false_escape_rate": float((~called)[positive].mean()) if positive.any() else float("nan"),
        "brier": float(brier_score_loss(positive, probabilities)),
        "calibration_error": expected_calibration_error(probabilities, positive),
    }


def class_scores(actual: npt.NDArray[np.str_], predicted: npt.NDArray[np.str_]) -> dict[str, float]:
    """Which class it is: share of right answers, and the same with each class counting alike."""
    recalls = recall_score(actual, predicted, labels=np.unique(actual), average=None, zero_division=0)
    return {
        "class_accuracy": float(accuracy_score(actual, predicted)),
        "class_accuracy_balanced": float(np.mean(recalls)),
    }


def roc(probabilities: Floats, positive: Bools) -> Curve:
    """False positive rates and true positive rates."""
    false, true, _ = roc_curve(positive, probabilities)
    return false, true


def precision_recall(probabilities: Floats, positive: Bools) -> Curve:
    """Recalls and precisions."""
    precision, recall, _ = precision_recall_curve(positive, probabilities)
    return recall, precision

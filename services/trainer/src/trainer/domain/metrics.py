"""What a release is worth: figures with intervals, in the words a quality owner uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from trainer.domain.calibration import Bools, Floats, expected_calibration_error
from trainer.domain.thresholds import Thresholds

STANDARD_ERRORS: Final = 3.92
"""In a 95 % interval from end to end."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A value with the limits of its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        return {"value": round(self.value, 6), "low": round(self.low, 6), "high": round(self.high, 6)}


def auroc(scores: Floats, positive: Bools) -> float:
    """Area under the ROC curve; nan when one of the two classes is absent."""
    many, few = int(positive.sum()), int((~positive).sum())
    if not many or not few:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    # Ties share the mean of their ranks.
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[positive].sum() - many * (many + 1) / 2) / (many * few))


def ratio(part: Bools, whole: Bools) -> float:
    """The share of `whole` that is `part` as well; nan where there is no whole."""
    total = int(whole.sum())
    return float((part & whole).sum() / total) if total else float("nan")


def decision_figures(probabilities: Floats, positive: Bools, limits: Thresholds) -> dict[str, float]:
    """Rates of one set of rows.

    `accuracy`, `precision` and `recall` are those of a plain decision at probability 0.5. `false_reject_rate` is the
    share of good parts that the model rejects on its own, `false_escape_rate` the share of defective parts that it
    passes on its own, `review_share` the share of all parts that people see.
    """
    called = probabilities >= 0.5
    passed, rejected = probabilities < limits.pass_below, probabilities >= limits.reject_from
    return {
        "auroc": auroc(probabilities, positive),
        "accuracy": float((called == positive).mean()),
        "precision": ratio(positive, called),
        "recall": ratio(called, positive),
        "false_reject_rate": ratio(rejected, ~positive),
        "false_escape_rate": ratio(passed, positive),
        "review_share": float((~passed & ~rejected).mean()),
        "calibration_error": expected_calibration_error(probabilities, positive),
    }


def bootstrap(
    figures: Callable[[npt.NDArray[np.int_]], dict[str, float]], groups: Sequence[int], rounds: int = 200
) -> dict[str, Figure]:
    """Each figure with its interval; whole groups are drawn, because images of one part are not independent."""
    members = [np.flatnonzero(np.asarray(groups) == group) for group in np.unique(groups)]
    point = figures(np.arange(len(groups)))
    random = np.random.default_rng(20_240_501)
    drawn: dict[str, list[float]] = {name: [] for name in point}
    for _ in range(rounds):
        rows = np.concatenate([members[index] for index in random.integers(0, len(members), len(members))])
        for name, value in figures(rows).items():
            drawn[name].append(value)
    return {name: _figure(value, drawn[name]) for name, value in point.items()}


def _figure(value: float, drawn: Sequence[float]) -> Figure:
    usable = [item for item in drawn if not np.isnan(item)]
    if np.isnan(value) or not usable:
        return Figure(float("nan"), float("nan"), float("nan"))
    low, high = np.quantile(usable, [0.025, 0.975])
    return Figure(value, float(low), float(high))


def confusion(actual: Sequence[str], predicted: Sequence[str]) -> dict[str, dict[str, int]]:
    """How often each class was called what."""
    table: dict[str, dict[str, int]] = {}
    for truth, guess in zip(actual, predicted, strict=True):
        row = table.setdefault(truth, {})
        row[guess] = row.get(guess, 0) + 1
    return table


def ranking_gain(new: Floats, old: Floats, positive: Bools, groups: Sequence[int]) -> Figure:
    """By how much the AUROC of new scores is above that of old ones of the same images, groups drawn as a whole."""

    def gain(index: npt.NDArray[np.int_]) -> dict[str, float]:
        truth = positive[index]
        return {"gain": auroc(new[index], truth) - auroc(old[index], truth)}

    return bootstrap(gain, groups)["gain"]


def beyond_chance(gain: Figure) -> bool:
    """Whether a gain is more than one standard error: of many candidates, the best one is lucky."""
    return gain.value > (gain.high - gain.low) / STANDARD_ERRORS

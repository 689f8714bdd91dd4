"""Figures about the model and the line, computed from the stream against the experts' labels. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from andon_demo.scenario import Play

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Judged:
    """One recorded capture with the truth beside it.

    Attributes:
        doubt: The experts' probability of a defect.
        score: The model's, when it scored.
        first, final: Kind of the first and of the last disposition.
        by_person: A person decided in the end.
        when_s: Seconds from the first trigger of the stream.
    """

    capture_id: str
    station: str
    part: str
    label: str
    doubt: float
    play: Play | None
    score: float | None
    predicted: str | None
    first: str | None
    final: str | None
    by_person: bool
    latency_ms: float | None
    when_s: float
    brightness: float | None
    verdict: str | None

    @property
    def is_defect(self) -> bool:
        return self.doubt >= 0.5

    @property
    def as_the_camera_saw_it(self) -> bool:
        """Nothing was played into the image itself, and it is no repeat."""
        return self.play in (None, Play.NEW_VARIANT)


@dataclass(frozen=True, slots=True)
class Model:
    """How the model did on the stream; None where the stream cannot tell (only good, or only defective
    parts).
    """

    auroc: float | None
    auroc_low: float | None
    auroc_high: float | None
    precision: float | None
    recall: float | None
    accuracy: float | None
    false_reject_rate: float | None
    false_escape_rate: float | None
    samples: int
    good: int
    defective: int


def model_figures(judged: Sequence[Judged]) -> Model:
    """Figures over the images as the camera saw them.

    AUROC, precision and recall rate the score alone (positive from 0.5 on). The two error rates rate what the
    system did without a person: good parts it rejected, of all good ones; defective parts it passed, of all
    defective ones.
    """
    seen = [j for j in judged if j.as_the_camera_saw_it and j.score is not None]
    scores = np.array([j.score for j in seen], dtype=float)
    truth = np.array([j.is_defect for j in seen], dtype=bool)
    positive = scores >= 0.5
    low, high = bootstrap_auroc(scores, truth)
    named = [j for j in seen if j.predicted is not None]
    good = [j for j in seen if not j.is_defect]
    defective = [j for j in seen if j.is_defect]
    return Model(
        auroc=auroc(scores, truth),
        auroc_low=low,
        auroc_high=high,
        precision=_share(truth[positive]),
        recall=_share(positive[truth]),
        accuracy=_share(np.array([j.predicted == j.label for j in named], dtype=bool)),
        false_reject_rate=_share(np.array([j.first in ("reject", "rework") for j in good], dtype=bool)),
        false_escape_rate=_share(np.array([j.first == "pass" for j in defective], dtype=bool)),
        samples=len(seen),
        good=len(good),
        defective=len(defective),
    )


def auroc(scores: Numbers, truth: npt.NDArray[np.bool_]) -> float | None:
    """Probability that a defective part scores above a good one (ties count half); None with one kind
    only.
    """
    positives, negatives = scores[truth], scores[~truth]
    if not len(positives) or not len(negatives):
        return None
    ordered = np.sort(negatives)
    below = np.searchsorted(ordered, positives, side="left")
    upto = np.searchsorted(ordered, positives, side="right")
    return float((below + upto).sum() / 2 / len(positives) / len(negatives))


def bootstrap_auroc(
    scores: Numbers, truth: npt.NDArray[np.bool_], rounds: int = 400
) -> tuple[float, float] | tuple[None, None]:
    """A 95 % interval, by resampling the stream."""
    if auroc(scores, truth) is None:
        return None, None
    rng = np.random.default_rng(0)
    values = []
    for _ in range(rounds):
        drawn = rng.integers(0, len(scores), len(scores))
        value = auroc(scores[drawn], truth[drawn])
        if value is not None:
            values.append(value)
    if not values:
        return None, None
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def roc_curve(scores: Numbers, truth: npt.NDArray[np.bool_]) -> tuple[Numbers, Numbers]:
    """False-positive and true-positive share at each threshold, from the strictest to the laxest."""
    order = np.argsort(-scores, kind="stable")
    ranked, ordered = truth[order], scores[order]
    last_of_tie = np.r_[ordered[1:] != ordered[:-1], True]
    true_positive = np.cumsum(ranked)[last_of_tie]
    false_positive = np.cumsum(~ranked)[last_of_tie]
    return (
        np.r_[0.0, false_positive / max(1, (~truth).sum())],
        np.r_[0.0, true_positive / max(1, truth.sum())],
    )


@dataclass(frozen=True, slots=True)
class Bin:
    """One bin of the calibration plot, with a 95 % Wilson interval of the observed share."""

    predicted: float
    observed: float
    low: float
    high: float
    count: int


def calibration(scores: Numbers, truth: npt.NDArray[np.bool_], bins: int = 10) -> list[Bin]:
    """Predicted against observed share of defects, in bins of equal width; empty bins are left out."""
    found = []
    where = np.minimum((scores * bins).astype(int), bins - 1)
    for number in range(bins):
        inside = where == number
        count = int(inside.sum())
        if not count:
            continue
        hits = float(truth[inside].mean())
        low, high = wilson(hits, count)
        found.append(Bin(float(scores[inside].mean()), hits, low, high, count))
    return found


def wilson(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """Interval of a share."""
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def percentiles(values: Sequence[float]) -> dict[str, float | None]:
    """p50, p95 and p99; None when there is nothing."""
    if not values:
        return {"p50": None, "p95": None, "p99": None}
    p50, p95, p99 = np.percentile(values, [50, 95, 99])
    return {"p50": round(float(p50), 1), "p95": round(float(p95), 1), "p99": round(float(p99), 1)}


def _share(hits: npt.NDArray[np.bool_]) -> float | None:
    return float(hits.mean()) if len(hits) else None

"""Chooses the review band: below it a part passes, above it it is rejected, between a person looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from trainer.domain.calibration import Bools, Floats


@dataclass(frozen=True, slots=True)
class Costs:
    """What a wrong decision and a review cost, in any one currency, and the share of parts people can review.

    The model rejects on its own only from the probability `sure_from` on: where people have no time left, a part
    that is more likely good than bad must not be scrapped because a review would have been better still. `escape` is
    that of a defect of severity `major` or of none that is known; `gravity` says how many times that another one costs.
    """

    false_reject: float = 1.0
    escape: float = 8.0
    gravity: Mapping[str, float] = field(
        default_factory=lambda: {"critical": 5.0, "major": 1.0, "minor": 0.25, "monitor-only": 0.1}
    )
    review: float = 0.25
    max_review_share: float = 0.3
    sure_from: float = 0.5


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Defect probability below `pass_below` passes, from `reject_from` on is rejected, between goes to review."""

    pass_below: float
    reject_from: float


def escape_costs(shown: Sequence[Sequence[str]], severities: Mapping[str, str], costs: Costs) -> Floats:
    """What each part would cost if it escaped: the gravest of the defect classes that it shows counts."""
    weights = [
        max((costs.gravity.get(severities.get(name, ""), 1.0) for name in names), default=1.0)
        for names in shown
    ]
    return costs.escape * np.array(weights)


def choose_thresholds(
    probabilities: Floats, positive: Bools, costs: Costs, escapes: Floats | None = None, steps: int = 99
) -> Thresholds:
    """The pair on a grid that costs least on these rows while reviews stay within what people can do.

    `escapes` are what each row costs if it escapes (`escape_costs`); without them all cost alike.
    """
    grid = np.linspace(0.0, 1.0, steps + 2)[1:-1]
    each = np.full(len(probabilities), costs.escape) if escapes is None else escapes
    escaped = np.array([each[positive & (probabilities < low)].sum() for low in grid])
    rejected = np.array([(~positive & (probabilities >= high)).sum() for high in grid]) * costs.false_reject
    below = np.array([(probabilities < edge).sum() for edge in grid])
    reviewed = below[None, :] - below[:, None]
    total = escaped[:, None] + rejected[None, :] + reviewed * costs.review
    allowed = (grid[None, :] >= grid[:, None]) & (reviewed <= costs.max_review_share * len(probabilities))
    allowed &= (grid >= costs.sure_from)[None, :]
    low, high = np.unravel_index(np.argmin(np.where(allowed, total, np.inf)), total.shape)
    return Thresholds(round(float(grid[low]), 4), round(float(grid[high]), 4))

"""Chooses the review band: below it a part passes, above it it is rejected, between a person looks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.domain.calibration import Bools, Floats


@dataclass(frozen=True, slots=True)
class Costs:
    """What a wrong decision and a review cost, in any one currency, and the share of parts people can review.

    The model rejects on its own only from the probability `sure_from` on: where people have no time left, a part
    that is more likely good than bad must not be scrapped because a review would have been better still.
    """

    false_reject: float = 1.0
    escape: float = 8.0
    review: float = 0.25
    max_review_share: float = 0.3
    sure_from: float = 0.5


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Defect probability below `pass_below` passes, from `reject_from` on is rejected, between goes to review."""

    pass_below: float
    reject_from: float


def choose_thresholds(probabilities: Floats, positive: Bools, costs: Costs, steps: int = 99) -> Thresholds:
    """The pair on a grid that costs least on these rows while reviews stay within what people can do."""
    grid = np.linspace(0.0, 1.0, steps + 2)[1:-1]
    escaped = np.array([(positive & (probabilities < low)).sum() for low in grid]) * costs.escape
    rejected = np.array([(~positive & (probabilities >= high)).sum() for high in grid]) * costs.false_reject
    below = np.array([(probabilities < edge).sum() for edge in grid])
    reviewed = below[None, :] - below[:, None]
    total = escaped[:, None] + rejected[None, :] + reviewed * costs.review
    allowed = (grid[None, :] >= grid[:, None]) & (reviewed <= costs.max_review_share * len(probabilities))
    allowed &= (grid >= costs.sure_from)[None, :]
    low, high = np.unravel_index(np.argmin(np.where(allowed, total, np.inf)), total.shape)
    return Thresholds(round(float(grid[low]), 4), round(float(grid[high]), 4))

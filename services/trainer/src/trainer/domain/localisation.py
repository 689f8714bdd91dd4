"""How well a heat map tells where a defect is, from counts of pixels by level of heat.

Counts of images can be added, so that intervals and parts of a set cost no second look at the pixels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Levels = npt.NDArray[np.float64]
"""(levels) of counts, from cold to hot."""


def pixel_auroc(good: Levels, bad: Levels) -> float:
    """How often a defective pixel is hotter than a good one (ties count half); nan where one kind is absent."""
    if not good.sum() or not bad.sum():
        return float("nan")
    colder = np.cumsum(good) - good / 2
    return float((bad * colder).sum() / (good.sum() * bad.sum()))


def per_region_overlap(good: Levels, covered: Levels, regions: float, limit: float = 0.3) -> float:
    """AUPRO: mean share of a defect that is hot, averaged over shares of good pixels that are as hot, up to `limit`.

    A defect counts alike whether it is small or large. nan where there is no good pixel or no region.

    Args:
        good: Good pixels by level.
        covered: Sum over regions of the share of the region's pixels at each level.
        regions: Number of regions: connected defective areas.
        limit: Largest false positive rate that is looked at; above it a heat map is of no use to anybody.
    """
    if not good.sum() or not regions:
        return float("nan")
    false = np.concatenate([[0.0], np.cumsum(good[::-1]) / good.sum()])
    overlap = np.concatenate([[0.0], np.cumsum(covered[::-1]) / regions])
    kept = false < limit
    x = np.append(false[kept], limit)
    y = np.append(overlap[kept], np.interp(limit, false, overlap))
    return float(np.trapezoid(y, x) / limit)

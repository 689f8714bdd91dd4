"""Turns a head's raw scores into probabilities that can be compared with costs (Platt scaling)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Platt:
    """probability = 1 / (1 + exp(-(slope * score + offset)))"""

    slope: float
    offset: float

    def __call__(self, scores: Floats) -> Floats:
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(self.slope * scores + self.offset, -60, 60))))

    def scores(self, probabilities: Floats) -> Floats:
        """The raw scores behind these probabilities; where they are 0 or 1, as far out as eight-byte floats reach."""
        inside = np.clip(probabilities, 1e-15, 1 - 1e-15)
        return np.asarray((np.log(inside / (1 - inside)) - self.offset) / self.slope)


def fit_platt(scores: Floats, positive: Bools, weights: Floats | None = None) -> Platt:
    """Platt's fit with his smoothed targets, by Newton's method.

    The scores must come from a head that has not seen these rows, or the probabilities are too sure of themselves.
    """
    weight = np.ones(len(scores)) if weights is None else weights
    many, few = float(weight[positive].sum()), float(weight[~positive].sum())
    target = np.where(positive, (many + 1) / (many + 2), 1 / (few + 2))
    scale = float(np.std(scores)) or 1.0
    design = np.column_stack([scores / scale, np.ones(len(scores))])
    theta = np.array([1.0, 0.0])
    for _ in range(100):
        probability = 1.0 / (1.0 + np.exp(-np.clip(design @ theta, -60, 60)))
        gradient = design.T @ (weight * (probability - target))
        spread = weight * probability * (1 - probability)
        curvature = (design * spread[:, None]).T @ design + np.eye(2) * 1e-9
        step = np.linalg.solve(curvature, gradient)
        # Far from the optimum a full Newton step may overshoot where the curve is flat.
        step *= min(1.0, 2.0 / max(1e-12, float(np.abs(step).max())))
        theta = theta - step
        if np.abs(step).max() < 1e-9:
            break
    return Platt(float(theta[0] / scale), float(theta[1]))


def expected_calibration_error(probabilities: Floats, positive: Bools, bins: int = 10) -> float:
    """Mean distance between claimed and true share of defects, over bins of equal size."""
    order = np.argsort(probabilities)
    parts = np.array_split(order, min(bins, len(order)))
    gaps = [abs(probabilities[part].mean() - positive[part].mean()) * len(part) for part in parts]
    return float(sum(gaps) / len(order))

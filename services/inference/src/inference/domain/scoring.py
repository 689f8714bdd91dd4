"""What a model's numbers mean: class and band, by the release's own rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from andon_vision.regions import Region

HeatMap = npt.NDArray[np.uint8]


class Rules(Protocol):
    """What a release says about its own numbers."""

    def band(self, defect_score: float) -> str:
        """`pass`, `uncertain` or `defect`."""

    def named(
        self, defect_score: float, class_probabilities: Sequence[float]
    ) -> tuple[str, dict[str, float]]:
        """The class that the model calls the part, and the probability of each."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A model's answer for one image; `refused` names why there is none.

    `regions` are in pixels of the image, the surest first. `model_ms` is the time of the image's whole batch.
    """

    defect_score: float
    class_probabilities: tuple[float, ...]
    heat_map: HeatMap | None
    model_ms: float
    refused: str | None = None
    regions: tuple[Region, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The same in the words of the event."""

    predicted_class: str
    defect_score: float
    scores: dict[str, float]
    band: str


def judge(rules: Rules, scored: Scored) -> Verdict:
    """Class and band by the release's own thresholds."""
    predicted, scores = rules.named(scored.defect_score, scored.class_probabilities)
    return Verdict(predicted, scored.defect_score, scores, rules.band(scored.defect_score))


def refused(reason: str) -> Scored:
    """An image for which there is no answer."""
    return Scored(0.0, (), None, 0.0, reason)

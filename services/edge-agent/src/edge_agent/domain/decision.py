"""From a model's numbers to the provisional decision beside the line.

Provisional, because the plant decides with what the box does not have: audit, policy, severity, validated variants.
The words are the plant's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

PASS: Final = "pass"
REJECT: Final = "reject"
TO_A_PERSON: Final = "route-to-reviewer"
KINDS: Final = (PASS, REJECT, TO_A_PERSON)

_BANDS: Final = {
    "pass": (PASS, "confident-good"),
    "defect": (REJECT, "confident-defect"),
    "uncertain": (TO_A_PERSON, "uncertain"),
}


class Rules(Protocol):
    """What a release says about its own numbers."""

    @property
    def release(self) -> str:
        """Its id."""

    def band(self, defect_score: float) -> str:
        """`pass`, `uncertain` or `defect`."""

    def named(
        self, defect_score: float, class_probabilities: Sequence[float]
    ) -> tuple[str, dict[str, float]]:
        """The class that the model calls the part, and the probability of each."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A model's answer for one image; `refused` names why there is none, `regions` where it points, as JSON objects."""

    defect_score: float
    class_probabilities: tuple[float, ...]
    heat_map: npt.NDArray[np.uint8] | None
    refused: str | None = None
    regions: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What the line is told at once.

    Attributes:
        kind: `pass`, `reject` or `route-to-reviewer`.
        reason: Why, as a stable code.
        scores: Probability by class.
        regions: Where the model points, in pixels of the image, the surest first.
    """

    kind: str
    reason: str
    release: str
    predicted_class: str | None = None
    defect_score: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    regions: tuple[Mapping[str, Any], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As it is answered and kept."""
        return {
            "kind": self.kind,
            "reason": self.reason,
            "provisional": True,
            "release": self.release,
            "predicted_class": self.predicted_class,
            "defect_score": self.defect_score,
            "scores": dict(self.scores),
            "regions": list(self.regions),
        }


def decide(rules: Rules, scored: Scored) -> Decision:
    """By the release's own thresholds; whatever the model cannot answer goes to a person."""
    if scored.refused is not None:
        return Decision(TO_A_PERSON, scored.refused, rules.release)
    if not 0.0 <= scored.defect_score <= 1.0:  # also catches NaN
        return Decision(TO_A_PERSON, "score-out-of-range", rules.release)
    predicted, scores = rules.named(scored.defect_score, scored.class_probabilities)
    kind, reason = _BANDS[rules.band(scored.defect_score)]
    return Decision(kind, reason, rules.release, predicted, scored.defect_score, scores, scored.regions)

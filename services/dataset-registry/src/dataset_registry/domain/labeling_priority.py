"""Which image to label next: the one from which most can be learned.

Four signals of 0 to 1, each None where nothing is known: the model is uncertain, people disagree, the image looks like
nothing that is labeled, its class is rare. Each lessens what is left by its weight, so that one strong signal is
enough and further ones add to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

_WEIGHTS = {"uncertain": 0.6, "disagreement": 0.7, "novel": 0.4, "rare class": 0.5}
_FADES_OVER = 0.25
"""A score so far outside the band of doubt is no doubt any more."""
_NEW_BITS = 16
"""An image whose nearest labeled one differs in so many bits of 64 is something new."""
_WORTH_SAYING = 0.1
_MODEL_OVERRULED = 0.6
_CHUNK = 32


class Priority(NamedTuple):
    """Attributes:
    value: 0 to 1.
    reason: The signals that count, the strongest first.
    """

    value: float
    reason: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the registry has of one image.

    Attributes:
        defect_score: Of the model that decided.
        pass_below, reject_from: Its band of doubt; a score between them is left to people.
        predicted_class: Of the model.
        disputed: Two people differed about it.
        overruled: A person said something else than the model.
        perceptual_hash: 64 bits.
    """

    defect_score: float | None = None
    pass_below: float = 0.5
    reject_from: float = 0.5
    predicted_class: str | None = None
    disputed: bool = False
    overruled: bool = False
    perceptual_hash: int | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What has been labeled so far.

    Attributes:
        by_class: Labels by class.
        hashes: Perceptual hashes of labeled images, shape (n,).
    """

    by_class: Mapping[str, int] = field(default_factory=dict)
    hashes: Hashes = field(default_factory=lambda: np.zeros(0, np.uint64))


def priority(
    uncertainty: float | None, disagreement: float | None, novelty: float | None, rarity: float | None
) -> Priority:
    """What is to be gained by labeling an image."""
    signals = dict(zip(_WEIGHTS, (uncertainty, disagreement, novelty, rarity), strict=True))
    known = {name: value for name, value in signals.items() if value is not None}
    left = float(np.prod([1.0 - _WEIGHTS[name] * value for name, value in known.items()]))
    said = sorted(
        (name for name, value in known.items() if value >= _WORTH_SAYING),
        key=lambda name: -_WEIGHTS[name] * known[name],
    )
    reason = ", ".join(f"{name} {known[name]:.2f}" for name in said)
    return Priority(round(1.0 - left, 4), reason or "nothing speaks for it in particular")


def priorities(images: Mapping[str, Evidence], around: Surroundings) -> dict[str, Priority]:
    """The priority of each image."""
    distances = _nearest(images, around.hashes)
    return {
        image_id: priority(
            uncertainty(evidence),
            disagreement(evidence),
            distances.get(image_id),
            rarity(evidence, around.by_class),
        )
        for image_id, evidence in images.items()
    }


def uncertainty(evidence: Evidence) -> float | None:
    """1 inside the band of doubt, less with the distance from it."""
    if evidence.defect_score is None:
        return None
    below = evidence.pass_below - evidence.defect_score
    above = evidence.defect_score - evidence.reject_from
    return max(0.0, 1.0 - max(0.0, below, above) / _FADES_OVER)


def disagreement(evidence: Evidence) -> float | None:
    """1 where two people differed; less where a person overruled the model; None where nobody has looked."""
    if evidence.disputed:
        return 1.0
    return _MODEL_OVERRULED if evidence.overruled else None


def rarity(evidence: Evidence, by_class: Mapping[str, int]) -> float | None:
    """How far the predicted class is below an even share of all labels."""
    total = sum(by_class.values())
    if evidence.predicted_class is None or not total:
        return None
    even = total / len(by_class.keys() | {evidence.predicted_class})
    return max(0.0, 1.0 - by_class.get(evidence.predicted_class, 0) / even)


def _nearest(images: Mapping[str, Evidence], labeled: Hashes) -> dict[str, float]:
    """Novelty by image: the distance to the nearest labeled one."""
    known = {key: value.perceptual_hash for key, value in images.items() if value.perceptual_hash is not None}
    if not known or not len(labeled):
        return {}
    hashes = np.array(list(known.values()), np.uint64)
    bits = np.concatenate(
        [
            np.bitwise_count(hashes[start : start + _CHUNK, None] ^ labeled[None, :]).min(axis=1)
            for start in range(0, len(hashes), _CHUNK)
        ]
    )
    return dict(zip(known, np.minimum(1.0, bits / _NEW_BITS).tolist(), strict=True))

"""The parts that pass the cameras, and which of them the model may learn from.

Near-duplicate images are kept together: either all of a group are learned from or all of them are streamed.
Otherwise the stream would be full of images the model knows, and the report's figures would be worth nothing.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

GOOD = "normal"
"""What the model calls a part without a defect."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part and what the experts say about its image.

    Attributes:
        name: Unique in its set, for example images/cell0001.png.
        path: The image file.
        label: `normal` or the first of the defect classes.
        classes: All defect classes it shows.
        doubt: The experts' probability that the part is defective, 0 to 1; 1/3 and 2/3 are honest doubt.
        variant: Product variant.
        product: Kind of part.
        group: Number of its group of near-duplicate images.
    """

    name: str
    path: Path
    label: str
    doubt: float
    variant: str
    product: str
    group: int
    classes: tuple[str, ...] = ()

    @property
    def is_defect(self) -> bool:
        return self.doubt >= 0.5


@dataclass(frozen=True, slots=True)
class Split:
    """Which parts the model learns from and which pass the cameras."""

    training: tuple[Part, ...]
    stream: tuple[Part, ...]

    @property
    def defects(self) -> list[str]:
        """All defect classes: people know also those that are too rare for the model to learn."""
        parts = (*self.training, *self.stream)
        return sorted(
            {name for part in parts if part.is_defect for name in (*part.classes, part.label)} - {GOOD}
        )


def split_parts(parts: Iterable[Part], training_share: float, seed: int) -> Split:
    """Divide by groups, so that each label and variant has about `training_share` of its parts in training.

    Groups are taken in an order drawn by the seed, and each goes to training while that brings the mix of labels and
    variants closer to the wanted share. Large and small groups have the same chance: were the large ones taken first,
    training would hold only parts that have many sisters, and the stream only those that have none.
    """
    groups: dict[int, list[Part]] = defaultdict(list)
    for part in parts:
        groups[part.group].append(part)
    order = sorted(groups)
    random.Random(seed).shuffle(order)
    wanted = Counter[tuple[str, str]]()
    for members in groups.values():
        wanted.update(_stratum(part) for part in members)
    quota = {stratum: training_share * count for stratum, count in wanted.items()}
    held = Counter[tuple[str, str]]()
    training: list[Part] = []
    stream: list[Part] = []
    for group in order:
        adds = Counter(_stratum(part) for part in groups[group])
        if _distance(held, adds, quota) < _distance(held, Counter(), quota):
            held.update(adds)
            training.extend(groups[group])
        else:
            stream.extend(groups[group])
    by_name = lambda part: part.name  # noqa: E731
    return Split(tuple(sorted(training, key=by_name)), tuple(sorted(stream, key=by_name)))


def _stratum(part: Part) -> tuple[str, str]:
    return part.label, part.variant


def _distance(
    held: Counter[tuple[str, str]], adds: Counter[tuple[str, str]], quota: dict[tuple[str, str], float]
) -> float:
    """How far from its quota each stratum would be, as a share of the quota, squared and summed."""
    return sum(((held[key] + adds[key] - want) / max(want, 1.0)) ** 2 for key, want in quota.items())


def variants(parts: Sequence[Part]) -> list[str]:
    """Product variants, the most frequent first."""
    return [
        name
        for name, _ in sorted(Counter(part.variant for part in parts).items(), key=lambda c: (-c[1], c[0]))
    ]

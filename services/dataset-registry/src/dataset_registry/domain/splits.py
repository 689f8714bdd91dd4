"""Divides a dataset into parts so that nothing leaks: what belongs together is never divided.

The same images and the same plan give the same parts, in whatever order the images come: chance is a hash of the seed
and of the smallest id of a group.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from dataset_registry.domain.neighbours import MOST
from dataset_registry.domain.refusals import invalid
from dataset_registry.domain.samples import HOLDOUT, KEYS, NEIGHBOUR, PARTS, TRAIN, Sample, grouped

SHARES: Final = {"train": 0.7, "validation": 0.15, "holdout": 0.15}
DEFAULT_KEYS: Final = ("batch", "part", NEIGHBOUR)
"""Not time: together with batches that run across its blocks it would join a whole run of production."""
LONGEST_BLOCK_S: Final = 1e9
_LARGEST_GROUP = 0.1
"""Of all images; a larger group decides alone what its part looks like."""
_OFF = 0.05
"""How far a part's share may lie from what was asked for."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to divide.

    Attributes:
        shares: By part, above 0; their sum is 1.
        keys: What joins images: any of `KEYS`, and `NEIGHBOUR`. The same bytes are always joined.
        distance: Bits in which perceptual neighbours may differ.
        block_s: Length of a block of time of one station, in seconds.
    """

    shares: Mapping[str, float] = field(default_factory=lambda: dict(SHARES))
    keys: tuple[str, ...] = DEFAULT_KEYS
    distance: int = 6
    block_s: float = 3600.0
    seed: str = "andonloop"

    def check(self) -> None:
        """Raises Refused when it makes no sense."""
        strange = set(self.shares) - set(PARTS) or set(self.keys) - {*KEYS, NEIGHBOUR}
        if strange:
            raise invalid("unknown-split", f"There is no {', '.join(sorted(strange))} to split by or into.")
        if min(self.shares.values(), default=0.0) <= 0 or abs(sum(self.shares.values()) - 1) > 1e-6:
            raise invalid("shares-not-whole", "Give each part a share above 0; together they make 1.")
        if TRAIN not in self.shares:
            raise invalid("nothing-to-learn-from", "Give the part train a share.")
        if not 0 <= self.distance <= MOST or not 1 <= self.block_s <= LONGEST_BLOCK_S:
            raise invalid(
                "bad-distance", f"A distance is 0 to {MOST} bits, a block of time a second to 30 years."
            )


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that a person should know before relying on it.

    Attributes:
        code: Stable, lower-case with dashes.
        about: The class, group, part or key that it is about.
        text: What it means, and what to do.
    """

    code: str
    about: str
    text: str


@dataclass(frozen=True, slots=True)
class Split:
    """Attributes:
    parts: For each sample one of `PARTS`.
    groups: For each sample the smallest id of its group.
    """

    parts: list[str]
    groups: list[str]
    warnings: list[Warned]


def split(samples: Sequence[Sample], plan: Plan) -> Split:
    """Divide the samples. Raises Refused when the plan makes no sense or a synthetic image is kept out of training."""
    plan.check()
    order = sorted(range(len(samples)), key=lambda index: samples[index].id)
    ordered = [samples[index] for index in order]
    refuse_synthetic((sample, sample.kept) for sample in ordered)
    first = grouped(ordered, plan.keys, plan.distance, plan.block_s).tolist()
    members: dict[int, list[Sample]] = defaultdict(list)
    for group, sample in zip(first, ordered, strict=True):
        members[group].append(sample)
    warnings = _of_groups(members, ordered, plan)
    part_of = _assigned(members, plan)
    parts, groups = [""] * len(samples), [""] * len(samples)
    for index, group in zip(order, first, strict=True):
        parts[index], groups[index] = part_of[group], members[group][0].id
    warnings += _of_parts(members, part_of, plan, len(samples))
    return Split(parts, groups, warnings)


def refuse_synthetic(placed: Iterable[tuple[Sample, str | None]]) -> None:
    """Raises Refused when a generated image lies where only real ones prove anything."""
    wrong = sorted(sample.id for sample, part in placed if sample.synthetic and part not in (None, TRAIN))
    if wrong:
        raise invalid(
            "synthetic-outside-training",
            f"Generated images are for training only; {len(wrong)} lie elsewhere, the first is {wrong[0]}.",
        )


def _assigned(members: Mapping[int, list[Sample]], plan: Plan) -> dict[int, str]:
    """The part of each group: the one that it brings nearest to what is wanted of each class."""
    totals = Counter(name for group in members.values() for sample in group for name in sample.classes)
    need = {
        part: {name: share * count for name, count in totals.items()} for part, share in plan.shares.items()
    }
    part_of: dict[int, str] = {}

    def place(group: int, part: str, counts: Mapping[str, int]) -> None:
        part_of[group] = part
        for name, count in counts.items():
            need.setdefault(part, defaultdict(float))[name] -= count

    def gain(part: str, counts: Mapping[str, int]) -> tuple[float, float]:
        missing, gained, behind = need[part], 0.0, 0.0
        for name, count in counts.items():
            open_ = max(0.0, missing[name])
            gained += (min(count, open_) - max(0.0, count - open_)) / totals[name]
            behind += missing[name] / (plan.shares[part] * totals[name])
        return gained, behind

    free: list[tuple[int, bytes, int, Counter[str]]] = []
    for group, samples in members.items():
        counts = Counter(name for sample in samples for name in sample.classes)
        fixed = _fixed(samples)
        if fixed is not None:
            place(group, fixed, counts)
        else:
            chance = hashlib.sha256(f"{plan.seed}/{samples[0].id}".encode()).digest()
            free.append((-len(samples), chance, group, counts))
    for _, _, group, counts in sorted(free, key=lambda entry: entry[:2]):
        place(group, max(plan.shares, key=lambda part: gain(part, counts)), counts)
    return part_of


def _claims(samples: Iterable[Sample]) -> set[str]:
    """The parts that a group has to be in: where its members were, and training where one is generated."""
    kept = {sample.kept for sample in samples if sample.kept is not None}
    return kept | ({TRAIN} if any(sample.synthetic for sample in samples) else set())


def _fixed(samples: Sequence[Sample]) -> str | None:
    """Of several claims that of the part which most has been learned from: it cannot be unlearned."""
    return min(_claims(samples), key=PARTS.index, default=None)


def _of_groups(members: Mapping[int, list[Sample]], samples: Sequence[Sample], plan: Plan) -> list[Warned]:
    """What is wrong with the groups, before anything is assigned."""
    warnings = [
        Warned(
            "group-too-large",
            group[0].id,
            f"{len(group)} of {len(samples)} images belong together and cannot be divided; look at what joins them -"
            " a smaller distance, shorter blocks of time, or one key less.",
        )
        for group in members.values()
        if len(group) > max(1, _LARGEST_GROUP * len(samples))
    ]
    joined = [group for group in members.values() if len(_claims(group)) > 1]
    if joined:
        lost = sum(sample.kept == HOLDOUT for group in joined for sample in group)
        warnings.append(
            Warned(
                "group-joined-parts",
                joined[0][0].id,
                f"{len(joined)} groups join images of several parts and lie where most has been learned from now."
                + f" {lost} images are lost to the holdout: its figures are no longer those of before."
                * (lost > 0),
            )
        )
    for key in plan.keys:
        unknown = sum(
            (sample.perceptual_hash if key == NEIGHBOUR else KEYS[key](sample, plan.block_s)) is None
            for sample in samples
        )
        if unknown:
            warnings.append(
                Warned(
                    "key-unknown",
                    key,
                    f"{unknown} of {len(samples)} images have no {key} on record: nothing keeps them together by it.",
                )
            )
    return warnings


def _of_parts(
    members: Mapping[int, list[Sample]], part_of: Mapping[int, str], plan: Plan, size: int
) -> list[Warned]:
    """What is wrong with the parts as they came out."""
    warnings: list[Warned] = []
    sizes, groups = Counter[str](), defaultdict[str, Counter[str]](Counter)
    for group, samples in members.items():
        sizes[part_of[group]] += len(samples)
        for name in {name for sample in samples for name in sample.classes}:
            groups[name][part_of[group]] += 1
    for name, by_part in sorted(groups.items()):
        absent = [part for part in plan.shares if not by_part[part]]
        if absent:
            count = by_part.total()
            warnings.append(
                Warned(
                    "class-too-few",
                    name,
                    f"{name} has {count} independent group{'s' * (count != 1)} and is not in {', '.join(absent)};"
                    " collect more parts of it before relying on its figures.",
                )
            )
    for part, share in plan.shares.items():
        if abs(sizes[part] / max(1, size) - share) > _OFF:
            warnings.append(
                Warned(
                    "share-missed",
                    part,
                    f"{part} holds {sizes[part]} of {size} images instead of {share:.0%}: large groups, or images that"
                    " stay where they were, do not let it be otherwise.",
                )
            )
    return warnings

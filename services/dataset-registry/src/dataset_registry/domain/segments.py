"""What a dataset is made of, by what each image is there for; and where there is too little of it to rely on.

How much is enough follows from what can be said at all: where n independent parts show no error, an error rate of 3 / n
is still possible (95 %). Images of one group count once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dataset_registry.domain.samples import HOLDOUT, Sample
from dataset_registry.domain.splits import Warned

NORMAL, KNOWN, RARE, EDGE = "normal", "known-defect", "rare-defect", "edge-case"
SEGMENTS: Final = (NORMAL, KNOWN, RARE, EDGE, HOLDOUT)
EDGE_KINDS: Final = ("lighting", "angle", "occlusion", "material", "hard-negative")
PURPOSE: Final = {
    NORMAL: "What good parts look like, in all their variation: keeps false rejects down.",
    KNOWN: "Defects that are seen often enough to be learned and measured class by class.",
    RARE: "Defects seldom seen: shows whether the model finds them at all; gather more.",
    EDGE: "Difficult light, angles, hidden parts, other material, good parts that look bad: models break here first.",
    HOLDOUT: "Evidence for the launch: opened by counted evaluations only, never to learn, tune or choose.",
}
RARE_BELOW: Final = 10
"""Independent groups of a class, in the whole dataset; below it a class is rare."""
LEAST: Final = {NORMAL: 300, KNOWN: 30, RARE: 5, EDGE: 20, HOLDOUT: 30}
"""Independent groups: of all for normal, of each class for defects and the holdout, of each kind for edge cases."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a person says an image is there for; `kind` of an edge case is one of `EDGE_KINDS`."""

    segment: str
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a segment holds.

    Attributes:
        groups: Independent groups, of all and `by_name`: by class, or by kind for edge cases.
    """

    segment: str
    purpose: str
    images: int
    groups: int
    by_name: dict[str, int]
    stations: int
    cameras: int
    products: int
    warnings: list[Warned]


def segments(
    samples: Sequence[Sample], groups: Sequence[str], parts: Sequence[str | None], marks: Mapping[str, Mark]
) -> list[str]:
    """The segment of each sample: what a person says counts, and above it the holdout."""
    of_class: dict[str, set[str]] = defaultdict(set)
    for sample, group in zip(samples, groups, strict=True):
        for name in sample.classes:
            of_class[name].add(group)
    rare = {name for name, found in of_class.items() if len(found) < RARE_BELOW}

    def segment(sample: Sample, part: str | None) -> str:
        if part == HOLDOUT:
            return HOLDOUT
        if sample.id in marks:
            return marks[sample.id].segment
        if not sample.is_defect:
            return NORMAL
        return RARE if rare.intersection(sample.classes) else KNOWN

    return [segment(sample, part) for sample, part in zip(samples, parts, strict=True)]


def coverage(
    samples: Sequence[Sample], groups: Sequence[str], chosen: Sequence[str], marks: Mapping[str, Mark]
) -> list[Coverage]:
    """What each segment holds, and what is too thin; `chosen` from `segments`."""
    members: dict[str, list[tuple[Sample, str]]] = {segment: [] for segment in SEGMENTS}
    for sample, group, segment in zip(samples, groups, chosen, strict=True):
        members[segment].append((sample, group))
    return [_covered(segment, found, marks) for segment, found in members.items()]


def _covered(segment: str, members: Sequence[tuple[Sample, str]], marks: Mapping[str, Mark]) -> Coverage:
    by_name: dict[str, set[str]] = defaultdict(set)
    for sample, group in members:
        kind = marks[sample.id].kind if segment == EDGE else None
        for name in (kind,) if kind else sample.classes:
            by_name[name].add(group)
    found = Counter({name: len(groups) for name, groups in by_name.items()})
    total = len({group for _, group in members})
    return Coverage(
        segment,
        PURPOSE[segment],
        len(members),
        total,
        dict(sorted(found.items())),
        len({sample.station for sample, _ in members} - {None}),
        len({sample.camera for sample, _ in members} - {None}),
        len({sample.product for sample, _ in members} - {None}),
        _thin(segment, found, total),
    )


def _thin(segment: str, found: Mapping[str, int], total: int) -> list[Warned]:
    least = LEAST[segment]
    counts = {segment: total} if segment == NORMAL or not found else found
    if segment == EDGE:
        counts = {kind: found.get(kind, 0) for kind in EDGE_KINDS}
    if segment in (KNOWN, RARE) and not found:
        return []
    return [
        Warned(
            "segment-thin",
            f"{segment}/{name}" if name != segment else segment,
            f"{name}: {count} independent part{'s' * (count != 1)}, at least {least} are wanted;"
            + (
                f" with no error seen, {min(1.0, 3 / count):.0%} may still be wrong."
                if count
                else " nothing can be said."
            ),
        )
        for name, count in sorted(counts.items())
        if count < least
    ]

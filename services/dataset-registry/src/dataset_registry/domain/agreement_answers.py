"""Agreement of many people over many images: what they said, and the figures of all, of a class, of a part of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import combinations
from typing import Final

import numpy as np

from dataset_registry.domain import agreement
from dataset_registry.domain.agreement import Counts, Figure, Floats
from dataset_registry.domain.annotations import Shape
from dataset_registry.domain.matching import places

NOT_MARKED: Final = "not marked"
OTHER: Final = "any other"


@dataclass(frozen=True, slots=True)
class Said:
    """What one person said of one image, blind.

    Attributes:
        classes: All classes of the image and of the marks on it; or the verdict alone where it is none of a class
            (unusable, ambiguous).
    """

    person: str
    classes: frozenset[str]
    at: datetime
    shapes: tuple[Shape, ...] = ()

    @property
    def value(self) -> str:
        """The answer as one word: nominal figures know only same and different."""
        return " + ".join(sorted(self.classes))


@dataclass(frozen=True, slots=True)
class Judged:
    """An image that several people have judged.

    Attributes:
        cluster: The very part that it shows; images of one part are not independent. Its own id where unknown.
        regions: Whether marks were asked for: only then does "not marked" say something.
    """

    image_id: str
    cluster: str
    answers: tuple[Said, ...]
    part: str | None = None
    camera: str | None = None
    width: int = 1
    height: int = 1
    regions: bool = False


@dataclass(frozen=True, slots=True)
class Pair:
    """Two people; `weighted` counts a difference by severity, None where the order is not known."""

    people: tuple[str, str]
    cohen: Figure
    weighted: Figure | None


@dataclass(frozen=True, slots=True)
class Regions:
    """Agreement on where and what.

    Attributes:
        overlap: Mean intersection over union of the marks that mean the same place.
        detection: 2 matched / all marks, over all pairs of people (F1 of one against the other).
        alpha: Over the places, "not marked" being a value; an image that nobody marked is one place.
    """

    overlap: Figure
    detection: Figure
    alpha: Figure


@dataclass(frozen=True, slots=True)
class Agreement:
    """All figures of some answers; `images` have two answers or more."""

    images: int
    people: tuple[str, ...]
    percent: Figure
    fleiss: Figure
    alpha: Figure
    pairs: tuple[Pair, ...]
    regions: Regions | None


def agreed(images: Sequence[Judged], class_name: str | None, severity: Mapping[str, int]) -> Agreement:
    """The figures of these images.

    Args:
        class_name: One class against all others; None: every class against every other.
        severity: Rank of each class, 0 for the good one; classes without a rank leave weighted kappa out.
    """
    images = [image for image in images if len(image.answers) > 1]
    spoken = [[_word(said, class_name) for said in image.answers] for image in images]
    values = sorted({word for words in spoken for word in words})
    counts = _counts(spoken, values)
    clusters = [image.cluster for image in images]
    equal = agreement.most_frequent(counts)
    people = tuple(sorted({said.person for image in images for said in image.answers}))
    return Agreement(
        len(images),
        people,
        agreement.figure(agreement.per_image(counts), clusters, agreement.percent),
        agreement.figure(
            agreement.per_image(counts) * equal[:, None, None],
            clusters,
            agreement.fleiss,
        ),
        agreement.figure(agreement.coincidences(counts), clusters, agreement.alpha),
        tuple(_pairs(images, spoken, values, _order(values, class_name, severity))),
        _regions(images, class_name),
    )


SLICES: Final[dict[str, Callable[[Judged], Iterable[str]]]] = {
    "class": lambda image: sorted({name for said in image.answers for name in said.classes}),
    "part": lambda image: [image.part or "unknown"],
    "camera": lambda image: [image.camera or "unknown"],
    "reviewer": lambda image: [
        " / ".join(pair) for pair in combinations(sorted({said.person for said in image.answers}), 2)
    ],
    "week": lambda image: [f"{max(said.at for said in image.answers):%G-W%V}"],
}
"""By what agreement may be looked at."""


def sliced(
    images: Sequence[Judged], by: str, class_name: str | None, severity: Mapping[str, int]
) -> dict[str, Agreement]:
    """The figures of each slice, by name. By class, each class is held against all others, over all images."""
    slices = defaultdict[str, list[Judged]](list)
    for image in images:
        for name in SLICES[by](image):
            slices[name].append(_seen_by(image, name) if by == "reviewer" else image)
    if by == "class":
        return {name: agreed(images, name, severity) for name in sorted(slices)}
    return {name: agreed(slices[name], class_name, severity) for name in sorted(slices)}


def _seen_by(image: Judged, pair: str) -> Judged:
    """The image with the answers of this pair alone."""
    return replace(image, answers=tuple(said for said in image.answers if said.person in pair.split(" / ")))


def _word(said: Said, class_name: str | None) -> str:
    if class_name is None:
        return said.value
    return class_name if class_name in said.classes else OTHER


def _counts(spoken: Sequence[Sequence[str]], values: Sequence[str]) -> Counts:
    place = {value: index for index, value in enumerate(values)}
    counts = np.zeros((len(spoken), len(values)), np.int64)
    for image, words in enumerate(spoken):
        for word in words:
            counts[image, place[word]] += 1
    return counts


def _order(values: Sequence[str], class_name: str | None, severity: Mapping[str, int]) -> list[int] | None:
    known = class_name is None and all(value in severity for value in values)
    return [severity[value] for value in values] if known else None


def _pairs(
    images: Sequence[Judged],
    spoken: Sequence[Sequence[str]],
    values: Sequence[str],
    order: list[int] | None,
) -> Iterable[Pair]:
    place = {value: index for index, value in enumerate(values)}
    cells: dict[tuple[str, str], list[tuple[str, int, int]]] = {}
    for image, words in zip(images, spoken, strict=True):
        said = sorted(zip((s.person for s in image.answers), words, strict=True))
        for (one, left), (other, right) in combinations(said, 2):
            cells.setdefault((one, other), []).append((image.cluster, place[left], place[right]))
    for people, known in sorted(cells.items()):
        tables = np.zeros((len(known), len(values), len(values)))
        for index, (_, left_place, right_place) in enumerate(known):
            tables[index, left_place, right_place] = 1
        clusters = [cluster for cluster, _, _ in known]
        weighted = agreement.figure(tables, clusters, lambda t: agreement.cohen(t, order)) if order else None
        yield Pair(people, agreement.figure(tables, clusters, agreement.cohen), weighted)


def _regions(images: Sequence[Judged], class_name: str | None) -> Regions | None:
    images = [image for image in images if image.regions]
    if not images:
        return None
    ratios = np.zeros((len(images), 2, 2))  # overlaps and their number; matched and all marks, over all pairs
    spoken, clusters = list[list[str]](), list[str]()
    for index, image in enumerate(images):
        marks = [
            [shape for shape in said.shapes if class_name in (None, shape.class_name)]
            for said in image.answers
        ]
        found = places(marks, image.width, image.height)
        ratios[index, 0] = sum(likeness for _, _, likeness in found.overlaps), len(found.overlaps)
        areas = [sum(mark is not None for mark in column) for column in zip(*found.marks, strict=True)]
        ratios[index, 1] = 2 * len(found.overlaps), (len(marks) - 1) * sum(areas)
        words = [[mark.class_name if mark else NOT_MARKED for mark in place] for place in found.marks]
        words = words or [[NOT_MARKED] * len(marks)]
        spoken += words
        clusters += [image.cluster] * len(words)
    values = sorted({word for words in spoken for word in words})
    names = [image.cluster for image in images]
    return Regions(
        agreement.figure(ratios[:, :1], names, _ratio),
        agreement.figure(ratios[:, 1:], names, _ratio),
        agreement.figure(agreement.coincidences(_counts(spoken, values)), clusters, agreement.alpha),
    )


def _ratio(table: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio: Floats = table[..., 0, 0] / table[..., 0, 1]
    return ratio

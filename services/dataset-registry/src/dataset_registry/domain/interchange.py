"""Labelled images on their way in and out: one form between all file formats, and what is wrong or lost on the way."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from dataset_registry.domain.annotations import KeyPoints, Shape


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in what was handed in.

    Attributes:
        file: Path in the archive.
        line: From 1; None where the format has no lines.
        where: Inside the file, as its format names it: `annotations[17]`, `object 2`, `column width`.
    """

    file: str
    line: int | None = None
    where: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that cannot be taken as it stands.

    Attributes:
        reason: Stable code, lower-case with dashes.
        advice: What the person can do about it.
    """

    file: str
    line: int | None
    where: str
    reason: str
    advice: str

    @classmethod
    def at(cls, place: Place, reason: str, advice: str) -> Problem:
        """A problem at this place."""
        return cls(place.file, place.line, place.where, reason, advice)


class Unreadable(Exception):
    """The rest of the file cannot be read.

    Args:
        problem: Where, why, and what to do.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.file}: {problem.reason}: {problem.advice}")
        self.problem = problem


def unreadable(place: Place, reason: str, advice: str) -> Unreadable:
    """Reading cannot go on after this place."""
    return Unreadable(Problem.at(place, reason, advice))


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image and everything that its file says of it.

    Attributes:
        name: Of the picture, as the file has it; `/` between folders.
        width, height: Pixels.
        classes: Of the image as a whole.
        context: What is known of its making, by the names of the capture context.
        sha256: Of the picture, where the file says it.
        place: Where it stands; two images are equal wherever they stand.
        shape_places: Where each of its shapes stands; empty where the format gives them none of their own.
    """

    name: str
    width: int
    height: int
    classes: tuple[str, ...] = ()
    shapes: tuple[Shape, ...] = ()
    context: Mapping[str, str] = field(default_factory=dict)
    sha256: str | None = None
    place: Place = field(default=Place(""), compare=False)
    shape_places: tuple[Place, ...] = field(default=(), compare=False)


Read = Iterator[LabelledImage | Problem]
"""What a reader gives: an image as a whole, or instead of it what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What a file has to declare before, or beside, its images.

    Attributes:
        classes: In the order in which they are numbered.
        points: Names of the key points, by class.
        joins: Pairs of them that are joined, by class.
        context: Names of what is known of the making of some image.
    """

    classes: tuple[str, ...]
    points: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    joins: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    context: tuple[str, ...] = ()

    def number(self) -> dict[str, int]:
        """Class by name to its place, from 0."""
        return {name: number for number, name in enumerate(self.classes)}


def vocabulary(images: Iterable[LabelledImage]) -> Vocabulary:
    """All that occurs in these images, sorted."""
    classes: set[str] = set()
    points: dict[str, set[str]] = {}
    joins: dict[str, set[tuple[str, str]]] = {}
    context: set[str] = set()
    for image in images:
        classes.update(image.classes)
        context.update(image.context)
        for shape in image.shapes:
            classes.add(shape.class_name)
            if isinstance(shape.geometry, KeyPoints):
                points.setdefault(shape.class_name, set()).update(name for name, _ in shape.geometry.points)
                joins.setdefault(shape.class_name, set()).update(shape.geometry.joins)
    return Vocabulary(
        tuple(sorted(classes)),
        {name: tuple(sorted(found)) for name, found in points.items()},
        {name: tuple(sorted(found)) for name, found in joins.items()},
        tuple(sorted(context)),
    )


class Losses:
    """What a format could not hold, counted: nothing is left out without a word."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, what: str, count: int = 1) -> None:
        """`what` is one of LOSSES; counts nothing where `count` is 0."""
        if count:
            self._counts[what] += count

    def report(self) -> list[dict[str, str | int]]:
        """One entry for each kind of loss, sorted by its code."""
        return [
            {"what": what, "count": count, "meaning": LOSSES[what]}
            for what, count in sorted(self._counts.items())
        ]


LOSSES = {
    "box-as-polygon": "A box was written as a polygon with its four corners.",
    "context": "What is known of the making of the image cannot be written.",
    "holdout": "Images in the holdout of a dataset version are not for learning, and were left out.",
    "image-class": "Classes of the image as a whole cannot be written.",
    "instance": "Which shapes are one thing cannot be written.",
    "joins": "Lines between key points cannot be written, or only one set of them for all of a class.",
    "key-points": "Key points cannot be written; the shape was left out.",
    "later-shape-covers": "Where shapes overlap, a pixel belongs to the last one only.",
    "mask-as-box": "A mask was written as the box around it.",
    "mask-as-outline": "A mask was written as the outline of its pixels.",
    "measurements": "Measured lengths and areas cannot be written.",
    "origin": "Whose mark it was at first cannot be written.",
    "polygon-as-box": "A polygon was written as the box around it.",
    "polygon-with-holes-as-mask": "A polygon with holes, or of several rings, was written as the pixels inside it.",
    "shape-as-mask": "A box or polygon was written as the pixels inside it.",
    "shapes-of-a-class-merged": "Several shapes of a class on one image were written as one.",
    "shape-id": "Names of shapes cannot be written; histories of two versions cannot be compared.",
}
"""Every kind of loss by its code."""


def finite(value: object) -> float:
    """A number that a file gave. Raises ValueError for anything else, infinity and not-a-number included."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no number")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is no finite number")
    return number

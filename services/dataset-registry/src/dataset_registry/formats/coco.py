"""COCO object detection and key points, JSON: https://cocodataset.org/#format-data.

A file of any size is read in bounded memory. It holds its annotations in any order, so the first pass notes for each
one whose it is and where it lies, and the second reads them image by image.

Beyond the standard, annotations have `attributes` as CVAT and Datumaro write them: `instance`, and measurements; an
image has the `sha256` of its picture.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
from pydantic_core import from_json

from dataset_registry.domain.annotations import Box, Geometry, KeyPoints, Mask, Polygon, Shape
from dataset_registry.domain.geometry import Flaw
from dataset_registry.domain.interchange import (
    LabelledImage,
    Place,
    Problem,
    Read,
    finite,
    unreadable,
)
from dataset_registry.formats import marks
from dataset_registry.formats.json_stream import Portion, portions
from dataset_registry.formats.marks import Material
from dataset_registry.formats.trees import seekable

NAME = "coco"
_NUMBERS = frozenset({int, float})
"""JSON has no infinity but 1e999, and that lies outside of any image."""


def read(material: Material, files: Sequence[str]) -> Read:
    """Images of these files. Raises Unreadable."""
    for name in files:
        with seekable(material.tree, name) as file:
            yield from _File(name, file).read()


@dataclass(slots=True)
class _Category:
    name: str
    points: list[str] = field(default_factory=list)
    joins: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class _Marks:
    """Where the annotations lie, and to which image each belongs; some 20 bytes for each."""

    owner: array[int] = field(default_factory=lambda: array("L"))
    start: array[int] = field(default_factory=lambda: array("Q"))
    length: array[int] = field(default_factory=lambda: array("L"))
    line: array[int] = field(default_factory=lambda: array("L"))


class _File:
    def __init__(self, name: str, file: IO[bytes]) -> None:
        self._name = name
        self._file = file
        self._categories: dict[int, _Category] = {}
        self._images: list[tuple[str, int, int, str | None, int]] = []  # name, width, height, sha256, line
        self._owners: dict[Any, int] = {}
        self._known: dict[Any, int] = {}
        self._marks = _Marks()
        self._problems: list[Problem] = []

    def read(self) -> Read:
        for portion in portions(self._file, self._name):
            if portion.key == "categories" and not portion.single:
                self._take_categories(portion)
            elif portion.key == "images" and not portion.single:
                self._take_images(portion)
            elif portion.key == "annotations" and not portion.single:
                self._take_annotations(portion)
            yield from self._problems
            self._problems.clear()
        order = np.argsort(np.frombuffer(self._marks.owner, np.uint64), kind="stable")
        yield from self._strays(order)
        yield from self._in_order(order)

    # --- first pass

    def _take_categories(self, portion: Portion) -> None:
        for step, value in enumerate(portion.values):
            place = self._place(portion, step)
            try:
                identity, category = marks.whole(value["id"]), _Category(str(value["name"]))
                category.points = [str(point) for point in value.get("keypoints") or ()]
                category.joins = [
                    (category.points[start - 1], category.points[end - 1])
                    for start, end in value.get("skeleton") or ()
                ]
            except marks.UNREADABLE as error:
                raise unreadable(place, "unreadable-category", marks.trouble(place, error).advice) from error
            if identity in self._categories:
                raise unreadable(
                    place, "duplicate-category", f"Category {identity} is there twice; rename one."
                )
            self._categories[identity] = category

    def _take_images(self, portion: Portion) -> None:
        for step, (value, line) in enumerate(zip(portion.values, portion.lines.tolist(), strict=True)):
            try:
                identity, name = value["id"], value["file_name"]
                width, height = marks.whole(value["width"]), marks.whole(value["height"])
                if not isinstance(name, str) or not name:
                    raise ValueError("file_name is no text")
                if self._known.setdefault(identity, len(self._images)) != len(self._images):
                    raise Flaw("duplicate-image", f"Image {identity} is there twice; give each its own id.")
            except marks.UNREADABLE as error:
                self._problems.append(marks.trouble(self._place(portion, step), error))
                continue
            self._images.append((name, width, height, value.get("sha256"), line))
            self._owners.setdefault(identity, len(self._owners))

    def _take_annotations(self, portion: Portion) -> None:
        owners, found = self._owners, list[int]()
        try:
            for value in portion.values:
                found.append(owners.setdefault(value["image_id"], len(owners)))
        except (KeyError, TypeError) as error:
            place = self._place(portion, len(found))
            raise unreadable(place, "unreadable-annotation", f"It names no image: {error}.") from error
        self._marks.owner.extend(found)
        self._marks.start.frombytes(portion.starts.astype(np.uint64).tobytes())
        self._marks.length.extend((portion.ends - portion.starts).tolist())
        self._marks.line.extend(portion.lines.tolist())

    # --- second pass

    def _strays(self, order: Any) -> Iterator[Problem]:
        """Annotations of images that are not in the file."""
        strays = {owner: identity for identity, owner in self._owners.items() if identity not in self._known}
        if not strays:
            return
        for at in order.tolist():
            if (owner := self._marks.owner[at]) in strays:
                place = Place(self._name, self._marks.line[at], f"annotations[{at}]")
                advice = (
                    f"Image {strays[owner]!r} is not in the list of images; add it, or remove the annotation."
                )
                yield Problem.at(place, "unknown-image", advice)

    def _in_order(self, order: Any) -> Read:
        owners = np.frombuffer(self._marks.owner, np.uint64)[order]
        firsts = np.searchsorted(owners, np.arange(len(self._owners) + 1)).tolist()
        for identity, number in self._known.items():
            name, width, height, sha256, line = self._images[number]
            owner = self._owners[identity]
            shapes: list[Shape] = []
            places: list[Place] = []
            problems: list[Problem] = []
            for at in order[firsts[owner] : firsts[owner + 1]].tolist():
                place = Place(self._name, self._marks.line[at], f"annotations[{at}]")
                try:
                    found = self._shapes(at, len(shapes), width, height)
                except marks.UNREADABLE as error:
                    problems.append(marks.trouble(place, error))
                else:
                    shapes += found
                    places += [place] * len(found)
            place = Place(self._name, line, f"images[{number}]")
            if problems:
                yield from problems
            else:
                yield LabelledImage(
                    name,
                    width,
                    height,
                    (),
                    tuple(shapes),
                    sha256=sha256,
                    place=place,
                    shape_places=tuple(places),
                )

    def _shapes(self, at: int, before: int, width: int, height: int) -> list[Shape]:
        self._file.seek(self._marks.start[at])
        value = from_json(self._file.read(self._marks.length[at]), allow_inf_nan=False)
        category = self._categories.get(value["category_id"])
        if category is None:
            raise Flaw(
                "unknown-category",
                f"Category {value['category_id']!r} is not in the list; add it, or correct the id.",
            )
        attributes = value.get("attributes") or {}
        instance = attributes.get("instance")
        segmentation, figure = value.get("segmentation"), value.get("keypoints")
        geometries: list[Geometry] = []
        if segmentation:
            geometries.append(_segmentation(segmentation, width, height))
            if instance is None and isinstance(geometries[0], Mask) and not value.get("iscrowd"):
                instance = before + 1  # each is a thing of its own
        if figure and any(figure[2::3]):
            geometries.append(_figure(figure, category))
            if len(geometries) > 1 and instance is None:
                instance = before + 1
        if not geometries:
            geometries.append(_box(value["bbox"]))
        measured = marks.measures(attributes) if attributes else ()
        return [
            marks.marked(before + step, category.name, geometry, instance, measured)
            for step, geometry in enumerate(geometries, 1)
        ]

    def _place(self, portion: Portion, step: int) -> Place:
        return Place(self._name, int(portion.lines[step]), f"{portion.key}[{portion.first + step}]")


def _box(value: Any) -> Box:
    if isinstance(value, list) and len(value) == 4 and _NUMBERS.issuperset(map(type, value)):
        return Box(*map(float, value))
    return Box(*(finite(number) for number in value))


def _segmentation(value: Any, width: int, height: int) -> Geometry:
    if isinstance(value, list):
        return Polygon(tuple(marks.ring(points) for points in value))
    rows, columns = (marks.whole(side) for side in value["size"])
    if (rows, columns) != (height, width):
        raise Flaw(
            "mask-of-another-size",
            f"The mask is {columns} x {rows}, the image {width} x {height}; a mask covers the whole image.",
        )
    counts = value["counts"]
    return Mask(rows, columns, counts) if isinstance(counts, str) else marks.runs(counts, rows, columns)


def _figure(value: list[Any], category: _Category) -> KeyPoints:
    triples = list(zip(value[::3], value[1::3], value[2::3], strict=True))
    if len(triples) > len(category.points):
        raise Flaw(
            "unknown-key-point",
            f"It has {len(triples)} key points, the category {category.name} names {len(category.points)}.",
        )
    places = {
        name: (finite(x), finite(y))
        for name, (x, y, seen) in zip(category.points, triples, strict=False)
        if seen
    }
    return marks.key_points(places, category.joins)

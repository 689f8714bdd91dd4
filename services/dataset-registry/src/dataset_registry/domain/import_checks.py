"""What labels from a file must be before they are taken: the same as what a person says here, and of an image that is
there once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import NamedTuple, cast

from dataset_registry.domain.annotations import Annotation, KeyPoints, Shape, Verdict
from dataset_registry.domain.interchange import LabelledImage, Place, Problem, Read
from dataset_registry.domain.labeling_checks import Guide, ImageSize, checked
from dataset_registry.domain.refusals import Refused

LARGEST_SIDE = 100_000
"""Pixels; no camera has more, and a wrong number must not cost memory."""
LONGEST_NAME = 400


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a file is understood.

    Attributes:
        mapping: Class names of the file to names here; a name that is not in it stays as it is.
        guide: The taxonomy that labels are held against.
        unmarked_is_good: Whether an image of which nothing is said is good; else it comes in without a label.
        context: What is known of every image that does not say it itself.
    """

    mapping: Mapping[str, str] = field(default_factory=dict)
    guide: Guide = field(default_factory=Guide)
    unmarked_is_good: bool = True
    context: Mapping[str, str] = field(default_factory=dict)


class Examined(NamedTuple):
    """An image whose label is in order.

    Attributes:
        annotation: None where nothing is said of it.
    """

    image: LabelledImage
    annotation: Annotation | None


def examined(items: Read, wanted: Wanted) -> Iterator[Examined | Problem]:
    """Images in order, their classes mapped and their shapes fitted and measured; for the others what is wrong.

    A name that occurs twice is a problem of the second one: nobody can tell which of the two counts.
    """
    seen: dict[str, Place] = {}
    for item in items:
        if isinstance(item, Problem):
            yield item
            continue
        flaw = _flaw(item, wanted)
        first = seen.setdefault(item.name, item.place)
        if flaw is not None:
            yield Problem.at(item.place, *flaw)
        elif first is not item.place:
            yield Problem.at(
                item.place,
                "duplicate-name",
                f"{item.name} stands there already ({_shown(first)}); leave one of the two, or rename it.",
            )
        else:
            yield from _examined(item, wanted)


def _examined(image: LabelledImage, wanted: Wanted) -> Iterator[Examined | Problem]:
    said = _said(image, wanted)
    if said is None:
        yield Examined(image, None)
        return
    try:
        yield Examined(
            image, checked(said, wanted.guide, ImageSize(image.width, image.height, _scale(image, wanted)))
        )
    except Refused as refused:
        places = {shape.shape_id: _place(image, at) for at, shape in enumerate(image.shapes)}
        for problem in cast(list[dict[str, str]], refused.more["problems"]):
            place = places.get(problem["shape_id"], image.place)
            yield Problem.at(place, problem["reason"], f"{image.name}: {problem['advice']}")


def _place(image: LabelledImage, at: int) -> Place:
    """Where a shape stands."""
    if image.shape_places:
        return image.shape_places[at]
    return replace(image.place, where=f"{image.place.where} shape {at + 1}".strip())


def _flaw(image: LabelledImage, wanted: Wanted) -> tuple[str, str] | None:
    if not 0 < image.width <= LARGEST_SIDE or not 0 < image.height <= LARGEST_SIDE:
        size = f"{image.width} x {image.height}"
        return "size-of-image", f"{image.name} is said to have {size} pixels; write its true size."
    for name in _names(image):
        if not name.isprintable() or not 0 < len(name.strip()) <= LONGEST_NAME:
            return "unusable-name", f"{name[:60]!r} is no name; use 1 to {LONGEST_NAME} printable characters."
    try:
        _scale(image, wanted)
    except ValueError:
        return "unusable-context", f"mm_per_pixel of {image.name} is no size of a pixel; correct it."
    return None


def _names(image: LabelledImage) -> Iterator[str]:
    yield image.name
    yield from image.classes
    for shape in image.shapes:
        yield shape.shape_id
        yield shape.class_name
        if isinstance(shape.geometry, KeyPoints):
            yield from (name for name, _ in shape.geometry.points)


def _said(image: LabelledImage, wanted: Wanted) -> Annotation | None:
    mapping = wanted.mapping
    classes = tuple(mapping.get(name, name) for name in image.classes)
    if not classes and not image.shapes:
        if not wanted.unmarked_is_good:
            return None
        classes = (wanted.guide.good_class,)
    shapes = image.shapes
    if mapping:
        shapes = tuple(_renamed(shape, mapping) for shape in shapes)
    return Annotation(Verdict.LABELED, classes, shapes)


def _renamed(shape: Shape, mapping: Mapping[str, str]) -> Shape:
    name = mapping.get(shape.class_name, shape.class_name)
    return shape if name == shape.class_name else replace(shape, class_name=name)


def _scale(image: LabelledImage, wanted: Wanted) -> float | None:
    text = image.context.get("mm_per_pixel") or wanted.context.get("mm_per_pixel")
    return scale(text) if text else None


def scale(text: str) -> float:
    """Millimetres for a pixel. Raises ValueError for what is no such number."""
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"mm_per_pixel is {text!r}, which is no size of a pixel")
    return value


def moment(text: str) -> datetime:
    """A time; without a zone it is UTC. Raises ValueError."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _shown(place: Place) -> str:
    line = "" if place.line is None else f", line {place.line}"
    return f"{place.file}{line} {place.where}".strip()

"""Datumaro, JSON: https://openvinotoolkit.github.io/datumaro/ (the `datumaro` format).

`group` says which annotations are one thing, labels are classes of the image. Points are figures whose names stand in
the categories.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dataset_registry.domain.annotations import Box, Geometry, KeyPoints, Mask, Polygon, Shape
from dataset_registry.domain.geometry import Flaw
from dataset_registry.domain.interchange import (
    LabelledImage,
    Losses,
    Place,
    Problem,
    Read,
    Vocabulary,
    finite,
    unreadable,
)
from dataset_registry.formats import marks
from dataset_registry.formats.json_stream import Element, elements
from dataset_registry.formats.marks import Material, Size
from dataset_registry.formats.trees import is_picture
from dataset_registry.formats.writing import Part, as_json, plain, stem

NAME = "datumaro"
FILE = "annotations/default.json"


@dataclass(slots=True)
class _Categories:
    labels: list[str] = field(default_factory=list)
    points: dict[int, list[str]] = field(default_factory=dict)
    joins: dict[int, list[tuple[str, str]]] = field(default_factory=dict)

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> _Categories:
        made = cls([str(label["name"]) for label in (value.get("label") or {}).get("labels") or ()])
        for item in (value.get("points") or {}).get("items") or ():
            names = [str(name) for name in item["labels"]]
            made.points[item["label_id"]] = names
            made.joins[item["label_id"]] = [
                (names[start - 1], names[end - 1]) for start, end in item.get("joints") or ()
            ]
        return made


def read(material: Material, files: Sequence[str]) -> Read:
    """Images of these files. Raises Unreadable."""
    for name in files:
        categories: _Categories | None = None
        with material.tree.open(name) as file:
            for element in elements(file, name):
                if element.key == "categories":
                    try:
                        categories = _Categories.of(element.value)
                    except marks.UNREADABLE as error:
                        raise unreadable(
                            element.place, "unreadable-category", marks.trouble(element.place, error).advice
                        ) from error
                elif element.key == "items":
                    if categories is None:
                        raise unreadable(
                            element.place, "classes-missing", "Its categories must stand before its items."
                        )
                    yield from _item(material, element, categories)


def _item(material: Material, element: Element, categories: _Categories) -> Read:
    item, place = element.value, element.place
    try:
        picture = item.get("image") or item.get("media") or {}
        name = str(picture.get("path") or item["id"])
        name = name if is_picture(name) else material.named(name) or f"{name}.png"
        size = _size(picture) or material.size(name)
        if size is None:
            raise Flaw("size-of-image", f"{name} has no size, and its picture is not known here.")
        annotations = list(item.get("annotations") or ())
    except marks.UNREADABLE as error:
        yield marks.trouble(place, error)
        return
    classes, shapes, problems = list[str](), list[Shape](), list[Problem]()
    for at, annotation in enumerate(annotations):
        try:
            number = marks.whole(annotation["label_id"])
            if not 0 <= number < len(categories.labels):
                raise Flaw("unknown-category", f"Label {number} is not in the categories; correct it.")
            if annotation["type"] == "label":
                classes.append(categories.labels[number])
                continue
            geometry = _geometry(annotation, number, categories)
            shapes.append(
                marks.marked(
                    len(shapes) + 1,
                    categories.labels[number],
                    geometry,
                    annotation.get("group") or None,
                    marks.measures(annotation.get("attributes") or {}),
                )
            )
        except marks.UNREADABLE as error:
            where = f"{place.where}.annotations[{at}]"
            problems.append(marks.trouble(Place(place.file, place.line, where), error))
    if problems:
        yield from problems
    else:
        yield LabelledImage(name, *size, tuple(classes), tuple(shapes), place=place)


def _size(picture: Mapping[str, Any]) -> Size | None:
    if not (size := picture.get("size")):
        return None
    height, width = size
    return Size(marks.whole(width), marks.whole(height))


def _geometry(annotation: Mapping[str, Any], number: int, categories: _Categories) -> Geometry:
    match annotation["type"]:
        case "bbox":
            return Box(*(finite(value) for value in annotation["bbox"]))
        case "polygon":
            return Polygon((marks.ring(annotation["points"]),))
        case "mask":
            height, width = (marks.whole(side) for side in annotation["rle"]["size"])
            return Mask(height, width, str(annotation["rle"]["counts"]))
        case "points":
            places = marks.ring(annotation["points"])
            seen = annotation.get("visibility") or [2] * len(places)
            names = categories.points.get(number) or [str(at) for at in range(1, len(places) + 1)]
            named = {name: point for name, point, visible in zip(names, places, seen, strict=True) if visible}
            return marks.key_points(named, categories.joins.get(number, ()))
    raise Flaw(
        "unsupported-shape",
        f"A {annotation['type']} has no place here; convert it to a box, polygon or mask.",
    )


# --- out


def write(images: Iterable[LabelledImage], words: Vocabulary, losses: Losses) -> Iterator[Part]:
    """One file with all images."""
    numbers = words.number()
    head = {"info": {}, "categories": _categories(words, numbers)}
    yield Part(FILE, as_json(head)[:-1] + b',"items":[')
    for at, image in enumerate(images):
        marks.lost(image, losses, holds=("image-class", "instance", "measurements"))
        annotations: list[dict[str, Any]] = [
            _annotation(numbers[name], "label", None, ()) for name in image.classes
        ]
        annotations += [_shape(shape, image, numbers, words, losses) for shape in image.shapes]
        for number, annotation in enumerate(annotations):
            annotation["id"] = number
        item = {
            "id": stem(image.name),
            "annotations": annotations,
            "attr": {},
            "image": {"path": image.name, "size": [image.height, image.width]},
        }
        yield Part(FILE, (b"," if at else b"") + as_json(item))
    yield Part(FILE, b"]}")


def _categories(words: Vocabulary, numbers: Mapping[str, int]) -> dict[str, Any]:
    labels = [{"name": name, "parent": "", "attributes": []} for name in words.classes]
    made: dict[str, Any] = {"label": {"labels": labels, "attributes": []}}
    if words.points:
        items = []
        for name, points in words.points.items():
            place = {point: at for at, point in enumerate(points, 1)}
            joints = [[place[start], place[end]] for start, end in words.joins.get(name, ())]
            items.append({"label_id": numbers[name], "labels": list(points), "joints": joints})
        made["points"] = {"attributes": [], "items": sorted(items, key=lambda item: item["label_id"])}
    return made


def _annotation(
    number: int, kind: str, group: int | None, measurements: Iterable[tuple[str, float]]
) -> dict[str, Any]:
    return {"id": 0, "type": kind, "attributes": dict(measurements), "group": group or 0, "label_id": number}


def _shape(
    shape: Shape, image: LabelledImage, numbers: Mapping[str, int], words: Vocabulary, losses: Losses
) -> dict[str, Any]:
    geometry = shape.geometry

    def row(kind: str) -> dict[str, Any]:
        return _annotation(numbers[shape.class_name], kind, shape.instance, shape.measurements) | {
            "z_order": 0
        }

    if isinstance(geometry, Polygon) and len(geometry.rings) > 1:
        losses.add("polygon-with-holes-as-mask")
        geometry = marks.mask(marks.pixels(geometry, image.width, image.height))
    match geometry:
        case Box(x, y, width, height):
            return row("bbox") | {"bbox": [x, y, width, height]}
        case Polygon(rings):
            return row("polygon") | {"points": [plain(value) for value in marks.flat(rings[0])]}
        case Mask(height=height, width=width, counts=counts):
            return row("mask") | {"rle": {"counts": counts, "size": [height, width]}}
        case KeyPoints(points, joins):
            places = dict(points)
            names = words.points[shape.class_name]
            drawn = {join for join in words.joins.get(shape.class_name, ()) if places.keys() >= set(join)}
            losses.add("joins", int(drawn != set(joins)))
            flat = [value for name in names for value in places.get(name, (0.0, 0.0))]
            return row("points") | {
                "points": flat,
                "visibility": [2 if name in places else 0 for name in names],
            }

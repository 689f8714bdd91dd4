"""YOLO as Ultralytics reads it: `data.yaml`, `images/...`, `labels/...` with a text file for each image.

A line is `class cx cy width height` (a box) or `class x1 y1 x2 y2 x3 y3 ...` (a polygon), all as shares of the image.
An image without a text file shows nothing that is marked, as with an empty one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import yaml

from dataset_registry.domain.annotations import Box, Geometry, Polygon, Shape
from dataset_registry.domain.geometry import Flaw
from dataset_registry.domain.interchange import (
    LabelledImage,
    Losses,
    Place,
    Problem,
    Read,
    Vocabulary,
    unreadable,
)
from dataset_registry.formats import marks
from dataset_registry.formats.marks import Material, Size
from dataset_registry.formats.text import MOST_BYTES, lines
from dataset_registry.formats.trees import Tree, is_picture
from dataset_registry.formats.trees import read as read_file
from dataset_registry.formats.writing import Part, stem
from dataset_registry.formats.xml_stream import number

DETECTION, SEGMENTATION = "yolo", "yolo-segmentation"
_LISTS = ("classes.txt", "obj.names")
_DIGITS = 6
"""Of a pixel; shares are written with more."""


def read(material: Material, files: Sequence[str]) -> Read:
    """Images of the tree, by name. Raises Unreadable."""
    names = _names(material.tree)
    labels = {_without("labels", stem(path)): path for path in _label_files(material.tree)}
    pictures = {_without("images", stem(path)): path for path in material.tree.names if is_picture(path)}
    for key in sorted(labels.keys() | pictures.keys()):
        name = pictures.get(key) or material.named(key)
        file = labels.get(key)
        size = material.size(name) if name else None
        if size is None or name is None:
            advice = "Its picture is not in the archive ; add it: shares need the size of the image."
            yield Problem(file or name or key, None, "", "picture-missing", advice)
            continue
        called = _without("images", name)
        yield from (
            _image(material.tree, called, file, size, names)
            if file
            else [LabelledImage(called, *size, place=Place(name))]
        )


def _image(tree: Tree, name: str, file: str, size: Size, names: dict[int, str]) -> Read:
    shapes, places, problems = list[Shape](), list[Place](), list[Problem]()
    for at, line in lines(tree, file):
        try:
            kind, *numbers = line.split()
            class_name = names.get(marks.whole(kind))
            if class_name is None:
                raise Flaw(
                    "unknown-class",
                    f"Class {kind} is not in the list of names; add it, or correct the number.",
                )
            geometry = _geometry([number(word) for word in numbers], size)
            shapes.append(marks.marked(len(shapes) + 1, class_name, geometry))
            places.append(Place(file, at))
        except marks.UNREADABLE as error:
            problems.append(marks.trouble(Place(file, at), error))
    if problems:
        yield from problems
    else:
        yield LabelledImage(name, *size, (), tuple(shapes), place=Place(file), shape_places=tuple(places))


def _geometry(shares: list[float], size: Size) -> Geometry:
    if len(shares) == 4:
        x, y, across, down = shares
        left, top = (x - across / 2) * size.width, (y - down / 2) * size.height
        return Box(*(round(value, _DIGITS) for value in (left, top, across * size.width, down * size.height)))
    if len(shares) < 6:
        raise Flaw(
            "unreadable-line", "A line has a class and four numbers, or six and more; this one has others."
        )
    points = marks.ring(shares)
    return Polygon(
        (tuple((round(x * size.width, _DIGITS), round(y * size.height, _DIGITS)) for x, y in points),)
    )


def _without(folder: str, path: str) -> str:
    """The path without the first folder of that name: what a picture and its text file have in common."""
    parts = path.split("/")
    if folder in parts[:-1]:
        parts.remove(folder)
    return "/".join(parts)


def _label_files(tree: Tree) -> Iterator[str]:
    beside = {stem(path) for path in tree.names if is_picture(path)}
    for path in tree.names:
        folders = path.split("/")
        if (
            path.endswith(".txt")
            and folders[-1] not in _LISTS
            and ("labels" in folders[:-1] or stem(path) in beside)
        ):
            yield path


def _names(tree: Tree) -> dict[int, str]:
    for path in tree.names:
        last = path.rsplit("/", 1)[-1]
        if last in _LISTS:
            return {at: text for at, (_, text) in enumerate(lines(tree, path))}
        if last in ("data.yaml", "data.yml", "dataset.yaml"):
            return _declared(path, read_file(tree, path, MOST_BYTES))
    raise unreadable(
        Place("data.yaml"), "classes-missing", "No data.yaml or classes.txt names the classes; add one."
    )


def _declared(path: str, data: bytes) -> dict[int, str]:
    try:
        given: Any = yaml.load(data, _Loader)
        if "kpt_shape" in given:
            raise unreadable(
                Place(path),
                "unsupported-shape",
                "Its key points have no names in this format; export them as COCO.",
            )
        names = given["names"]
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        return {marks.whole(at): str(name) for at, name in pairs}
    except (yaml.YAMLError, *marks.UNREADABLE) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", -1) + 1
        advice = f"It must have `names`, a list or numbers to names: {error}"
        raise unreadable(Place(path, line or None), "unreadable-classes", advice) from error


class _Loader(yaml.SafeLoader):
    """No aliases: they are how a small file becomes a large one."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases are not read here")
        return super().compose_node(parent, index)


# --- out


def write_boxes(images: Iterable[LabelledImage], words: Vocabulary, losses: Losses) -> Iterator[Part]:
    """Detection: every shape as its box."""
    return _write(images, words, losses, segmentation=False)


def write_polygons(images: Iterable[LabelledImage], words: Vocabulary, losses: Losses) -> Iterator[Part]:
    """Segmentation: every shape as its outline."""
    return _write(images, words, losses, segmentation=True)


def _write(
    images: Iterable[LabelledImage], words: Vocabulary, losses: Losses, *, segmentation: bool
) -> Iterator[Part]:
    numbers = words.number()
    declared = {
        "path": ".",
        "train": "images",
        "val": "images",
        "names": {at: name for name, at in numbers.items()},
    }
    yield Part("data.yaml", yaml.safe_dump(declared, sort_keys=False, allow_unicode=True).encode())
    for image in images:
        marks.lost(image, losses)
        written = []
        for shape in image.shapes:
            kind = numbers[shape.class_name]
            if segmentation:
                for ring in marks.outlined(shape.geometry, image, losses):
                    shares = [value for x, y in ring for value in (x / image.width, y / image.height)]
                    written.append(_line(kind, shares))
            elif box := marks.boxed(shape.geometry, losses):
                x, y = box.x + box.width / 2, box.y + box.height / 2
                shares = [
                    x / image.width,
                    y / image.height,
                    box.width / image.width,
                    box.height / image.height,
                ]
                written.append(_line(kind, shares))
        yield Part(f"labels/{stem(image.name)}.txt", "".join(written).encode())


def _line(kind: int, shares: list[float]) -> str:
    return f"{kind} {' '.join(f'{share:.12g}' for share in shares)}\n"

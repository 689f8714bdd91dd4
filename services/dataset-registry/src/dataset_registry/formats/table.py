"""Plain CSV, UTF-8 with commas and a header, a line for each shape and for each class of an image.

| column | |
| --- | --- |
| `image`, `width`, `height` | name and size in pixels; lines of one image follow one another |
| `class` | empty on the only line of an image of which nothing is said |
| `kind` | empty: a class of the image as a whole; or `box`, `polygon`, `mask`, `key-points` |
| `x`, `y`, `box_width`, `box_height` | of a box, in pixels |
| `geometry` | of the other kinds, JSON: see below |
| `shape`, `instance`, `measurements` | name of the shape, number of the thing, JSON with values by name; optional |
| `sha256` | of the picture; optional |
| `context.line`, `context.station`, ... | what is known of the making of the image; optional |

Geometry: `{"rings": [[[x, y], ...]]}`, `{"size": [height, width], "counts": "..."}` in COCO's compressed text, or
`{"points": {"start": [x, y]}, "joins": [["start", "end"]]}`. It holds everything but whose mark a shape was at first.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, cast

from dataset_registry.adapters.shapes_json import shape_from_json, shape_to_json
from dataset_registry.domain.annotations import Box, Geometry, Shape
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
from dataset_registry.formats.marks import Material
from dataset_registry.formats.text import buffered, streamed
from dataset_registry.formats.writing import Part, as_json, plain
from dataset_registry.formats.xml_stream import number

NAME = "csv"
FILE = "annotations.csv"
NEEDED = ("image", "width", "height", "class", "kind")
_BOX = ("x", "y", "box_width", "box_height")
_MORE = ("geometry", "shape", "instance", "measurements", "sha256")
_CONTEXT = "context."
Line = tuple[int, dict[str, str]]


def read(material: Material, files: Sequence[str]) -> Read:
    """Images of these files. Raises Unreadable."""
    for name in files:
        with material.tree.open(name) as raw:
            for _, rows in groupby(
                _lines(name, streamed(buffered(raw), name)), lambda line: line[1]["image"]
            ):
                yield from _image(name, list(rows))


def _lines(file: str, texts: Iterator[str]) -> Iterator[Line]:
    reader = csv.reader(texts, strict=True)
    try:
        header = next(reader, [])
        missing = [column for column in NEEDED if column not in header]
        if missing:
            advice = f"The header has no {', '.join(missing)}; columns are separated by commas."
            raise unreadable(Place(file, 1), "columns-missing", advice)
        for values in reader:
            if len(values) != len(header):
                advice = (
                    f"The line has {len(values)} columns, the header {len(header)}; quote texts with commas."
                )
                raise unreadable(Place(file, reader.line_num), "unreadable-line", advice)
            yield reader.line_num, dict(zip(header, values, strict=True))
    except csv.Error as error:
        raise unreadable(
            Place(file, reader.line_num), "unreadable-line", f"It is no CSV: {error}."
        ) from error


def _image(file: str, rows: list[Line]) -> Read:
    first, row = rows[0]
    classes, shapes, problems = list[str](), list[Shape](), list[Problem]()
    size, place, places = (0, 0), Place(file, first), list[Place]()
    for line, row in rows:
        try:
            size = (marks.whole(row["width"]), marks.whole(row["height"]))
            if row["kind"]:
                shapes.append(_shape(len(shapes) + 1, row))
                places.append(Place(file, line))
            elif row["class"]:
                classes.append(row["class"])
            elif len(rows) > 1:
                raise Flaw("class-missing", "It has no class; name one, or remove the line.")
        except marks.UNREADABLE as error:
            problems.append(marks.trouble(Place(file, line), error))
    context = {
        column.removeprefix(_CONTEXT): value
        for column, value in row.items()
        if column.startswith(_CONTEXT) and value
    }
    if problems:
        yield from problems
    else:
        sha256 = row.get("sha256") or None
        yield LabelledImage(
            row["image"], *size, tuple(classes), tuple(shapes), context, sha256, place, tuple(places)
        )


def _shape(at: int, row: Mapping[str, str]) -> Shape:
    instance = row.get("instance") or None
    measured = marks.measures(json.loads(row.get("measurements") or "{}"))
    made = marks.marked(at, row["class"], _geometry(row), instance and marks.whole(instance), measured)
    return marks.named(made, row["shape"]) if row.get("shape") else made


def _geometry(row: Mapping[str, str]) -> Geometry:
    if row["kind"] == "box":
        return Box(*(number(row[column]) for column in _BOX))
    if row["kind"] not in ("polygon", "mask", "key-points"):
        raise Flaw("unsupported-shape", f"{row['kind']} is no kind; take box, polygon, mask or key-points.")
    document = json.loads(row["geometry"])
    return shape_from_json(document | {"shape_id": "", "class_name": "", "kind": row["kind"]}).geometry


# --- out


def write(images: Iterable[LabelledImage], words: Vocabulary, losses: Losses) -> Iterator[Part]:
    """One file with all images."""
    context = [f"{_CONTEXT}{name}" for name in words.context]
    yield Part(FILE, _text([[*NEEDED, *_BOX, *_MORE, *context]]))
    for image in images:
        marks.lost(image, losses, holds=("context", "image-class", "instance", "measurements", "shape-id"))
        about = [image.sha256 or "", *(image.context.get(name, "") for name in words.context)]
        whole: list[Any] = [image.name, image.width, image.height]
        lines = [[*whole, name, "", *[""] * 8, *about] for name in image.classes]
        lines += [[*whole, *_written(shape), *about] for shape in image.shapes]
        yield Part(FILE, _text(lines or [[*whole, "", "", *[""] * 8, *about]]))


def _written(shape: Shape) -> list[Any]:
    row = shape_to_json(shape)
    box, geometry = [""] * 4, ""
    if isinstance(shape.geometry, Box):
        box = cast(list[str], [plain(value) for value in row["box"]])
    else:
        fields = ("rings", "size", "counts", "points", "joins")
        geometry = as_json({name: row[name] for name in fields if name in row}).decode()
    measured = as_json(row["measurements"]).decode() if shape.measurements else ""
    instance = "" if shape.instance is None else shape.instance
    return [shape.class_name, row["kind"], *box, geometry, shape.shape_id, instance, measured]


def _text(rows: list[list[Any]]) -> bytes:
    held = io.StringIO()
    csv.writer(held, lineterminator="\n").writerows(rows)
    return held.getvalue().encode()

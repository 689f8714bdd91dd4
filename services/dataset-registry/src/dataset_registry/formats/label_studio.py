"""Label Studio, JSON: RectangleLabels, PolygonLabels, BrushLabels, KeyPointLabels and Choices of one image.

Coordinates are percent of the image. What the format has no field for stands in `meta`, which Label Studio keeps: the
instance, measurements, and which key points are one figure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from dataset_registry.domain.annotations import Box, Geometry, KeyPoints, Mask, Point, Polygon, Shape
from dataset_registry.domain.geometry import Flaw
from dataset_registry.domain.interchange import (
    LabelledImage,
    Losses,
    Read,
    Vocabulary,
    finite,
)
from dataset_registry.formats import brush, marks
from dataset_registry.formats.cvat import turned
from dataset_registry.formats.json_stream import Element, elements
from dataset_registry.formats.marks import Material, Size
from dataset_registry.formats.trees import is_picture
from dataset_registry.formats.writing import Part, as_json

NAME = "label-studio"
FILE = "tasks.json"
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")
_DIGITS = 6
"""Of a pixel; percents are written with more."""


def read(material: Material, files: Sequence[str]) -> Read:
    """One image for each task. Raises Unreadable."""
    for name in files:
        with material.tree.open(name) as file:
            for element in elements(file, name):
                yield from _task(material, element)


def _task(material: Material, element: Element) -> Read:
    place, task = element.place, element.value
    try:
        name = _name(task["data"])
        results = _answer(task)
        size = _size(results) or material.size(name)
        if size is None:
            raise Flaw(
                "size-of-image", f"{name} has no marks that say its size, and its picture is not known here."
            )
        shapes, classes = _Answer(size).read(results)
    except marks.UNREADABLE as error:
        yield marks.trouble(place, error)
    else:
        yield LabelledImage(name, *size, tuple(classes), tuple(shapes), place=place)


def _name(data: dict[str, Any]) -> str:
    pictures = [
        value for value in data.values() if isinstance(value, str) and is_picture(value.split("?d=")[-1])
    ]
    url = data.get("image") or (pictures[0] if len(pictures) == 1 else None)
    if not isinstance(url, str) or not url:
        raise Flaw(
            "picture-missing",
            "The task has no `image`, or several pictures; there is one image for each task.",
        )
    parts = urlsplit(url)
    if parts.path == "/data/local-files/":
        return unquote(parse_qs(parts.query)["d"][0])
    if parts.scheme or parts.path.startswith("/"):
        last = unquote(parts.path.rsplit("/", 1)[-1])
        return _UPLOADED.sub("", last) if parts.path.startswith("/data/upload/") else last
    return url


def _answer(task: dict[str, Any]) -> list[Any]:
    given = [answer for answer in task.get("annotations") or () if not answer.get("was_cancelled")]
    chosen = [answer for answer in given if answer.get("ground_truth")] or given
    if not chosen:
        raise Flaw("not-annotated", "Nobody has annotated the task; export annotated tasks only.")
    if len(chosen) > 1:
        raise Flaw(
            "several-annotations",
            f"{len(chosen)} annotations of the task stand side by side; mark the one that counts as ground truth.",
        )
    return list(chosen[0]["result"])


def _size(results: list[Any]) -> Size | None:
    sizes = {
        Size(marks.whole(result["original_width"]), marks.whole(result["original_height"]))
        for result in results
        if "original_width" in result
    }
    if len(sizes) > 1:
        raise Flaw("size-of-image", "Its marks name different sizes of the image; export it again.")
    return next(iter(sizes), None)


class _Answer:
    def __init__(self, size: Size) -> None:
        self._size = size
        self._classes: list[str] = []
        self._shapes: list[Shape] = []
        self._points: dict[str, tuple[str, dict[str, Point], dict[str, Any]]] = {}

    def read(self, results: list[Any]) -> tuple[list[Shape], list[str]]:
        for result in results:
            self._take(result)
        for shape_id, (label, places, meta) in self._points.items():
            joins = [(start, end) for start, end in meta.get("joins") or ()]
            self._add(shape_id, label, marks.key_points(places, joins), meta)
        return self._shapes, self._classes

    def _take(self, result: dict[str, Any]) -> None:
        kind, value, meta = result["type"], result.get("value") or {}, result.get("meta") or {}
        if kind == "choices":
            self._classes += [str(choice) for choice in value["choices"]]
            return
        geometry = self._geometry(kind, value)
        labels = value.get(kind) or value.get("labels") or []
        if len(labels) != 1:
            raise Flaw("class-missing", f"A mark has {len(labels)} labels; it needs one.")
        shape_id = str(result.get("id") or len(self._shapes) + 1)
        if isinstance(geometry, Box | Polygon | Mask):
            self._add(shape_id, str(labels[0]), geometry, meta)
        else:
            _, places, _ = self._points.setdefault(
                str(meta.get("figure", shape_id)), (str(labels[0]), {}, meta)
            )
            places[str(meta.get("point", "point"))] = geometry

    def _add(self, shape_id: str, label: str, geometry: Geometry, meta: dict[str, Any]) -> None:
        measured = marks.measures(meta.get("measurements") or {})
        made = marks.marked(len(self._shapes) + 1, label, geometry, meta.get("instance"), measured)
        self._shapes.append(marks.named(made, shape_id))

    def _geometry(self, kind: str, value: dict[str, Any]) -> Box | Polygon | Mask | Point:
        width, height = self._size
        match kind:
            case "rectanglelabels" | "rectangle":
                left, top = self._point(value["x"], value["y"])
                across, down = self._point(value["width"], value["height"])
                box, angle = Box(left, top, across, down), finite(value.get("rotation") or 0)
                return turned(box, angle, left, top) if angle else box
            case "polygonlabels" | "polygon":
                return Polygon((tuple(self._point(x, y) for x, y in value["points"]),))
            case "brushlabels" | "brush":
                if width * height > marks.MOST_PIXELS:
                    raise Flaw("size-of-image", f"{width} x {height} are too many pixels for a mask.")
                return marks.mask(brush.unpack(value["rle"], height, width))
            case "keypointlabels" | "keypoint":
                return self._point(value["x"], value["y"])
        raise Flaw(
            "unsupported-shape",
            f"{kind} has no place here; export boxes, polygons, brush marks, points and choices.",
        )

    def _point(self, x: Any, y: Any) -> Point:
        return (
            round(finite(x) * self._size.width / 100, _DIGITS),
            round(finite(y) * self._size.height / 100, _DIGITS),
        )


# --- out


def write(images: Iterable[LabelledImage], words: Vocabulary, losses: Losses) -> Iterator[Part]:
    """One file with a task for each image."""
    yield Part(FILE, b"[")
    for number, image in enumerate(images, 1):
        marks.lost(image, losses, holds=("image-class", "instance", "measurements", "shape-id"))
        results = [result for shape in image.shapes for result in _results(shape, image, losses)]
        if image.classes:
            results.append(_result("classes", "class", "choices", {"choices": list(image.classes)}, image))
        task = {
            "id": number,
            "data": {"image": image.name},
            "annotations": [{"id": number, "result": results}],
        }
        yield Part(FILE, (b"," if number > 1 else b"") + as_json(task))
    yield Part(FILE, b"]")


def _results(shape: Shape, image: LabelledImage, losses: Losses) -> Iterator[dict[str, Any]]:
    geometry, label = shape.geometry, [shape.class_name]
    meta: dict[str, Any] = {}
    if shape.instance is not None:
        meta["instance"] = shape.instance
    if shape.measurements:
        meta["measurements"] = dict(shape.measurements)
    if isinstance(geometry, Polygon) and len(geometry.rings) > 1:
        losses.add("polygon-with-holes-as-mask")
        geometry = marks.mask(marks.pixels(geometry, image.width, image.height))
    match geometry:
        case Box(x, y, width, height):
            (left, top), (across, down) = _percent((x, y), image), _percent((width, height), image)
            value = {
                "x": left,
                "y": top,
                "width": across,
                "height": down,
                "rotation": 0,
                "rectanglelabels": label,
            }
            yield _result(shape.shape_id, "label", "rectanglelabels", value, image, meta)
        case Polygon(rings):
            points = [_percent(point, image) for point in rings[0]]
            value = {"points": points, "closed": True, "polygonlabels": label}
            yield _result(shape.shape_id, "label", "polygonlabels", value, image, meta)
        case Mask():
            packed = brush.pack(marks.pixels(geometry, image.width, image.height))
            value = {"format": "rle", "rle": packed, "brushlabels": label}
            yield _result(shape.shape_id, "label", "brushlabels", value, image, meta)
        case KeyPoints(points=named, joins=joins):
            meta |= {"figure": shape.shape_id, "joins": [list(join) for join in joins]}
            for name, point in named:
                left, top = _percent(point, image)
                value = {"x": left, "y": top, "width": 0.5, "keypointlabels": label}
                more = meta | {"point": name}
                yield _result(f"{shape.shape_id}.{name}", "label", "keypointlabels", value, image, more)


def _result(
    name: str,
    source: str,
    kind: str,
    value: dict[str, Any],
    image: LabelledImage,
    meta: dict[str, Any] | None = None,
) -> dict[str, Any]:
    row = {
        "id": name,
        "from_name": source,
        "to_name": "image",
        "type": kind,
        "original_width": image.width,
        "original_height": image.height,
        "image_rotation": 0,
        "value": value,
    }
    return row | {"meta": meta} if meta else row


def _percent(point: Point, image: LabelledImage) -> list[float]:
    return [point[0] * 100 / image.width, point[1] * 100 / image.height]

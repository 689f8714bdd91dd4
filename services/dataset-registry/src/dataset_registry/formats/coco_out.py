"""COCO on its way out: one file, whatever the number of images."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dataset_registry.domain.annotations import KeyPoints, Mask, Polygon, Shape
from dataset_registry.domain.geometry import area, bounds
from dataset_registry.domain.interchange import LabelledImage, Losses, Vocabulary
from dataset_registry.formats import marks
from dataset_registry.formats.writing import Part, as_json, plain

FILE = "annotations.json"
_AT_ONCE = 2_000
"""Annotations that are written together."""
_HELD = 16 << 20
"""Bytes of the list of images that wait in memory; more wait in a file."""


def write(images: Iterable[LabelledImage], words: Vocabulary, losses: Losses) -> Iterator[Part]:
    """One file with all images."""
    numbers = {name: number + 1 for name, number in words.number().items()}
    yield Part(FILE, b'{"info":{"description":"Andonloop export","version":"1"},"licenses":[],"categories":[')
    yield Part(FILE, b",".join(as_json(_category(name, number, words)) for name, number in numbers.items()))
    yield Part(FILE, b'],"annotations":[')
    with tempfile.SpooledTemporaryFile(_HELD) as listed:
        first, annotation_id = True, 0
        waiting: list[dict[str, Any]] = []
        for image_id, image in enumerate(images, 1):
            row: dict[str, Any] = {"id": image_id, "file_name": image.name}
            row |= {"width": image.width, "height": image.height}
            if image.sha256:
                row["sha256"] = image.sha256
            listed.write((b"," if image_id > 1 else b"") + as_json(row))
            marks.lost(image, losses, holds=("instance", "measurements"))
            for shape in image.shapes:
                annotation_id += 1
                waiting.append(_annotation(annotation_id, image_id, image, shape, numbers, words, losses))
            if len(waiting) >= _AT_ONCE:
                yield Part(FILE, _joined(waiting, first))
                first = False
                waiting = []
        if waiting:
            yield Part(FILE, _joined(waiting, first))
        yield Part(FILE, b'],"images":[')
        listed.seek(0)
        while chunk := listed.read(1 << 16):
            yield Part(FILE, chunk)
    yield Part(FILE, b"]}")


def _joined(rows: list[dict[str, Any]], first: bool) -> bytes:
    return (b"" if first else b",") + as_json(rows)[1:-1]


def _category(name: str, number: int, words: Vocabulary) -> dict[str, Any]:
    row: dict[str, Any] = {"id": number, "name": name, "supercategory": ""}
    if points := words.points.get(name):
        at = {point: place for place, point in enumerate(points, 1)}
        row |= {
            "keypoints": list(points),
            "skeleton": [[at[start], at[end]] for start, end in words.joins.get(name, ())],
        }
    return row


def _annotation(
    annotation_id: int,
    image_id: int,
    image: LabelledImage,
    shape: Shape,
    numbers: Mapping[str, int],
    words: Vocabulary,
    losses: Losses,
) -> dict[str, Any]:
    geometry, more = shape.geometry, dict[str, Any]()
    segmentation: Any = []
    crowd = 0
    match geometry:
        case Polygon(rings) if not marks.nested(rings):
            segmentation = [[plain(value) for value in marks.flat(points)] for points in rings]
        case Polygon():
            losses.add("polygon-with-holes-as-mask")
            geometry = marks.mask(marks.pixels(geometry, image.width, image.height))
        case KeyPoints(points, joins):
            more = _key_points(shape.class_name, dict(points), words)
            present = {name for name, _ in points}
            drawn = {join for join in words.joins.get(shape.class_name, ()) if present.issuperset(join)}
            losses.add("joins", int(drawn != set(joins)))
        case _:
            pass
    if isinstance(geometry, Mask):
        segmentation = {"size": [geometry.height, geometry.width], "counts": geometry.counts}
        crowd = int(shape.instance is None)
    around = bounds(geometry)
    row = {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": numbers[shape.class_name],
        "bbox": [plain(around.x), plain(around.y), plain(around.width), plain(around.height)],
        "area": plain(area(around if isinstance(geometry, KeyPoints) else geometry)),
        "segmentation": segmentation,
        "iscrowd": crowd,
        **more,
    }
    attributes: dict[str, Any] = dict(shape.measurements)
    if shape.instance is not None:
        attributes["instance"] = shape.instance
    return row | {"attributes": attributes} if attributes else row


def _key_points(
    class_name: str, places: Mapping[str, tuple[float, float]], words: Vocabulary
) -> dict[str, Any]:
    flat: list[float] = []
    for name in words.points.get(class_name, ()):
        flat += [*(plain(value) for value in places[name]), 2] if name in places else [0, 0, 0]
    return {"keypoints": flat, "num_keypoints": len(places)}

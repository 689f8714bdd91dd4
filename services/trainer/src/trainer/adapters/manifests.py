"""Reads manifests: the trainer's own snapshots, and versions of the dataset registry with what is marked on them."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import cv2
import numpy as np

from trainer.adapters.drawing import pixels_of
from trainer.domain.snapshot import (
    DrawnMask,
    LabelledArea,
    Snapshot,
    SnapshotError,
    parse_row,
    parse_snapshot,
)

REGISTRY_FORMATS: Final = ("andonloop.dataset/1", "andonloop.dataset/2", "andonloop.dataset-holdout/2")
"""Labels of image class; the same with parts and shapes; the holdout of such a version."""
KEPT_FOR_CHOICE: Final = "test"
"""A part of the registry's versions that is for choosing among releases: not learned from, not validated on here."""

Json = Mapping[str, Any]
Corners = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def parse_manifest(content: bytes) -> Snapshot:
    """Reads either kind of manifest: a snapshot, or a version of the dataset registry. Raises `SnapshotError`."""
    try:
        value = json.loads(content)
    except ValueError as error:
        raise SnapshotError(f"the manifest is not JSON: {error}") from error
    if value.get("format") not in REGISTRY_FORMATS:
        return parse_snapshot(value)
    version = hashlib.sha256(content).hexdigest()
    try:
        entries = [_entry(item) for item in value["items"] if item.get("split") != KEPT_FOR_CHOICE]
    except (KeyError, TypeError, ValueError) as error:
        raise SnapshotError(f"the registry's manifest cannot be used: {error}") from error
    rows = tuple(parse_row(number, entry) for number, entry in enumerate(entries))
    return Snapshot(f"registry-{version[:12]}", rows, "the plant's own images", version)


def _entry(item: Json) -> dict[str, Any]:
    """An item of the registry as a row; images of one part, known by its serial number, stay together, and so does what
    the registry has put into one group."""
    context, image = item["context"], item["image"]
    part = context.get("part_id")
    classes = item.get("classes", [item["class_name"]]) if item["is_defect"] else []
    shapes = item.get("shapes", ()) if item["is_defect"] else ()
    mask = _mask(item["capture_id"], classes, shapes, image)
    return {
        "id": item["capture_id"],
        "image": image["object"],
        "classes": classes,
        "is_defect": item["is_defect"],
        "group": item.get("group") or (f"{context.get('part_number') or ''}/{part}" if part else ""),
        "split": item.get("split"),
        "boxes": [
            {"class_name": name, "x": left, "y": top, "width": right - left, "height": bottom - top}
            for name, (left, top, right, bottom) in _things(shapes)
        ],
        "mask": mask.to_json() if mask else None,
        "product_variant": context.get("product_variant"),
        "station": f"{context.get('line')}/{context.get('station')}",
        "shift": context.get("shift"),
    }


def _mask(name: str, classes: Sequence[str], shapes: Sequence[Json], image: Json) -> DrawnMask | None:
    """None unless each class of the image has an area: what is boxed, or only named, would count as good."""
    drawn = [shape for shape in shapes if shape["kind"] in ("polygon", "mask")]
    if not drawn or set(classes) - {shape["class_name"] for shape in drawn}:
        return None
    width, height = image["width"], image["height"]
    for shape in drawn:
        if shape["kind"] == "mask" and shape["size"] != [height, width]:
            other = " x ".join(map(str, reversed(shape["size"])))
            raise SnapshotError(f"{name} is {width} x {height} pixels, and a mask of it is {other}")
    return DrawnMask(width, height, tuple(classes), tuple(map(_area, drawn)))


def _area(shape: Json) -> LabelledArea:
    rings = tuple(tuple((x, y) for x, y in ring) for ring in shape.get("rings") or ())
    return LabelledArea(shape["class_name"], rings, shape.get("counts") or "")


def _things(shapes: Sequence[Json]) -> Iterator[tuple[str, Corners]]:
    """The rectangle around each thing, with its class. Shapes with one number are one thing; a mask without a number is
    as many as it has connected regions."""
    numbered = defaultdict[tuple[str, int], list[Corners]](list)
    for shape in shapes:
        for corners in _rectangles(shape):
            if shape.get("instance") is None:
                yield shape["class_name"], corners
            else:
                numbered[shape["class_name"], shape["instance"]].append(corners)
    for (name, _), parts in numbered.items():
        lefts, tops, rights, bottoms = zip(*parts, strict=True)
        yield name, (min(lefts), min(tops), max(rights), max(bottoms))


def _rectangles(shape: Json) -> Iterator[Corners]:
    match shape["kind"]:
        case "box":
            left, top, width, height = shape["box"]
            yield left, top, left + width, top + height
        case "polygon":
            x, y = zip(*(point for ring in shape["rings"] for point in ring), strict=True)
            yield min(x), min(y), max(x), max(y)
        case "mask":
            pixels = pixels_of(_area(shape), *shape["size"]).astype(np.uint8)
            for left, top, width, height, _ in cv2.connectedComponentsWithStats(pixels)[2][1:].tolist():
                yield left, top, left + width, top + height

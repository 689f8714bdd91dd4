"""A plant's version of the dataset registry: plates with painted cracks and outlined stains, in its own format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import numpy.typing as npt
from andon_chassis.objects import IMAGES, ObjectStore
from andon_local import layout
from pycocotools import mask as coco

from .conftest import part

Json = dict[str, Any]
SIDE = 96
PLATES = 36


@cache
def shape_contract() -> Json:
    contract = json.loads((layout.root() / "contracts/openapi/dataset-registry.json").read_text())
    found: Json = contract["components"]["schemas"]["ShapeIn"]
    return found


def shape(class_name: str, kind: str, instance: int | None = None, **where: Any) -> Json:
    """A shape with all that the registry writes of one, held to its contract."""
    made = {"shape_id": "s1", "class_name": class_name, "kind": kind, "instance": instance, **where}
    jsonschema.validate(made, shape_contract())
    return made | {"origin": "person", "confirmed": True, "measurements": {}}


def painted(class_name: str, pixels: npt.NDArray[np.bool_], instance: int | None = None) -> Json:
    """A mask as the labeling room stores it."""
    counts = coco.encode(np.asfortranarray(pixels, np.uint8))["counts"].decode()
    return shape(class_name, "mask", instance, size=list(pixels.shape), counts=counts)


def item(name: str, *shapes: Json, image: Mapping[str, Any] | None = None, **more: Any) -> Json:
    """An item of `andonloop.dataset/2`; a defect when it has shapes."""
    claim = {
        "bucket": "images",
        "key": "ab/ab",
        "sha256": "ab" * 32,
        "media_type": "image/png",
        "size_bytes": 1,
    }
    classes = sorted({shape["class_name"] for shape in shapes}) or ["good"]
    return {
        "capture_id": name,
        "label_id": f"label-{name}",
        "class_name": classes[0],
        "classes": classes,
        "is_defect": bool(shapes),
        "taxonomy_version": "t1",
        "image": {"object": dict(image or claim), "width": SIDE, "height": SIDE},
        "context": {"line": "a", "station": "s1"},
        "captured_at": None,
        "perceptual_hash": None,
        "part_id": None,
        "synthetic": False,
        "shapes": list(shapes),
        "split": "train",
        "group": name,
        "segment": "known-defect",
    } | more


def version(*items: Json) -> bytes:
    told = {"format": "andonloop.dataset/2", "classes": [], "items": items, "holdout": None, "plan": None}
    return json.dumps(told).encode()


def kind_of(seed: int) -> str:
    """12 plates are good, 18 have a crack, 6 a stain."""
    return ("good", "crack", "stain", "good", "crack", "crack")[seed % 6]


def blemished(seed: int, kind: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """A plate with a dark line or a bright disc, and the mask of it."""
    plate, mask = part(seed, scratched=False), np.zeros((96, 96), np.uint8)
    x, y = (int(value) for value in np.random.default_rng(seed).integers(20, 76, 2))
    for picture, ink in ((plate, 10 if kind == "crack" else 250), (mask, 255)):
        if kind == "crack":
            cv2.line(picture, (x, 8), (96 - x, 88), ink, 4)
        else:
            cv2.circle(picture, (x, y), 14, ink, -1)
    return plate, mask


def outlined(seed: int, kind: str) -> Json:
    """The blemish of this plate as people mark it: a painted crack, a polygon around a stain."""
    mask = blemished(seed, kind)[1] > 0
    if kind == "crack":
        return painted(kind, mask)
    rows, columns = np.nonzero(mask)
    x, y = columns.mean() + 0.5, rows.mean() + 0.5
    turns = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return shape(kind, "polygon", rings=[[[x + 14 * np.cos(turn), y + 14 * np.sin(turn)] for turn in turns]])


def write_version(file: Path, objects: ObjectStore) -> Path:
    """A version of all plates, every fifth to validate on, and their images in the store; returns its manifest."""
    items = []
    for seed in range(PLATES):
        kind, picture = kind_of(seed), part(seed, scratched=False)
        shapes = []
        if kind != "good":
            picture, shapes = blemished(seed, kind)[0], [outlined(seed, kind)]
        place = objects.put(IMAGES, cv2.imencode(".png", picture)[1].tobytes(), "image/png").to_avro()
        split = "validation" if seed % 5 == 0 else "train"
        items.append(item(f"c{seed}", *shapes, image=place, split=split))
    file.write_bytes(version(*items))
    return file

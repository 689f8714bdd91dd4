"""What the dataset registry writes of a version, the trainer reads: parts, groups, boxes, polygons and masks."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from andon_chassis.objects import MemoryObjectStore
from dataset_registry.adapters.shapes_json import shape_to_json
from dataset_registry.domain import run_lengths
from dataset_registry.domain.annotations import Box, Geometry, KeyPoints, Mask, Polygon, Shape
from dataset_registry.domain.dataset_items import items
from dataset_registry.domain.geometry import rasterised
from dataset_registry.domain.segments import Mark
from dataset_registry.handlers.datasets import build_parted
from trainer.adapters.images import ImageStore
from trainer.adapters.manifests import parse_manifest
from trainer.adapters.masks import labels_of
from trainer.domain.snapshot import LabelledBox

WIDTH, HEIGHT = 60, 40
PIXELS = np.zeros((HEIGHT, WIDTH), bool)
PIXELS[3:9, 30:50] = PIXELS[20:22, 1:4] = True
MASK = Mask(HEIGHT, WIDTH, run_lengths.encode(PIXELS))
POLYGON = Polygon((((2, 2), (22, 2), (22, 18), (2, 18)), ((6, 6), (10, 6), (10, 10), (6, 10))))


def row(name: str, *shapes: tuple[str, Geometry]) -> dict[str, Any]:
    """An image with an approved annotation, as the registry's store reads it."""
    claim = {"bucket": "images", "key": name, "sha256": "ab" * 32, "media_type": "image/png", "size_bytes": 9}
    return {
        "capture_id": name,
        "approved_at": 2,
        "labelled_at": None,
        "label_id": None,
        "annotation_id": f"annotation-{name}",
        "verdict": "labeled",
        "classes": [] if shapes else ["good"],
        "shapes": [shape_to_json(Shape(f"s{at}", *shape)) for at, shape in enumerate(shapes)],
        "annotation_version": "t1",
        "taxonomy_version": None,
        "image": {"object": claim, "width": WIDTH, "height": HEIGHT},
        "context": {"line": "a", "station": "s1", "part_id": f"p{name}", "part_number": "7"},
        "captured_at": None,
        "perceptual_hash": None,
        "part_id": None,
        "synthetic": False,
    }


def image_class(version: str | None, classes: set[str]) -> tuple[str, bool]:
    return min(classes), classes != {"good"}


def test_a_version_of_the_registry_is_one_that_the_trainer_learns_from() -> None:
    points = KeyPoints((("start", (1.0, 1.0)), ("end", (9.0, 9.0))), (("start", "end"),))
    found = items(
        [
            row("1", ("stain", POLYGON), ("pit", MASK), ("pit", points)),
            row("2", ("stain", POLYGON), ("pit", Box(30, 3, 20, 6))),
            row("3"),
            row("4", ("pit", MASK)),
        ],
        image_class,
    )
    cut = build_parted(
        found, {"4": Mark("holdout")}, None, {"1": "train", "2": "validation"}, MemoryObjectStore()
    )
    snapshot = parse_manifest(cut.made.content)
    assert snapshot.hash == cut.made.hash == hashlib.sha256(cut.made.content).hexdigest()
    both, boxed, good = snapshot.rows
    assert [(item.classes, item.split, item.group) for item in snapshot.rows] == [
        (("pit", "stain"), "train", "7/p1"),
        (("pit", "stain"), "validation", "7/p2"),
        ((), None, "7/p3"),
    ]
    assert both.boxes[0] == LabelledBox("stain", 2, 2, 20, 16) and len(both.boxes) == 3
    assert boxed.boxes[1] == LabelledBox("pit", 30, 3, 20, 6) and boxed.mask is good.mask is None
    labels = labels_of(both, ImageStore(), (HEIGHT, WIDTH), ("pit", "stain"))
    np.testing.assert_array_equal(labels == 1, PIXELS)
    np.testing.assert_array_equal(labels == 2, rasterised(POLYGON, WIDTH, HEIGHT))
    assert cut.holdout
    [held] = parse_manifest(cut.holdout.content).rows
    assert (held.id, held.split, held.classes) == ("4", "holdout", ("pit",)) and held.mask

"""A version of the dataset registry is read with its parts, groups, boxes and masks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from trainer.adapters.images import ImageStore
from trainer.adapters.manifests import parse_manifest
from trainer.adapters.masks import labels_of
from trainer.domain.snapshot import (
    DrawnMask,
    ImagePlace,
    LabelledArea,
    LabelledBox,
    Row,
    SnapshotError,
    parse_row,
)
from trainer.main import main

from .registry_version import SIDE, Json, blemished, item, kind_of, outlined, painted, shape, version

CLASSES = ("crack", "stain")
SQUARE = [[10, 10], [50, 10], [50, 30], [10, 30]]
HOLE = [[20, 15], [30, 15], [30, 25], [20, 25]]


def row_of(*shapes: Json, **more: Any) -> Row:
    [row] = parse_manifest(version(item("c1", *shapes, **more))).rows
    return row


def drawn(row: Row, classes: Sequence[str]) -> npt.NDArray[np.uint8]:
    return labels_of(row, ImageStore(), (SIDE, SIDE), classes)


def block(left: int, top: int, right: int, bottom: int) -> npt.NDArray[np.bool_]:
    pixels = np.zeros((SIDE, SIDE), bool)
    pixels[top:bottom, left:right] = True
    return pixels


class TestManifest:
    def test_labels_of_image_class_are_read(self) -> None:
        image = {"bucket": "images", "key": "ab/ab", "sha256": "ab" * 32, "media_type": "image/png"}
        context = {
            "line": "a",
            "station": "s1",
            "product_variant": "mono",
            "part_number": "P",
            "part_id": "7",
        }
        context["shift"] = "night"
        defect = {
            "capture_id": "c1",
            "label_id": "l1",
            "class_name": "crack",
            "is_defect": True,
            "taxonomy_version": "t1",
            "image": {"object": image, "width": 3, "height": 3, "channels": 1, "bit_depth": 8},
            "context": context,
        }
        good = {**defect, "capture_id": "c2", "class_name": "good", "is_defect": False}
        content = json.dumps({"format": "andonloop.dataset/1", "items": [defect, good]}).encode()
        snapshot = parse_manifest(content)
        assert snapshot.hash == hashlib.sha256(content).hexdigest()
        assert [row.classes for row in snapshot.rows] == [("crack",), ()]
        assert snapshot.rows[0].image == ImagePlace(**image)
        assert {row.group for row in snapshot.rows} == {"P/7"}
        assert (snapshot.rows[0].variant, snapshot.rows[0].station) == ("mono", "a/s1")
        assert snapshot.rows[0].shift == snapshot.rows[0].to_json()["shift"] == "night"
        with pytest.raises(SnapshotError, match="not JSON"):
            parse_manifest(b"{")

    def test_a_divided_version_keeps_its_parts_and_groups_and_leaves_the_part_for_choosing_alone(
        self,
    ) -> None:
        box = shape("crack", "box", box=[1, 2, 3.5, 4])
        kept = item("c1", box, classes=["crack", "pit"], group="g1")
        content = version(kept, item("c2", box, split="test"))
        [row] = parse_manifest(content).rows
        assert (row.id, row.classes, row.group, row.split) == ("c1", ("crack", "pit"), "g1", "train")
        assert row.boxes == (LabelledBox("crack", 1, 2, 3.5, 4),) and row.mask is None

    def test_what_is_marked_around_or_on_a_thing_is_a_rectangle_too(self) -> None:
        two = block(5, 5, 9, 9) | block(60, 70, 80, 75)
        ends = [painted("crack", block(2, 2, 4, 4), 7), shape("crack", "polygon", 7, rings=[SQUARE])]
        row = row_of(*ends, painted("pit", two), shape("seam", "key-points", points={"start": [1, 1]}))
        assert set(row.boxes) == {
            LabelledBox("crack", 2, 2, 48, 28),
            LabelledBox("pit", 5, 5, 4, 4),
            LabelledBox("pit", 60, 70, 20, 5),
        }

    def test_a_mask_of_another_size_is_named(self) -> None:
        with pytest.raises(SnapshotError, match="c1 is 96 x 96 pixels, and a mask of it is 9 x 4"):
            row_of(painted("crack", np.ones((4, 9), bool)))
        area = LabelledArea("crack", counts=painted("crack", block(0, 0, 9, 9))["counts"])
        mask = DrawnMask(9, 9, ("crack",), (area,))
        with pytest.raises(SnapshotError, match="none of 9 x 9 pixels"):
            ImageStore().read(mask)


class TestMasks:
    def test_a_polygon_has_its_holes(self) -> None:
        labels = drawn(row_of(shape("crack", "polygon", rings=[SQUARE, HOLE])), CLASSES)
        np.testing.assert_array_equal(labels == 1, block(10, 10, 50, 30) & ~block(20, 15, 30, 25))

    def test_of_areas_that_overlap_the_smaller_one_lies_on_top(self) -> None:
        pit, stain = painted("crack", block(20, 20, 24, 24)), shape("stain", "polygon", rings=[SQUARE])
        expected = block(10, 10, 50, 30) * 2 - block(20, 20, 24, 24)
        for order in ((pit, stain), (stain, pit)):
            np.testing.assert_array_equal(drawn(row_of(*order), CLASSES), expected)

    def test_an_image_with_a_class_that_nobody_outlined_has_no_mask(self) -> None:
        pit, stain = painted("pit", block(1, 1, 3, 3)), shape("stain", "box", box=[5, 5, 9, 9])
        assert row_of(pit, stain).mask is None
        assert row_of(pit, classes=["pit", "stain"]).mask is None
        assert row_of(pit).mask is not None
        assert row_of(pit, is_defect=False).mask is None, "what is marked on a good part is no defect"

    def test_the_trainers_own_manifest_keeps_the_areas(self) -> None:
        row = row_of(painted("pit", block(1, 1, 3, 3)), shape("stain", "polygon", rings=[SQUARE, HOLE]))
        assert parse_row(0, json.loads(json.dumps(row.to_json()))) == row


def test_defects_that_nobody_outlined_are_named_before_anything_is_learned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, box = tmp_path / "manifest.json", shape("pit", "box", box=[1, 2, 3, 4])
    whole = item("c1", painted("pit", block(1, 1, 3, 3)))
    held = item("c4", box, split="holdout", image={"bucket": "images", "key": "cd/cd", "sha256": "cd" * 32})
    file.write_bytes(version(whole, item("c2", box), item("c3"), held))
    told = ["--dataset", str(file), "--out", str(tmp_path), "--release", "x", "--task", "segmentation"]
    assert main(["train", *told, "--key", "-", "--backbone", "-"]) == 1
    assert "defects without a mask: 1 (c2)" in capsys.readouterr().err


@pytest.mark.parametrize("seed", [1, 2])
def test_areas_are_drawn_as_they_were_marked(seed: int) -> None:
    kind = kind_of(seed)
    labels, mask = drawn(row_of(outlined(seed, kind)), CLASSES) > 0, blemished(seed, kind)[1] > 0
    assert (labels & mask).sum() / (labels | mask).sum() >= {"crack": 1.0, "stain": 0.95}[kind]

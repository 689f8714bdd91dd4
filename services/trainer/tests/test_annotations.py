"""Annotation files beside images become boxes, masks and templates of the rows; broken ones are named."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from trainer.adapters.annotations import read_boxes
from trainer.adapters.images import load_dataset
from trainer.domain.snapshot import LabelledBox, SnapshotError, parse_snapshot

VOC = """<annotation><object><name>rolled-in_scale</name>
<bndbox><xmin>1</xmin><ymin>3</ymin><xmax>10</xmax><ymax>7</ymax></bndbox></object></annotation>"""
BOMB = """<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;&x;">]><annotation><object><name>&y;</name>
<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></object></annotation>"""


@pytest.fixture
def indexed(tmp_path: Path) -> Path:
    """Three pictures: one with boxes, one with a mask, one with a template."""
    for name in ("boxed", "masked", "board", "board_temp"):
        picture = np.random.default_rng(len(name)).integers(0, 256, (20, 20), dtype=np.uint8)
        assert cv2.imwrite(str(tmp_path / f"{name}.jpg"), picture)
    assert cv2.imwrite(str(tmp_path / "masked.png"), np.eye(20, dtype=np.uint8) * 255)
    (tmp_path / "boxed.xml").write_text(VOC)
    (tmp_path / "board.txt").write_text("2 3 12 9 2\n")
    (tmp_path / "index.csv").write_text(
        "image,label,defect_classes,annotation_file,template_file\n"
        "boxed.jpg,defect,rolled-in-scale,boxed.xml,\n"
        "masked.jpg,defect,crack,masked.png,\n"
        "board.jpg,defect,short,board.txt,board_temp.jpg\n"
    )
    return tmp_path


def test_an_indexed_folder_says_where_its_defects_are(indexed: Path) -> None:
    boxed, masked, board, template = load_dataset(str(indexed)).rows
    # The pixels of VOC count from 1, and both corners are inside; the index's spelling of a class wins.
    assert boxed.boxes == (LabelledBox("rolled-in-scale", 0, 2, 10, 5),)
    assert boxed.mask is None
    assert masked.mask is not None and masked.mask.path == str(indexed / "masked.png")
    assert board.boxes == (LabelledBox("short", 2, 3, 10, 6),)
    assert board.template is not None and board.template.sha256 == template.image.sha256
    assert template.template is None and template.boxes == () and not template.is_defect


def test_a_manifest_keeps_them(indexed: Path) -> None:
    snapshot = load_dataset(str(indexed))
    again = parse_snapshot(json.loads(json.dumps(snapshot.to_json())))
    assert again == snapshot and again.hash == snapshot.hash


def test_a_moved_box_is_another_dataset(indexed: Path) -> None:
    before = load_dataset(str(indexed)).hash
    (indexed / "board.txt").write_text("2 3 12 10 2\n")
    assert load_dataset(str(indexed)).hash != before


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.xml", VOC[:60], "not a PASCAL VOC annotation"),
        ("a.xml", BOMB, "not a PASCAL VOC annotation"),
        ("a.xml", "<annotation><object><name>x</name></object></annotation>", "without a bndbox"),
        ("a.xml", VOC.replace("<xmax>10", "<xmax>ten"), "not a PASCAL VOC annotation"),
        ("a.txt", "1 2 3 4\n", "line 1: expected x1 y1 x2 y2 and a type"),
        ("a.txt", "1 2 3 4 9\n", "a type of 1 to 6"),
        ("a.txt", "5 2 3 4 1\n", "without an area"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(SnapshotError, match=said) as refused:
        read_boxes(tmp_path / name)
    assert name in str(refused.value)


def test_a_mask_must_be_in_one_place() -> None:
    row = {"id": "1", "image": {"path": "a.png"}, "is_defect": False, "mask": {"bucket": "images"}}
    manifest = {"schema": "andonloop.dataset-snapshot/1", "rows": [row]}
    with pytest.raises(SnapshotError, match="needs either a path"):
        parse_snapshot(manifest)

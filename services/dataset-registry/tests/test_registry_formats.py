"""What other tools write, as they write it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from dataset_registry.domain.annotations import Box, KeyPoints, Mask, Polygon
from dataset_registry.domain.interchange import LabelledImage, Problem
from dataset_registry.formats import brush, marks, read
from dataset_registry.formats.archives import opened
from dataset_registry.formats.marks import Material

WIDTH, HEIGHT = 40, 30


def picture(value: int = 0, suffix: str = ".png", width: int = WIDTH, height: int = HEIGHT) -> bytes:
    return bytes(cv2.imencode(suffix, np.full((height, width), value, np.uint8))[1])


def images(folder: Path, files: dict[str, bytes], name: str | None = None) -> dict[str, LabelledImage]:
    """All images of a folder with these files, by name; there is no problem."""
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    with opened(folder) as tree:
        found = list(read(Material(tree), name))
    assert not [item for item in found if isinstance(item, Problem)], found
    return {item.name: item for item in found if isinstance(item, LabelledImage)}


def test_a_set_with_a_mask_beside_each_picture(tmp_path: Path) -> None:
    """As magnet tiles are handed over: folders are classes, an empty mask is a good part, or nobody outlined it."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[5:9, 7:20] = 255
    mask[9, 7:20] = 60  # the soft edge of a drawing
    found = images(
        tmp_path,
        {
            "set/crack/a.jpg": picture(9, ".jpg"),
            "set/crack/a.png": bytes(cv2.imencode(".png", mask)[1]),
            "set/free/b.jpg": picture(9, ".jpg"),
            "set/free/b.png": picture(0),
            "set/index.csv": b"image,label\n",
        },
    )
    crack, free = found["set/crack/a.jpg"], found["set/free/b.jpg"]
    (shape,) = crack.shapes
    assert (shape.class_name, crack.classes, free.classes, free.shapes) == ("crack", (), ("free",), ())
    assert isinstance(shape.geometry, Mask)
    assert marks.pixels(shape.geometry, WIDTH, HEIGHT).sum() == 4 * 13


def test_a_set_of_boards_with_templates(tmp_path: Path) -> None:
    found = images(
        tmp_path,
        {
            "group1/1/0001_test.jpg": picture(9, ".jpg"),
            "group1/1/0001_temp.jpg": picture(9, ".jpg"),
            "group1/1_not/0001.txt": b"1 2 11 8 3\n4,5,9,10,6\n",
        },
    )
    (image,) = found.values()
    assert [(shape.class_name, shape.geometry) for shape in image.shapes] == [
        ("mousebite", Box(1, 2, 10, 6)),
        ("pin-hole", Box(4, 5, 5, 5)),
    ]


def test_voc_goes_by_the_name_of_its_file(tmp_path: Path) -> None:
    text = """<annotation><filename>renamed_since.jpg</filename><size><width>40</width><height>30</height></size>
    <object><name>scratches</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>11</xmax><ymax>8</ymax></bndbox></object>
    </annotation>"""
    found = images(tmp_path, {"annotations/a_1.xml": text.encode(), "images/a_1.jpg": picture(9, ".jpg")})
    assert found["a_1.jpg"].shapes[0].geometry == Box(1, 2, 10, 6)


def test_coco_with_runs_crowds_and_people(tmp_path: Path) -> None:
    document: dict[str, Any] = {
        "images": [{"id": "x", "file_name": "a.png", "width": 4, "height": 3}],
        "categories": [{"id": 1, "name": "figure", "keypoints": ["b", "a"], "skeleton": [[1, 2]]}],
        "annotations": [
            {
                "image_id": "x",
                "category_id": 1,
                "segmentation": {"size": [3, 4], "counts": [1, 2, 9]},
                "iscrowd": 1,
            },
            {
                "image_id": "x",
                "category_id": 1,
                "segmentation": [[0, 0, 3, 0, 3, 2]],
                "keypoints": [1, 2, 2, 3, 1, 1],
            },
            {"image_id": "x", "category_id": 1, "keypoints": [1, 2, 2, 0, 0, 0], "bbox": [1, 2, 0, 0]},
        ],
    }
    image = images(tmp_path, {"a.json": json.dumps(document).encode()})["a.png"]
    crowd, outline, figure, point = image.shapes
    assert isinstance(crowd.geometry, Mask) and crowd.instance is None
    assert marks.pixels(crowd.geometry, 4, 3).T.ravel().tolist() == [False, True, True, *[False] * 9]
    assert isinstance(outline.geometry, Polygon) and outline.instance == figure.instance is not None
    assert figure.geometry == KeyPoints((("a", (3, 1)), ("b", (1, 2))), (("b", "a"),))
    assert point.geometry == KeyPoints((("b", (1, 2)),))


def test_turned_boxes_become_polygons(tmp_path: Path) -> None:
    xml = """<annotations><image id="0" name="a.png" width="40" height="30">
    <box label="crack" xtl="10" ytl="10" xbr="20" ybr="14" rotation="90"/></image></annotations>"""
    (shape,) = images(tmp_path / "cvat", {"annotations.xml": xml.encode()})["a.png"].shapes
    assert isinstance(shape.geometry, Polygon)
    assert _rounded(shape.geometry) == {(17, 7), (17, 17), (13, 17), (13, 7)}
    value = {"x": 25, "y": 50, "width": 25, "height": 10, "rotation": 90, "rectanglelabels": ["crack"]}
    mark = {"type": "rectanglelabels", "original_width": 40, "original_height": 30, "value": value}
    task = {"data": {"image": "s3://plant/day%201/a.png"}, "annotations": [{"result": [mark]}]}
    (shape,) = images(tmp_path / "studio", {"tasks.json": json.dumps([task]).encode()})["a.png"].shapes
    assert isinstance(shape.geometry, Polygon)
    assert _rounded(shape.geometry) == {(10, 15), (10, 25), (7, 25), (7, 15)}


def _rounded(polygon: Polygon) -> set[tuple[int, int]]:
    return {(math.floor(x + 0.5), math.floor(y + 0.5)) for x, y in polygon.rings[0]}


THEIRS = [0, 0, 0, 48, 57, 27, 252, 224, 19, 255, 198, 1, 63, 252, 96, 17, 255, 219, 0, 0]


def test_brush_marks_are_those_of_label_studio() -> None:
    """Written by Label Studio's own converter for a mask of 3 x 4 pixels with 5 of them set."""
    pixels = np.array([[0, 0, 1, 1], [0, 1, 1, 0], [1, 0, 0, 0]], bool)
    assert (brush.unpack(THEIRS, 3, 4) == pixels).all()
    assert (brush.unpack(brush.pack(pixels), 3, 4) == pixels).all()


def test_yolo_in_the_layout_of_darknet(tmp_path: Path) -> None:
    found = images(
        tmp_path,
        {
            "obj.names": b"crack\ndent\n",
            "obj_train_data/a.png": picture(),
            "obj_train_data/a.txt": b"1 0.5 0.5 0.25 0.2\n",
            "obj_train_data/b.png": picture(),
            "train.txt": b"data/obj_train_data/a.png\n",
        },
    )
    assert found["obj_train_data/a.png"].shapes[0].geometry == Box(15, 12, 10, 6)
    assert found["obj_train_data/b.png"].shapes == ()

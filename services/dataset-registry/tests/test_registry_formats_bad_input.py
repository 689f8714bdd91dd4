"""What is wrong in a file is said with its place and what to do about it; a file that means harm does none."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from dataset_registry.domain.import_checks import Wanted, examined
from dataset_registry.domain.interchange import Problem
from dataset_registry.formats import read
from dataset_registry.formats.archives import Limits, opened
from dataset_registry.formats.json_stream import elements, portions
from dataset_registry.formats.marks import Material

WIDTH, HEIGHT = 40, 30
Files = dict[str, bytes]
LIMITS = Limits()


def picture(width: int = WIDTH, height: int = HEIGHT) -> bytes:
    return bytes(cv2.imencode(".png", np.zeros((height, width), np.uint8))[1])


def zipped(files: Files) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in files.items():
            made.writestr(name, data)
    return held.getvalue()


def found(folder: Path, data: bytes | Files, name: str | None = None, limits: Limits = LIMITS) -> list[Any]:
    """What an import would make of it: images and problems."""
    path = folder / "archive"
    path.write_bytes(data if isinstance(data, bytes) else zipped(data))

    def looked_at() -> Iterator[Any]:
        with opened(path, limits) as tree:
            yield from examined(read(Material(tree), name), Wanted())

    return list(looked_at())


def problem(folder: Path, data: bytes | Files, name: str | None = None) -> Problem:
    """The only thing that is found."""
    (only,) = found(folder, data, name)
    assert isinstance(only, Problem) and len(only.advice) > 20, only
    return only


def coco(*annotations: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}],
        "categories": [{"id": 7, "name": "crack"}],
        "annotations": [
            {"id": at, "image_id": 1, "category_id": 7} | given for at, given in enumerate(annotations)
        ],
    } | changed


def as_file(document: Any) -> Files:
    return {"instances.json": json.dumps(document, indent=1).encode()}


BOX = {"bbox": [1, 2, 3, 4]}


class TestJson:
    def test_each_problem_has_its_path_and_line(self, tmp_path: Path) -> None:
        document = coco(
            BOX,
            {"bbox": [1, 2, 3]},
            BOX | {"category_id": 9},
            {"bbox": [30, 2, 30, 4]},
            images=[
                {"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT},
                {"id": 2, "file_name": "b.png", "width": WIDTH, "height": HEIGHT},
                {"id": 2, "file_name": "c.png", "width": WIDTH, "height": HEIGHT},
                {"id": 3, "file_name": "d.png", "width": "wide", "height": HEIGHT},
            ],
        )
        document["annotations"][3]["image_id"] = 2
        document["annotations"].append({"id": 9, "image_id": 77, "category_id": 7} | BOX)
        problems = found(tmp_path, as_file(document))
        assert [(p.reason, p.where) for p in problems] == [
            ("duplicate-image", "images[2]"),
            ("unreadable-value", "images[3]"),
            ("unknown-image", "annotations[4]"),
            ("unreadable-value", "annotations[1]"),
            ("unknown-category", "annotations[2]"),
            ("outside-image", "annotations[3]"),
        ]
        lines = as_file(document)["instances.json"].decode().split("\n")
        for at in (2, 3, 4, 5):
            assert lines[problems[at].line - 1].strip() == "{"

    @pytest.mark.parametrize(
        ("changed", "reason"),
        [
            ({"segmentation": [[1, 1, 10, 10, 10, 1, 1, 10]]}, "polygon-crosses-itself"),
            ({"segmentation": [[1, 1, 10, 10, 5]]}, "odd-coordinates"),
            ({"segmentation": [[1, 1, 10, 10]]}, "too-few-points"),
            ({"segmentation": {"size": [5, 5], "counts": "52203"}}, "mask-of-another-size"),
            ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": "zz"}}, "broken-mask"),
            ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": [3, 4]}}, "broken-mask"),
            ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": [-1, 1201]}}, "broken-mask"),
            ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": [WIDTH * HEIGHT]}}, "empty-mask"),
            ({"bbox": [1, 2, 0, 4]}, "empty-box"),
            ({"bbox": [1, 2, True, 4]}, "unreadable-value"),
            ({"bbox": None}, "unreadable-value"),
            ({"keypoints": [1, 2, 2]}, "unknown-key-point"),
            ({"category_id": []}, "unreadable-value"),
        ],
    )
    def test_shapes_that_cannot_be(self, tmp_path: Path, changed: dict[str, Any], reason: str) -> None:
        assert problem(tmp_path, as_file(coco(BOX | changed))).reason == reason

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b'{"images": [{"id": 1,', "truncated-file"),
            (b'{"images": [1, ]}', "broken-json"),
            (b'{"images": [nonsense]}', "broken-json"),
            (b'{"images": [NaN]}', "broken-json"),
            (b'{"images": ["\xff"]}', "wrong-encoding"),
            ('{"images": []}'.encode("utf-16"), "wrong-encoding"),
            (b'{"images": []} {}', "broken-json"),
            (b'{"images" []}', "broken-json"),
            (b"", "truncated-file"),
            (b"3", "broken-json"),
            (b'{"images": ' + b"[" * 300 + b"1" + b"]" * 300 + b"}", "broken-json"),
        ],
    )
    def test_what_is_no_json(self, tmp_path: Path, data: bytes, reason: str) -> None:
        assert problem(tmp_path, {"a.json": data}, "coco").reason == reason

    @pytest.mark.parametrize("size", [1, 2, 7, 64, 1 << 20])
    @pytest.mark.parametrize("indent", [None, 1])
    def test_elements_are_the_same_however_little_is_read_at_once(
        self, size: int, indent: int | None
    ) -> None:
        document = {
            "info": {"text": 'x,]}\\"', "none": None},
            "empty": [],
            "numbers": [1, 2.5, -3e4],
            "images": [{"name": f'"{at}\\', "tags": [["{", "é"], []]} for at in range(20)],
            "last": True,
        }
        data = json.dumps(document, indent=indent, ensure_ascii=False).encode()
        whole: dict[str, Any] = {"empty": []}
        for portion in portions(io.BytesIO(data), "a.json", size):
            if portion.single:
                whole[portion.key] = portion.values[0]
                continue
            assert portion.first == len(whole.setdefault(portion.key, []))
            whole[portion.key] += portion.values
            for value, start, end, line in zip(
                portion.values, portion.starts, portion.ends, portion.lines, strict=True
            ):
                assert json.loads(data[start:end]) == value
                assert data.count(b"\n", 0, start) + 1 == line
        assert whole == document

    def test_an_array_may_be_the_file(self) -> None:
        found = list(elements(io.BytesIO(b"\xef\xbb\xbf[1,\n {}]"), "a.json"))
        assert [(one.value, one.place.where, one.place.line) for one in found] == [
            (1, "[0]", 1),
            ({}, "[1]", 2),
        ]

    def test_a_large_file_needs_little_memory(self, tmp_path: Path) -> None:
        """In a process of its own, whose peak can be seen; all at once it would need some ten times the file."""
        path, count = tmp_path / "large.json", 30_000
        ring = ",".join(str(5 + at / 10) for at in range(120))
        with path.open("w") as file:
            file.write('{"categories":[{"id":7,"name":"crack"}],"annotations":[')
            file.write(
                ",".join(
                    f'{{"image_id":{at % 500},"category_id":7,"segmentation":[[{ring}]]}}'
                    for at in range(count)
                )
            )
            file.write('],"images":[')
            file.write(
                ",".join(f'{{"id":{at},"file_name":"{at}.png","width":40,"height":30}}' for at in range(500))
            )
            file.write("]}")
        program = f"""
import resource
from pathlib import Path
from dataset_registry.formats import read
from dataset_registry.formats.marks import Material
from dataset_registry.formats.archives import opened
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with opened(Path({str(path)!r})) as tree:
    shapes = sum(len(image.shapes) for image in read(Material(tree), "coco"))
print(shapes, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        shapes, grown_kb = map(int, done.stdout.split())
        assert shapes == count
        assert grown_kb * 1000 < 2 * path.stat().st_size, grown_kb


class TestXml:
    def test_bombs_and_foreign_entities_are_refused(self, tmp_path: Path) -> None:
        for inner in (
            '<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">',
            '<!ENTITY a SYSTEM "file:///etc/passwd">',
        ):
            text = f'<?xml version="1.0"?>\n<!DOCTYPE x [{inner}]>\n<annotation><filename>&a;</filename></annotation>'
            bad = problem(tmp_path, {"Annotations/a.xml": text.encode()})
            assert (bad.reason, bad.line) == ("xml-with-doctype", 2)

    def test_each_problem_has_its_line(self, tmp_path: Path) -> None:
        text = """<annotation>
 <filename>a.png</filename>
 <size><width>40</width><height>30</height></size>
 <object><name>crack</name>
  <bndbox><xmin>1</xmin><ymin>1</ymin><xmax>nan</xmax><ymax>9</ymax></bndbox></object>
 <object><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>9</ymax></bndbox></object>
 <object><name>crack</name></object>
</annotation>"""
        problems = found(tmp_path, {"Annotations/a.xml": text.encode()})
        assert [(p.line, p.where, p.reason) for p in problems] == [
            (4, "object 1", "unreadable-value"),
            (6, "object 2", "class-missing"),
            (7, "object 3", "unreadable-value"),
        ]

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"<annotations><image name='a'>", "broken-xml"),
            (b"<annotations>\xff</annotations>", "broken-xml"),
            (b"<annotations>" + b"<a>" * 100 + b"</a>" * 100 + b"</annotations>", "xml-too-deep"),
        ],
    )
    def test_what_is_no_xml(self, tmp_path: Path, data: bytes, reason: str) -> None:
        assert problem(tmp_path, {"a.xml": data}, "cvat").reason == reason

    @pytest.mark.parametrize(
        ("mark", "reason"),
        [
            ('<ellipse label="crack" cx="1" cy="2"/>', "unsupported-shape"),
            ('<mask label="crack" rle="1, 2" left="0" top="0" width="9" height="9"/>', "broken-mask"),
            ('<mask label="crack" rle="81" left="38" top="0" width="9" height="9"/>', "mask-of-another-size"),
            ('<polygon label="crack" points="1,1;2"/>', "unreadable-value"),
            ('<box xtl="1" ytl="1" xbr="2" ybr="2"/>', "unreadable-value"),
        ],
    )
    def test_marks_of_cvat_that_cannot_be(self, tmp_path: Path, mark: str, reason: str) -> None:
        text = (
            f'<annotations><image id="0" name="a.png" width="40" height="30">\n{mark}</image></annotations>'
        )
        bad = problem(tmp_path, {"annotations.xml": text.encode()})
        assert (bad.reason, bad.line) == (reason, 2)


class TestTexts:
    def test_yolo_lines(self, tmp_path: Path) -> None:
        files = {
            "data.yaml": b"names: [crack]",
            "images/a.png": picture(),
            "labels/a.txt": b"0 .5 .5 .1 .1\n\n0 .5 .5 .1\n1 .5 .5 .1 .1\n0 .5 .5 x .1\n",
            "labels/gone.txt": b"0 .5 .5 .1 .1",
        }
        assert [(p.line, p.reason) for p in found(tmp_path, files)] == [
            (3, "unreadable-line"),
            (4, "unknown-class"),
            (5, "unreadable-value"),
            (None, "picture-missing"),
        ]

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            (b"names: [crack\n", "unreadable-classes"),
            (b"a: &a [x]\nnames: *a\n", "unreadable-classes"),
            (b"names: {x: crack}\n", "unreadable-classes"),
            (b"names: [crack]\nkpt_shape: [3, 2]\n", "unsupported-shape"),
        ],
    )
    def test_yolo_lists_of_classes(self, tmp_path: Path, text: bytes, reason: str) -> None:
        files = {"data.yaml": text, "images/a.png": picture()}
        assert problem(tmp_path, files).reason == reason

    def test_csv_lines(self, tmp_path: Path) -> None:
        head = "image,width,height,class,kind,x,y,box_width,box_height,geometry\n"
        lines = [
            "a.png,40,30,crack,box,1,2,3,4,",
            "a.png,40,30,crack,circle,1,2,3,4,",
            'a.png,40,30,crack,polygon,,,,,"{""rings"": 3}"',
            "b.png,40,30,crack,box,1,2,3,,",
            "c.png,40,30,crack,box,1,2,3,4,",
            "a.png,40,30,crack,box,1,2,3,4,",
        ]
        items = found(tmp_path, (head + "\n".join(lines)).encode())
        assert [(item.line, item.reason) for item in items if isinstance(item, Problem)] == [
            (3, "unsupported-shape"),
            (4, "unreadable-value"),
            (5, "unreadable-value"),
        ]

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            (b"image;width;height;class;kind\n", "columns-missing"),
            (b"image,width,height,class,kind\na.png,40\n", "unreadable-line"),
            (b'image,width,height,class,kind\n"a.png,40,30,crack,\n', "unreadable-line"),
            (b"image,width,height,class,kind\na\xe4.png,40,30,crack,\n", "wrong-encoding"),
        ],
    )
    def test_what_is_no_csv(self, tmp_path: Path, text: bytes, reason: str) -> None:
        assert problem(tmp_path, text, "csv").reason == reason

    def test_a_name_that_stands_there_twice(self, tmp_path: Path) -> None:
        text = b"image,width,height,class,kind\na,4,3,x,\nb,4,3,x,\na,4,3,y,\n"
        twice = [item for item in found(tmp_path, text, "csv") if isinstance(item, Problem)]
        assert [(item.line, item.reason) for item in twice] == [(4, "duplicate-name")] and "line 2" in twice[
            0
        ].advice


class TestPictures:
    def test_masks_of_another_size_or_value(self, tmp_path: Path) -> None:
        files = {"images/a.png": picture(), "masks/crack/a.png": picture(20, 30)}
        assert problem(tmp_path, files).reason == "mask-of-another-size"
        values = bytes(cv2.imencode(".png", np.full((HEIGHT, WIDTH), 9, np.uint8))[1])
        files = {"images/a.png": picture(), "masks/a.png": values, "classes.csv": b"index,name\n1,crack\n"}
        assert problem(tmp_path, files).reason == "unknown-class"
        files["classes.csv"] = b"index,name\none,crack\n"
        bad = problem(tmp_path, files)
        assert (bad.reason, bad.line) == ("unreadable-classes", 2)
        files = {"images/a.png": picture(), "masks/crack/a.png": picture()[:60]}
        assert problem(tmp_path, files).reason in ("truncated", "unreadable-value", "damaged")

    def test_label_studio_tasks(self, tmp_path: Path) -> None:
        mark = {"type": "rectanglelabels", "original_width": WIDTH, "original_height": HEIGHT}
        value = {"x": 1, "y": 2, "width": 3, "height": 4, "rectanglelabels": ["crack"]}
        good = {"result": [mark | {"value": value}]}
        unnamed = {"result": [mark | {"value": value | {"rectanglelabels": []}}]}
        round_ = {"result": [mark | {"type": "ellipselabels", "value": {}}]}
        tasks = [
            {"data": {"image": "a.png"}, "annotations": []},
            {"data": {"image": "b.png"}, "annotations": [good, good]},
            {"data": {"text": "no picture"}, "annotations": [good]},
            {"data": {"image": "c.png"}, "annotations": [round_]},
            {"data": {"image": "d.png"}, "annotations": [unnamed]},
            {
                "data": {"image": "e.png"},
                "annotations": [
                    {
                        "result": [
                            mark | {"type": "brushlabels", "value": {"rle": [1, 2], "brushlabels": ["crack"]}}
                        ]
                    }
                ],
            },
            {
                "data": {"image": "/data/upload/1/0123abcd-f.png"},
                "annotations": [good | {"ground_truth": True}, good],
            },
        ]
        *problems, image = found(tmp_path, {"tasks.json": json.dumps(tasks).encode()})
        assert [(p.where, p.reason) for p in problems] == [
            ("[0]", "not-annotated"),
            ("[1]", "several-annotations"),
            ("[2]", "picture-missing"),
            ("[3]", "unsupported-shape"),
            ("[4]", "class-missing"),
            ("[5]", "broken-mask"),
        ]
        assert image.image.name == "f.png"


class TestRules:
    def test_labels_obey_the_rules_of_the_room(self, tmp_path: Path) -> None:
        document = coco(BOX, images=[{"id": 1, "file_name": "a\u0007.png", "width": WIDTH, "height": HEIGHT}])
        assert problem(tmp_path, as_file(document)).reason == "unusable-name"
        huge = coco(images=[{"id": 1, "file_name": "a.png", "width": 10**7, "height": 1}])
        assert problem(tmp_path, as_file(huge)).reason == "size-of-image"
        assert (
            problem(tmp_path, as_file(coco(BOX, categories=[{"id": 7, "name": "good"}]))).reason
            == "good-shape"
        )

"""Each layout of a data folder gives the same plain list."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from andon_vision.sources import SourceError, load_source

HEADER = "image,label,defect_classes,annotation_file,template_file,product,station_hint,width,height,sha256\n"


def write(path: Path, scene: npt.NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), scene)


def test_folder_per_class_knows_the_good_one_and_skips_masks(
    tmp_path: Path, scene: npt.NDArray[np.uint8]
) -> None:
    for name in ("free/a.jpg", "crack/b.jpg", "crack/b.png", "fray/c.png"):
        write(tmp_path / name, scene)
    images = load_source(tmp_path)
    assert [(image.path.name, image.classes, image.is_defect) for image in images] == [
        ("b.jpg", ("crack",), True),
        ("c.png", ("fray",), True),
        ("a.jpg", (), False),
    ]


def test_index_names_several_classes_and_templates(tmp_path: Path, scene: npt.NDArray[np.uint8]) -> None:
    for name in ("one_test.png", "one_temp.png", "good.png"):
        write(tmp_path / name, scene)
    (tmp_path / "index.csv").write_text(
        HEADER
        + "one_test.png,defect,open;short,,one_temp.png,pcb-7,line-scan,120,90,\n"
        + "good.png,normal,,,,pcb-7,line-scan,120,90,\n"
    )
    test, template, good = load_source(tmp_path)
    assert test.classes == ("open", "short") and test.is_defect
    assert not template.is_defect and template.classes == ()
    assert test.group == template.group == "one_temp.png"
    assert good.group == "" and good.product == "pcb-7" and good.station_hint == "line-scan"
    assert good.read() == (tmp_path / "good.png").read_bytes()


def test_an_index_that_a_spreadsheet_wrote_is_read(tmp_path: Path, scene: npt.NDArray[np.uint8]) -> None:
    write(tmp_path / "Lötstelle.png", scene)
    rows = HEADER + "Lötstelle.png,defect,void,,,pcb-7,line-scan,120,90,\n"
    (tmp_path / "index.csv").write_text(rows.replace("\n", "\r\n"), encoding="utf-8-sig", newline="")
    (image,) = load_source(tmp_path)
    assert image.path.name == "Lötstelle.png" and image.classes == ("void",)


@pytest.mark.parametrize(
    "row",
    [
        "missing.png,normal,,,,p,s,1,1,\n",
        "../outside.png,normal,,,,p,s,1,1,\n",
        "good.png,maybe,,,,p,s,1,1,\n",
    ],
)
def test_bad_rows_are_named_by_line(tmp_path: Path, scene: npt.NDArray[np.uint8], row: str) -> None:
    write(tmp_path / "outside.png", scene)
    write(tmp_path / "set" / "good.png", scene)
    (tmp_path / "set" / "index.csv").write_text(HEADER + row)
    with pytest.raises(SourceError, match="line 2"):
        load_source(tmp_path / "set")


def test_a_folder_without_images_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="one sub-folder of images per class"):
        load_source(tmp_path)
    with pytest.raises(SourceError, match="no folder"):
        load_source(tmp_path / "absent")

"""Figures of places: boxes by hand, masks against scikit-learn's own scores, heat maps where the answer is plain."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from andon_vision import Preprocessing
from andon_vision.regions import Region
from andon_vision.release_bundle import ReleaseBundle
from andon_vision.runner import Reading
from sklearn.metrics import f1_score, jaccard_score
from trainer.adapters.images import ImageStore
from trainer.adapters.region_scoring import FAINTEST, box_figures, faint_too, region_figures
from trainer.domain.metrics import Figure
from trainer.domain.snapshot import ImagePlace, LabelledBox, Row

CRACK, HOLE = ("crack",), ("hole",)
SPEC = Preprocessing(64, 64, fit="letterbox")
NOWHERE = ImagePlace(path="-")


class TestBoxes:
    """A miniature by hand; the tests of detection hold the library itself against a second one."""

    def seen(self, *boxes: tuple[str, float, float]) -> list[Region]:
        return [Region(name, x, 0, 10, 10, score) for name, x, score in boxes]

    def test_precision_of_boxes_by_hand(self) -> None:
        boxes = (LabelledBox("crack", 0, 0, 10, 10),)
        rows = [Row(f"r{n}", NOWHERE, CRACK, True, boxes=boxes) for n in range(2)]
        # The surest is right, the next is beside the part, the other part is covered by six fourteenths.
        found = [self.seen(("crack", 0, 0.9), ("crack", 50, 0.8)), self.seen(("crack", 4, 0.7))]
        figures = box_figures(rows, found, CRACK, [0, 1])
        recalls = np.linspace(0, 1, 101)
        assert figures["map_50"].value == pytest.approx((recalls <= 0.5).mean())
        assert figures["map_33"].value == pytest.approx(np.where(recalls <= 0.5, 1, 2 / 3).mean())
        assert figures["map_50"].low <= figures["map_50"].value <= figures["map_50"].high

    def test_without_a_box_there_is_no_figure(self) -> None:
        assert box_figures([Row("r", NOWHERE, CRACK, True)], [[]], CRACK, [0]) == {}


def test_faint_boxes_are_ranked_though_they_are_not_shown() -> None:
    def described(**regions: object) -> ReleaseBundle:
        return ReleaseBundle("r", SPEC, CRACK, 0.2, 0.8, {"task": "detection", "regions": regions})

    boxes = faint_too(described(**{"from": "boxes", "score_from": 0.4, "nms_iou": 0.5}))
    assert boxes.description["regions"] == {"from": "boxes", "score_from": FAINTEST, "nms_iou": 0.5}
    assert boxes.description["task"] == "detection"
    masks = described(**{"from": "masks", "threshold": 0.4})
    assert faint_too(masks) is masks


def measured(row: Row, kind: str, *regions: Region, heat: np.ndarray | None = None) -> dict[str, Figure]:
    """Of one image of 40 x 32 pixels and a release that knows cracks and holes."""
    image = cv2.imencode(".png", np.zeros((32, 40), np.uint8))[1].tobytes()
    bundle = ReleaseBundle("r", SPEC, CRACK + HOLE, 0.2, 0.8, {"regions": {"from": kind}})
    reading = Reading(0.9, (0.9, 0.1), np.zeros((8, 8), np.uint8) if heat is None else heat, regions)
    return region_figures(bundle, [row], [image], [reading], [0], ImageStore())


def masked(folder: Path, mask: np.ndarray, classes: tuple[str, ...] = CRACK + HOLE) -> Row:
    assert cv2.imwrite(str(folder / "mask.png"), mask)
    return Row("r", NOWHERE, classes, True, mask=ImagePlace(path=str(folder / "mask.png")))


def test_a_class_that_cannot_be_named_is_never_found() -> None:
    boxes = (LabelledBox("crack", 0, 0, 10, 10), LabelledBox("fray", 20, 0, 10, 10))
    figures = measured(
        Row("r", NOWHERE, CRACK, True, boxes=boxes), "boxes", Region("crack", 0, 0, 10, 10, 0.9)
    )
    assert figures["ap_50 crack"].value == pytest.approx(1) and figures["ap_50 fray"].value == 0
    assert figures["map_50"].value == pytest.approx(0.5)


class TestMasks:
    def test_dice_and_iou_are_scikit_learns(self, tmp_path: Path) -> None:
        actual = np.zeros((32, 40), np.uint8)
        actual[5:15, 5:20], actual[20:28, 30:38] = 1, 2
        crack = Region("crack", 8, 5, 16, 10, 0.9, outline=(8, 5, 23, 5, 23, 14, 8, 14))
        hole = Region("hole", 30, 20, 8, 4, 0.8, outline=(30, 20, 37, 20, 37, 23, 30, 23))
        found = measured(masked(tmp_path, actual), "masks", crack, hole)
        called = np.zeros_like(actual)
        called[5:15, 8:24], called[20:24, 30:38] = 1, 2
        for number, name in enumerate(("crack", "hole"), start=1):
            sides = (actual == number).ravel(), (called == number).ravel()
            assert found[f"dice {name}"].value == pytest.approx(f1_score(*sides))
            assert found[f"iou {name}"].value == pytest.approx(jaccard_score(*sides))
        assert found["dice"].value == pytest.approx(
            (found["dice crack"].value + found["dice hole"].value) / 2
        )

    def test_the_surest_region_lies_on_top(self, tmp_path: Path) -> None:
        actual = np.zeros((32, 40), np.uint8)
        actual[5:15, 5:20] = 1
        ring = (5, 5, 19, 5, 19, 14, 5, 14)
        regions = [Region("crack", 5, 5, 15, 10, 0.9, ring), Region("hole", 5, 5, 15, 10, 0.8, ring)]
        assert measured(masked(tmp_path, actual), "masks", *regions)["dice crack"].value == 1

    def test_without_a_mask_there_is_no_figure(self) -> None:
        assert measured(Row("r", NOWHERE, CRACK, True), "masks") == {}


class TestHeat:
    """The image lies in the middle of a square input: its heat is that of the rows between the letterbox's bars."""

    def test_heat_on_the_defect_alone_is_perfect(self, tmp_path: Path) -> None:
        actual = np.zeros((32, 40), np.uint8)
        actual[:, :20] = 255
        heat = np.zeros((16, 16), np.uint8)
        heat[:, :8] = 250
        heat[:1] = 255  # in the grey bar above, where nobody looks
        found = measured(masked(tmp_path, actual, HOLE), "heat_map", heat=heat)
        assert found["pixel_auroc"].value > 0.99 and found["aupro"].value > 0.9
        cold = measured(masked(tmp_path, actual, HOLE), "heat_map", heat=255 - heat)
        assert cold["pixel_auroc"].value < 0.01 and cold["aupro"].value < 0.1

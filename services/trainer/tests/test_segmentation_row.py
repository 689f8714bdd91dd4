"""The row of segmentation says what its answers say, without a training; what is put aside keeps groups whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from andon_vision import Preprocessing
from trainer.adapters.images import ImageStore
from trainer.adapters.mask_metrics import overlap
from trainer.adapters.segmentation_pictures import draw
from trainer.benchmark.segmentation import (
    COUNTS,
    CRACKS,
    DEFECT,
    RAW,
    SMALL,
    crack_errors_of,
    figures_of,
    sections_of,
)
from trainer.benchmark.table import Answers, Material
from trainer.domain.snapshot import ImagePlace, Row
from trainer.segmentation import put_aside, repeated

HEIGHT, WIDTH = 60, 90
CLASSES = ("crack", "stain")


def rows_in(folder: Path, kinds: Sequence[str]) -> tuple[list[Row], list[bytes]]:
    """Grey pictures; a crack is a bar of 40 x 4 pixels, a stain a square."""
    rows, images = [], []
    for at, kind in enumerate(kinds):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        if kind == "crack":
            mask[30:34, 20:60] = 255
        elif kind == "stain":
            mask[10:30, 10:30] = 255
        place = None
        if kind != "good":
            assert cv2.imwrite(str(folder / f"{at}.png"), mask)
            place = ImagePlace(path=str(folder / f"{at}.png"))
        classes = () if kind == "good" else (kind,)
        rows.append(Row(f"tile-{at}", ImagePlace(path="-"), classes, bool(classes), mask=place))
        images.append(cv2.imencode(".png", 200 - mask // 2)[1].tobytes())
    return rows, images


@pytest.fixture
def answered(tmp_path: Path) -> tuple[Material, Answers]:
    """Two images of each kind: a crack found a little short and one missed, both stains found, one false alarm."""
    rows, images = rows_in(tmp_path, ["crack", "crack", "stain", "stain", "good", "good"])
    material = Material(rows, images, list(range(6)), list(range(6)), 6)
    drawn = draw(rows, images, range(6), CLASSES, ImageStore(), Preprocessing(64, 64))
    predicted = [np.array(truth) for truth in drawn.truth]
    predicted[0][:, 56:] = 0
    predicted[1][:] = 0
    predicted[4][:10, :10] = 2
    pairs = list(zip(predicted, drawn.truth, strict=True))
    return material, {
        COUNTS: np.stack([overlap(*pair, 2) for pair in pairs]),
        RAW: np.array([0.6, 0.4, 0.9, 0.9, 0.5, 0.1]),
        DEFECT: np.array([0.7, 0.4, 0.9, 0.9, 0.6, 0.1]),
        CRACKS: np.stack([crack_errors_of(*pair, CLASSES) for pair in pairs]),
        SMALL: np.stack([cv2.resize(labels, (180, 180), interpolation=0) for labels in predicted]),
    }


def test_figures_by_hand(answered: tuple[Material, Answers]) -> None:
    figures = figures_of(*answered, np.arange(6))
    crack, stain = 2 * 144 / (144 + 320), 2 * 800 / (900 + 800)
    assert figures["dice crack"] == pytest.approx(crack) and figures["dice stain"] == pytest.approx(stain)
    assert figures["dice"] == pytest.approx((crack + stain) / 2)
    assert figures["dice_where_shown"] == pytest.approx((crack + 1) / 2)
    assert figures["dice_mean_of_images"] == pytest.approx((144 / 152 / 2 + 1) / 2)
    assert figures["cracks_found"] == 0.5
    assert figures["crack_length_error_px"] == pytest.approx(4, abs=0.5)
    assert figures["crack_centre_error_px"] == pytest.approx(2, abs=0.2)
    assert figures["auroc"] == pytest.approx(7 / 8)


def test_the_report_shows_the_worst_images_of_each_class(answered: tuple[Material, Answers]) -> None:
    sections = {section.title: section for section in sections_of(*answered)}
    worst = sections["crack: least overlap"].pictures
    assert [picture.caption for picture in worst] == ["Dice 0.00. tile-1", "Dice 0.95. tile-0"]
    (table,) = sections["Overlap by class"].tables
    assert table.rows[-1][0] == "mean"


def test_what_is_put_aside_keeps_groups_whole_and_no_rare_class(tmp_path: Path) -> None:
    kinds = ["good", "stain"] * 20 + ["crack"] * 6
    rows, images = rows_in(tmp_path, kinds)
    groups = [at // 4 for at in range(40)] + [20 + at // 2 for at in range(6)]
    drawn = draw(rows, images, groups, CLASSES, ImageStore(), Preprocessing(64, 64))
    learning, held = put_aside(drawn, np.arange(46))
    assert sorted([*learning, *held]) == list(range(46)) and len(held)
    assert {groups[at] for at in learning}.isdisjoint(groups[at] for at in held)
    assert all(at < 40 for at in held)


def test_rare_classes_come_several_times() -> None:
    numbers = np.array([0] * 5 + [1] * 60 + [2] * 20)
    seen = repeated(np.arange(85), numbers)
    assert [int((numbers[seen] == number).sum()) for number in (0, 1, 2)] == [5, 60, 40]

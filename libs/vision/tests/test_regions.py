"""Regions of a release's outputs lie where the defect lies in the original image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from andon_vision import Preprocessing, frame_of, prepare_pixels
from andon_vision.regions import Region, class_map, read_regions
from hypothesis import given
from hypothesis import strategies as st

CLASSES = ("crack", "fray")


def outputs(**given: Any) -> dict[str, Any]:
    return {
        "heat_map": np.zeros((4, 8), np.uint8),
        "class_probabilities": np.array([0.1, 0.7], np.float32),
        **given,
    }


OF_BOXES = {"from": "boxes", "score_from": 0.3, "nms_iou": 0.5}
OF_MASKS = {"from": "masks", "threshold": 0.5, "min_area_share": 0.01}


class TestFrame:
    @pytest.mark.parametrize("fit", ["stretch", "letterbox"])
    @given(st.integers(4, 90), st.integers(4, 90))
    def test_a_white_patch_is_found_where_it_was(self, fit: Any, width: int, height: int) -> None:
        """Whatever the preprocessing does, its inverse puts a rectangle back."""
        spec = Preprocessing(64, 48, fit=fit)
        pixels = np.zeros((height, width), np.uint8)
        pixels[height // 2 :, width // 2 :] = 255
        rows, columns = np.nonzero(prepare_pixels(pixels, spec)[:, :, 0] > 127)
        frame = frame_of(width, height, spec)
        box = frame.to_original(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        slack = 1.5 * max(width / 64, height / 48, 1.0)
        assert box == pytest.approx((width // 2, height // 2, width, height), abs=slack)

    def test_a_map_is_cut_to_what_shows_the_image(self) -> None:
        cells = np.arange(8 * 8).reshape(8, 8)
        wide = frame_of(200, 100, Preprocessing(64, 64, fit="letterbox"))
        assert wide.content == (0, 16, 64, 48)
        assert wide.cut(cells).tolist() == cells[2:6].tolist()


class TestHeatMap:
    def test_a_region_is_what_hangs_together_around_the_brightest_cell(self) -> None:
        heat = np.zeros((4, 8), np.uint8)
        heat[1, 2], heat[1, 3], heat[2, 3] = 200, 120, 110
        heat[3, 7] = 190  # bright, but elsewhere
        frame = frame_of(160, 40, Preprocessing(64, 32))
        (region,) = read_regions(outputs(heat_map=heat), CLASSES, {}, frame, 0.8)
        assert region == Region("fray", 40.0, 10.0, 40.0, 20.0, 0.8)

    def test_a_dark_map_points_nowhere(self) -> None:
        frame = frame_of(100, 100, Preprocessing(64, 32))
        dim = outputs(heat_map=np.full((4, 8), 20, np.uint8))
        assert read_regions(dim, CLASSES, {}, frame, 0.8) == []

    @given(st.integers(0, 2**32 - 1))
    def test_a_region_lies_in_the_image(self, seed: int) -> None:
        heat = np.random.default_rng(seed).integers(0, 256, (4, 8), dtype=np.uint8)
        frame = frame_of(700, 500, Preprocessing(64, 32, fit="letterbox"))
        for region in read_regions(outputs(heat_map=heat), CLASSES, {}, frame, 0.8):
            assert 0 <= region.x <= region.x + region.width <= 700
            assert 0 <= region.y <= region.y + region.height <= 500


class TestBoxes:
    def test_overlapping_boxes_of_a_class_are_one_and_unused_rows_none(self) -> None:
        rows = np.zeros((6, 6), np.float32)
        rows[0] = (10, 10, 20, 20, 0.9, 0)
        rows[1] = (11, 10, 21, 20, 0.8, 0)  # the same defect again
        rows[2] = (11, 10, 21, 20, 0.7, 1)  # another class may lie there
        rows[3] = (30, 20, 40, 30, 0.2, 0)  # too unsure
        frame = frame_of(128, 64, Preprocessing(64, 32))
        found = read_regions(outputs(boxes=rows), CLASSES, OF_BOXES, frame, 0.9)
        assert [(seen.class_name, round(seen.score, 2)) for seen in found] == [("crack", 0.9), ("fray", 0.7)]
        assert (found[0].x, found[0].y, found[0].width, found[0].height) == (20, 20, 20, 20)

    def test_no_row_is_no_region(self) -> None:
        nothing = outputs(boxes=np.zeros((6, 6), np.float32))
        frame = frame_of(128, 64, Preprocessing(64, 32))
        assert read_regions(nothing, CLASSES, OF_BOXES | {"score_from": 0.0}, frame, 0.1) == []


class TestMasks:
    def test_each_connected_part_of_a_class_is_a_region_with_its_outline(self) -> None:
        masks = np.zeros((2, 16, 16), np.uint8)
        masks[0, 2:6, 2:10] = 255
        masks[0, 10:14, 8:12] = 200
        masks[1, 10:14, 8:12] = 100  # less sure there
        frame = frame_of(64, 64, Preprocessing(32, 32))
        found = read_regions(outputs(masks=masks), CLASSES, OF_MASKS, frame, 0.9)
        assert [seen.class_name for seen in found] == ["crack", "crack"]
        sure, other = found
        assert sure.score > 0.9 > other.score > 0.6
        assert (sure.x, sure.y) == pytest.approx((8, 8), abs=1)
        assert (sure.width, sure.height) == pytest.approx((32, 16), abs=2)
        ring = np.array(sure.outline).reshape(-1, 2)
        assert ring[:, 0].min() == sure.x and ring[:, 1].max() == sure.y + sure.height - 1

    def test_a_letterboxed_image_is_read_from_its_own_part_of_the_map(self) -> None:
        masks = np.zeros((2, 16, 16), np.uint8)
        masks[1, 4:12, 8:] = 255  # the right half of what shows the image
        frame = frame_of(100, 50, Preprocessing(32, 32, fit="letterbox"))
        drawn = class_map(masks, frame, 0.5)
        assert drawn.labels.shape == (50, 100)
        assert (drawn.labels[:, 53:] == 2).all() and not drawn.labels[:, :47].any()

    def test_a_crack_is_measured_where_it_lies(self) -> None:
        masks = np.zeros((2, 32, 32), np.uint8)
        masks[0, 16, 4:28] = 255
        spec = OF_MASKS | {"measure": ["crack"], "mm_per_pixel": 0.1}
        (crack,) = read_regions(
            outputs(masks=masks), CLASSES, spec, frame_of(320, 320, Preprocessing(32, 32)), 0.9
        )
        assert crack.measurements["length_px"] == pytest.approx(240, abs=12)
        assert crack.measurements["length_mm"] == pytest.approx(0.1 * crack.measurements["length_px"])
        assert crack.key_points["centre"] == pytest.approx((160, 165), abs=2)

    def test_a_speck_is_no_region(self) -> None:
        masks = np.zeros((2, 32, 32), np.uint8)
        masks[0, 5, 5] = 255
        frame = frame_of(320, 320, Preprocessing(32, 32))
        assert read_regions(outputs(masks=masks), CLASSES, OF_MASKS, frame, 0.9) == []


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(ValueError, match="'clouds'"):
        read_regions(outputs(), CLASSES, {"from": "clouds"}, frame_of(8, 8, Preprocessing(8, 8)), 0.5)


def test_a_region_survives_the_wire() -> None:
    whole = Region("crack", 1, 2, 3, 4, 0.5, (1.0, 2.0), {"length_px": 3.0}, {"centre": (1.0, 2.0)})
    assert Region.from_json(whole.to_json()) == whole

"""Lines drawn with a known length, width and inclination are measured as they were drawn."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from andon_vision.measurement import measure


def bar(length: float, width: float, angle: float, side: int = 240) -> npt.NDArray[np.bool_]:
    """A straight bar around the middle, rising to the right by `angle` degrees."""
    down, across = np.mgrid[:side, :side] - (side - 1) / 2
    turn = math.radians(angle)
    along = across * math.cos(turn) - down * math.sin(turn)
    aside = across * math.sin(turn) + down * math.cos(turn)
    return np.array((abs(along) <= length / 2) & (aside >= -width / 2) & (aside < width / 2))


@pytest.mark.parametrize("angle", [0, 15, 30, 45, 60, 75, 90, -20, -45, -80])
@pytest.mark.parametrize("width", [3, 7, 12])
def test_a_bar_is_as_long_wide_and_inclined_as_it_was_drawn(angle: float, width: float) -> None:
    found = measure(bar(150, width, angle)).measurements
    assert found["length_px"] == pytest.approx(150, rel=0.04)
    assert found["mean_width_px"] == pytest.approx(width, rel=0.04, abs=0.6)
    assert found["largest_width_px"] == pytest.approx(width, abs=1.0)
    assert abs((found["angle_deg"] - angle + 90) % 180 - 90) < 1.0


def test_key_points_lie_on_the_line() -> None:
    found = measure(bar(160, 5, 0)).key_points
    left, right = sorted((found["start"], found["end"]))
    assert left == pytest.approx((40, 119.5), abs=4) and right == pytest.approx((199, 119.5), abs=4)
    assert found["centre"] == pytest.approx((119.5, 119.0), abs=0.1)


def test_the_widest_place_is_found() -> None:
    crack = bar(160, 3, 0).astype(np.uint8)
    cv2.circle(crack, (150, 119), 8, 1, -1)
    found = measure(crack.astype(bool))
    assert found.key_points["widest"] == pytest.approx((150, 119), abs=2)
    assert found.measurements["largest_width_px"] == pytest.approx(17, abs=2)


def test_an_arc_is_measured_along_its_line_and_a_branch_is_left_out() -> None:
    arc = np.zeros((240, 240), np.uint8)
    cv2.ellipse(arc, (120, 120), (80, 80), 0, 180, 360, 1, 3)
    wanted = math.pi * 80
    assert measure(arc.astype(bool)).measurements["length_px"] == pytest.approx(wanted, rel=0.04)
    cv2.line(arc, (120, 40), (120, 60), 1, 3)
    assert measure(arc.astype(bool)).measurements["length_px"] == pytest.approx(wanted, rel=0.05)


def test_millimetres_follow_the_scale() -> None:
    found = measure(bar(100, 5, 30), mm_per_pixel=0.02).measurements
    for name in ("length", "mean_width", "largest_width", "equivalent_diameter"):
        assert found[f"{name}_mm"] == pytest.approx(found[f"{name}_px"] * 0.02)
    assert found["area_mm2"] == pytest.approx(found["area_px2"] * 0.0004)
    assert "length_mm" not in measure(bar(100, 5, 30)).measurements


def test_a_single_pixel_and_a_whole_picture_have_a_size() -> None:
    speck = np.zeros((5, 5), bool)
    speck[2, 3] = True
    found = measure(speck)
    assert found.measurements["length_px"] == pytest.approx(1.0)
    assert found.key_points["centre"] == (3.0, 2.0)
    assert measure(np.ones((20, 60), bool)).measurements["length_px"] == pytest.approx(60, abs=8)


def test_nothing_cannot_be_measured() -> None:
    with pytest.raises(ValueError, match="nothing to measure"):
        measure(np.zeros((4, 4), bool))

"""The measures react to what they are named after, and to nothing else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quality_audit.domain.measures import MEASURES, Grey, measure


def textured(side: int = 200, seed: int = 0) -> Grey:
    """A part with structure at every scale, in the middle of the grey range."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(rng.normal(0, 18, (n, n)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
        for n in (4, 16, 64)
    ]
    return np.clip(sum(layers) + 120, 0, 255).astype(np.uint8)


def test_all_measures_are_finite_even_for_images_without_content() -> None:
    for image in (np.zeros((1, 1), np.uint8), np.zeros((40, 40), np.uint8), np.full((40, 40), 255, np.uint8)):
        measures = measure(image)
        assert set(measures) == set(MEASURES)
        assert all(np.isfinite(v) for v in measures.values())


@pytest.mark.parametrize("sigma", [1.0, 2.0, 5.0])
def test_blur_lowers_sharpness_and_leaves_brightness(sigma: float) -> None:
    image = textured()
    sharp, blurred = measure(image), measure(np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8))
    assert blurred["sharpness"] < sharp["sharpness"] - 0.3
    assert blurred["brightness"] == pytest.approx(sharp["brightness"], abs=0.01)


@settings(max_examples=30, deadline=None)
@given(gain=st.floats(0.35, 1.2), seed=st.integers(0, 50))
def test_less_light_is_not_taken_for_blur(gain: float, seed: int) -> None:
    image = textured(seed=seed)
    dimmed = np.clip(image * gain, 0, 255).astype(np.uint8)
    assert measure(dimmed)["sharpness"] == pytest.approx(measure(image)["sharpness"], abs=0.2)


def test_exposure_is_seen_in_brightness_and_clipped_shares() -> None:
    image = textured()
    over = measure(np.clip(image.astype(np.float32) * 1.6 + 110, 0, 255).astype(np.uint8))
    under = measure((image * 0.03).astype(np.uint8))
    assert over["over_fraction"] > 0.8 and over["brightness"] > 0.95
    assert under["under_fraction"] > 0.8 and under["brightness"] < 0.03


def test_contrast_is_the_spread_of_grey_levels() -> None:
    image = textured()
    flat = (image * 0.25 + 90).astype(np.uint8)
    assert measure(flat)["contrast"] == pytest.approx(measure(image)["contrast"] * 0.25, rel=0.1)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_part_that_slid_out_of_the_frame_leaves_a_band_on_any_side(turns: int) -> None:
    image = textured(200)
    image[:, 140:] = 3
    assert measure(np.rot90(image, turns))["border_fraction"] == pytest.approx(0.3)
    assert measure(textured(200))["border_fraction"] < 0.05


def test_a_large_image_gives_nearly_the_measures_of_its_content_at_bounded_cost() -> None:
    tile = textured(1024)
    large = np.tile(tile, (4, 4))
    small_measures, large_measures = measure(tile), measure(large)
    for name in ("brightness", "contrast", "sharpness"):
        assert large_measures[name] == pytest.approx(small_measures[name], abs=0.08)

"""Preprocessing is a function of the bundle's words and the image's bytes, nothing else."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from andon_vision import ImageRefused, Preprocessing, prepare, prepare_pixels

Grey = npt.NDArray[np.uint8]


def test_grey_becomes_three_equal_channels(scene: Grey) -> None:
    ready = prepare_pixels(scene, Preprocessing(64, 48))
    assert ready.shape == (48, 64, 3)
    np.testing.assert_array_equal(ready[..., 0], ready[..., 2])


def test_same_size_changes_nothing(colour_scene: Grey) -> None:
    np.testing.assert_array_equal(prepare_pixels(colour_scene, Preprocessing(120, 90)), colour_scene)


def test_sixteen_bits_equal_their_upper_eight(scene: Grey) -> None:
    spec = Preprocessing(64, 48)
    np.testing.assert_array_equal(
        prepare_pixels(scene.astype(np.uint16) << 8, spec), prepare_pixels(scene, spec)
    )


def test_letterbox_keeps_the_aspect_ratio(scene: Grey) -> None:
    ready = prepare_pixels(scene, Preprocessing(60, 60, fit="letterbox"))
    assert ready.shape == (60, 60, 3)
    assert (ready[:7] == 127).all() and (ready[53:] == 127).all()
    assert ready[8:52].std() > 20


def test_bytes_in_pixels_out(scene: Grey) -> None:
    spec = Preprocessing(64, 48)
    data = cv2.imencode(".png", scene)[1].tobytes()
    np.testing.assert_array_equal(prepare(data, spec), prepare_pixels(scene, spec))
    with pytest.raises(ImageRefused):
        prepare(data[:100], spec)


def test_json_round_trip_and_unknown_steps() -> None:
    spec = Preprocessing(224, 224, fit="letterbox", interpolation="linear")
    assert Preprocessing.from_json(spec.to_json()) == spec
    with pytest.raises(ValueError, match="unknown preprocessing"):
        Preprocessing.from_json({"width": 10, "height": 10, "fit": "crop"})
    with pytest.raises(ValueError, match="not supported"):
        Preprocessing.from_json({"width": 0, "height": 10})

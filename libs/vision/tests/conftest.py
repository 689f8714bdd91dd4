"""Small pictures made on the spot, so that the tests need no files."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest


@pytest.fixture(scope="session")
def scene() -> npt.NDArray[np.uint8]:
    """A grey 120 x 90 pixel scene with edges, a gradient and a little noise."""
    random = np.random.default_rng(7)
    picture = np.tile(np.linspace(40, 180, 120, dtype=np.float32), (90, 1))
    cv2.circle(picture, (40, 45), 22, 230, -1)
    cv2.rectangle(picture, (75, 15), (110, 70), 20, 3)
    return (picture + random.normal(0, 3, picture.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def colour_scene(scene: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The scene in RGB, with a different picture in each channel."""
    return np.dstack([scene, scene[::-1], scene[:, ::-1]])

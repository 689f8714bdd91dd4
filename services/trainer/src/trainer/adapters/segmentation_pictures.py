"""Pictures with their masks: prepared for the network, and as they were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from andon_vision import Frame, Preprocessing, decode_image, frame_of, prepare_pixels

from trainer.adapters.masks import Labels, labels_of
from trainer.domain.evaluation import Index
from trainer.domain.snapshot import Row
from trainer.ports import ImageReader


@dataclass(frozen=True, slots=True)
class Pictures:
    """Prepared pictures with their label maps.

    Attributes:
        pixels: (images, H, W, 3).
        labels: (images, H, W), 0 or the number of a class from 1 on.
        encoded: Bytes that name the pictures in caches: the images that they were decoded from.
    """

    pixels: npt.NDArray[np.uint8]
    labels: Labels
    encoded: Sequence[bytes]

    def take(self, rows: Index) -> Pictures:
        return Pictures(self.pixels[rows], self.labels[rows], [self.encoded[row] for row in rows])


@dataclass(frozen=True, slots=True)
class Drawn:
    """Images of a data set with their masks.

    Attributes:
        truth: The label map of each image in its own size.
        frames: Where each image lies in the network's input.
        numbers: 0 for a good image, else the number of its first class from 1 on.
    """

    pictures: Pictures
    truth: Sequence[Labels]
    frames: Sequence[Frame]
    numbers: npt.NDArray[np.int_]
    groups: Sequence[int]
    rows: Sequence[Row]

    @property
    def is_defect(self) -> npt.NDArray[np.bool_]:
        return np.array([row.is_defect for row in self.rows])

    def take(self, rows: Index) -> Drawn:
        return Drawn(
            self.pictures.take(rows),
            [self.truth[row] for row in rows],
            [self.frames[row] for row in rows],
            self.numbers[rows],
            [self.groups[row] for row in rows],
            [self.rows[row] for row in rows],
        )


def draw(
    rows: Sequence[Row],
    images: Sequence[bytes],
    groups: Sequence[int],
    classes: Sequence[str],
    reader: ImageReader,
    spec: Preprocessing,
) -> Drawn:
    """Reads images and masks. Raises `SnapshotError` for a defect without a mask, or a mask that does not fit."""
    pixels, labels, truth, frames = [], [], [], []
    for row, data in zip(rows, images, strict=True):
        whole = decode_image(data).pixels
        height, width = whole.shape[:2]
        own = labels_of(row, reader, (height, width), classes)
        frame = frame_of(width, height, spec)
        left, top, right, bottom = frame.content
        canvas = np.zeros((spec.height, spec.width), np.uint8)
        size = (right - left, bottom - top)
        canvas[top:bottom, left:right] = cv2.resize(own, size, interpolation=cv2.INTER_NEAREST)
        pixels.append(prepare_pixels(whole, spec))
        labels.append(canvas)
        truth.append(own)
        frames.append(frame)
    numbers = [
        next((classes.index(name) + 1 for name in row.classes if name in classes), 0) if row.is_defect else 0
        for row in rows
    ]
    pictures = Pictures(np.stack(pixels), np.stack(labels), images)
    return Drawn(pictures, truth, frames, np.array(numbers), groups, rows)

"""Teaches the detector's head on views of labelled pictures, and asks it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import albumentations as augmentations
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import onnx
from andon_vision import Preprocessing, decode_image, frame_of, prepare_pixels

from trainer.adapters.detection_head import GRIDS, LEVELS, WEIGHTS, Detector, Head, loss_of
from trainer.adapters.heads import Chosen, FrozenMaps, Pixels, Schedule, fit, identity
from trainer.adapters.maps import even_light
from trainer.domain.detection import MOST_BOXES, owners, padded, points_of
from trainer.domain.snapshot import Row
from trainer.workshop import Report

BOXES, OWNER, NOISE = "boxes", "owner", "noise"
VIEWS: Final = 12
"""As it is, and eleven times cropped, turned and in another light."""
SCHEDULE: Final = Schedule(epochs=60, batch=16, rate=4e-3, decay=1e-3)
LEAST_VISIBLE: Final = 0.3
"""Share of a box that a crop must leave for it to count."""
_SAMPLED: Final = 100

Index = npt.NDArray[np.int_]


@dataclass(frozen=True, slots=True)
class Pictures:
    """Encoded images with their boxes in pixels of the network's input: rows of x1, y1, x2, y2, class."""

    encoded: Sequence[bytes]
    boxes: Sequence[npt.NDArray[np.float64]]
    spec: Preprocessing

    def pixels(self, row: int) -> Pixels:
        """(H, W, 3) as the network gets it."""
        return prepare_pixels(decode_image(self.encoded[row]).pixels, self.spec)


def pictures_of(
    rows: Sequence[Row], images: Sequence[bytes], classes: Sequence[str], spec: Preprocessing
) -> Pictures:
    """The images with those of their boxes whose class is learned."""
    boxes = []
    for row, data in zip(rows, images, strict=True):
        height, width = decode_image(data).pixels.shape[:2]
        left, top, right, bottom = frame_of(width, height, spec).content
        across, down = (right - left) / width, (bottom - top) / height
        own = [
            (
                left + box.x * across,
                top + box.y * down,
                left + (box.x + box.width) * across,
                top + (box.y + box.height) * down,
                classes.index(box.class_name),
            )
            for box in row.boxes
            if box.class_name in classes
        ]
        boxes.append(np.array(own, np.float64).reshape(-1, 5))
    return Pictures(images, boxes, spec)


class Views:
    """Everything that the head learns from: maps, boxes and the box of each point, of each view of each picture.

    Maps are kept in files under `folder`, so that a second training on these pictures begins at once.
    """

    def __init__(
        self, pictures: Pictures, backbone: onnx.ModelProto, folder: Path, report: Report, views: int = VIEWS
    ) -> None:
        spec, count = pictures.spec, len(pictures.encoded)
        change = _change(spec)
        labelled = [own.tobytes() for own in pictures.boxes]
        name = identity(pictures.encoded, "detection", views, spec, repr(change), labelled)
        size, kept = (count, views), folder / f"{name}-boxes.npy"
        boxes = np.empty((*size, MOST_BOXES, 5), np.float32)
        made = _made(pictures, change, boxes)
        maps = FrozenMaps(even_light(backbone), LEVELS, folder).maps(made, count * views, name, report)
        if not kept.is_file():
            deque(made, maxlen=0)  # where the maps were there already, nobody has asked for the views
            np.save(kept, boxes)
        self.boxes = np.load(kept)
        self.spec = spec
        self.maps = {level: values.reshape(*size, *values.shape[1:]) for level, values in maps.items()}
        points = points_of(GRIDS, spec.width, spec.height)
        self.owner = np.stack([[owners(view, points) for view in picture] for picture in self.boxes])

    def examples(self, rows: Index) -> dict[str, Any]:
        """What `fit` needs of these rows; a row may stand there more than once."""
        whole = {**self.maps, BOXES: self.boxes, OWNER: self.owner}
        return {name: Chosen(values, rows) for name, values in whole.items()}

    def scale(self, rows: Index) -> dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
        """Mean and standard deviation of each level's channels over some of these rows."""
        sample = np.sort(rows)[:: max(1, len(rows) // _SAMPLED)]
        found = {level: np.asarray(values[sample, 0], np.float32) for level, values in self.maps.items()}
        axes = (0, 1, 2)
        return {level: (values.mean(axes), values.std(axes) + 1e-3) for level, values in found.items()}


def _made(
    pictures: Pictures, change: augmentations.Compose, boxes: npt.NDArray[np.float32]
) -> Iterator[Pixels]:
    """Every view of every picture, while `boxes` (pictures, views, rows, 5) is filled with what each shows."""
    for row in range(len(boxes)):
        pixels, own = pictures.pixels(row), pictures.boxes[row]
        change.set_random_seed(row)
        for view in range(boxes.shape[1]):
            if view == 0:
                boxes[row, view] = padded(own)
                yield pixels
                continue
            made = change(image=pixels, bboxes=own[:, :4], classes=own[:, 4])
            seen = np.column_stack([np.reshape(made["bboxes"], (-1, 4)), np.ravel(made["classes"])])
            boxes[row, view] = padded(seen)
            yield made["image"]


def _change(spec: Preprocessing) -> augmentations.Compose:
    """Crops, quarter turns, flips and light, as the same surface could have come under the camera."""
    size = (spec.height, spec.width)
    flips = [augmentations.HorizontalFlip(p=0.5), augmentations.VerticalFlip(p=0.5)]
    return augmentations.Compose(
        [
            augmentations.RandomResizedCrop(size, scale=(0.4, 1.0), ratio=(0.7, 1.4), p=0.7),
            *([augmentations.D4(p=1.0)] if spec.width == spec.height else flips),
            augmentations.RandomBrightnessContrast(0.15, 0.2, p=0.7),
            augmentations.RandomGamma((80, 125), p=0.3),
        ],
        bbox_params=augmentations.BboxParams(
            "pascal_voc", label_fields=["classes"], min_visibility=LEAST_VISIBLE, clip=True
        ),
    )


def learn(
    pictures: Pictures,
    views: Views,
    rows: Index,
    classes: Sequence[str],
    work: Path,
    report: Report,
    schedule: Schedule = SCHEDULE,
) -> Detector:
    """A detector that learned from these rows of `views`, which are of `pictures`.

    A run that was stopped goes on where it was: its checkpoint in `work` is named by all that it depends on.
    """
    head, scale = Head(len(classes)), views.scale(rows)
    blank = {level: jnp.zeros((1, *values.shape[2:])) for level, values in views.maps.items()}
    start = jax.jit(head.init)(jax.random.key(schedule.seed), blank)
    detector = Detector(head, start, scale, views.spec.width, views.spec.height)
    encoded = [pictures.encoded[at] for at in rows]
    recipe = (repr(head), WEIGHTS, tuple(classes), schedule)
    name = identity(encoded, *recipe, views.boxes[rows].tobytes())
    learned = fit(
        start,
        loss_of(detector),
        views.examples(rows),
        schedule,
        checkpoint=work / f"{name}.checkpoint",
        report=report,
        augment=lambda batch, random: {**batch, NOISE: np.array(random.integers(2**32, dtype=np.uint32))},
    )
    return replace(detector, parameters=learned)

"""Teaches the decoder of segmentation on views of labelled pictures, and asks it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import albumentations as augmentations
import cv2
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import onnx

from trainer.adapters.heads import FrozenMaps, Schedule, fit, identity
from trainer.adapters.segmentation_head import (
    LEVELS,
    PLANES,
    SCALES,
    STRIDE,
    Decoder,
    logits_of,
    loss_of,
    raw_score,
    scales_of,
)
from trainer.adapters.segmentation_pictures import Pictures
from trainer.domain.calibration import Floats
from trainer.workshop import Report

SHARES: Final = "shares"
VIEWS: Final = 6
"""As it is, and five times as the same part could have come."""
SCHEDULE: Final = Schedule(epochs=20, batch=6, rate=3e-3, decay=1e-3)
MOST_IMPORTANT: Final = 3.0
"""How much more than a good cell's a class's cell may count, however rare it is."""
SAMPLE: Final = 200
"""Pictures by which the levels' scales are told."""
_ASKED: Final = 16

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]
"""(images, cells down, cells across, 1 + classes)."""


class Views:
    """Everything that the decoder learns from: maps, planes and shares of each view of each picture.

    Maps are kept in files under `work`, so that a second training on these pictures begins at once.
    """

    def __init__(
        self,
        pictures: Pictures,
        classes: int,
        backbone: onnx.ModelProto,
        work: Path,
        report: Report,
        views: int = VIEWS,
    ) -> None:
        self._maps = FrozenMaps(backbone, LEVELS, work / "maps")
        count = len(pictures.pixels)
        size = (count, views)
        height, width = pictures.pixels.shape[1:3]
        self.planes = np.empty((*size, height, width, 1), np.uint8)
        self.shares = np.empty((*size, height // STRIDE, width // STRIDE, 1 + classes), np.uint8)
        for row in range(count):
            for view, (pixels, labels) in enumerate(_views(pictures, row, views)):
                self.planes[row, view] = pixels[..., :1]
                self.shares[row, view] = shares_of(labels, classes)
        name = identity(pictures.encoded, "segmentation", views, (width, height))
        shown = (pixels for row in range(count) for pixels, _ in _views(pictures, row, views))
        found = self._maps.maps(shown, count * views, name, report)
        self.maps = {level: values.reshape(*size, *values.shape[1:]) for level, values in found.items()}


Part = tuple[Views, npt.NDArray[np.int_]]
"""Some pictures to learn from; a row may stand there more than once."""


class _Chosen:
    """Rows of one or several arrays that may be too large to copy, as `fit` reads them."""

    def __init__(self, parts: Sequence[tuple[npt.NDArray[Any], npt.NDArray[np.int_]]]) -> None:
        self._arrays = [values for values, _ in parts]
        self._source = np.repeat(np.arange(len(parts)), [len(rows) for _, rows in parts])
        self._rows = np.concatenate([rows for _, rows in parts])
        self.shape = (len(self._rows), *self._arrays[0].shape[1:])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, at: tuple[npt.NDArray[np.int_], npt.NDArray[np.int_]]) -> npt.NDArray[Any]:
        rows, views = at
        found = np.empty((len(rows), *self.shape[2:]), self._arrays[0].dtype)
        for number, values in enumerate(self._arrays):
            own = self._source[rows] == number
            found[own] = values[self._rows[rows[own]], views[own]]
        return found


def _examples(parts: Sequence[Part]) -> dict[str, Any]:
    whole: list[tuple[dict[str, npt.NDArray[Any]], npt.NDArray[np.int_]]] = [
        ({**views.maps, PLANES: views.planes, SHARES: views.shares}, rows) for views, rows in parts
    ]
    return {name: _Chosen([(values[name], rows) for values, rows in whole]) for name in whole[0][0]}


def _views(pictures: Pictures, row: int, views: int) -> Iterator[tuple[Pixels, Labels]]:
    """The picture as it is, then changed: turned over, a little moved, in another light."""
    pixels, labels = pictures.pixels[row], pictures.labels[row]
    yield pixels, labels
    change = augmentations.Compose(
        [
            augmentations.HorizontalFlip(p=0.5),
            augmentations.VerticalFlip(p=0.5),
            augmentations.Affine(
                scale=(0.85, 1.2),
                translate_percent=(-0.08, 0.08),
                rotate=(-8, 8),
                border_mode=cv2.BORDER_REFLECT_101,
                p=0.8,
            ),
            augmentations.RandomBrightnessContrast(0.2, 0.2, p=0.7),
            augmentations.RandomGamma((70, 140), p=0.5),
        ],
        seed=row,
    )
    for _ in range(views - 1):
        made = change(image=pixels, mask=labels)
        yield made["image"], made["mask"]


def shares_of(labels: Labels, classes: int) -> npt.NDArray[np.uint8]:
    """(cells down, cells across, 1 + classes): 255 x the share of each cell that is good or of a class."""
    size = (labels.shape[1] // STRIDE, labels.shape[0] // STRIDE)
    planes = [
        cv2.resize((labels == number).astype(np.float32), size, interpolation=cv2.INTER_AREA)
        for number in range(1 + classes)
    ]
    return (np.stack(planes, axis=-1) * 255.0 + 0.5).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Segmenter:
    """A decoder that has learned."""

    decoder: Decoder
    parameters: Any

    def probabilities(self, maps: FrozenMaps, pixels: Pixels) -> Probabilities:
        """Of good and each class in each cell of (images, H, W, 3) prepared pictures."""

        @jax.jit
        def ask(given: dict[str, Any]) -> Any:
            return jax.nn.softmax(logits_of(self.decoder, self.parameters, given))

        found = []
        for start in range(0, len(pixels), _ASKED):
            batch = pixels[start : start + _ASKED]
            given: dict[str, Any] = dict(zip(LEVELS, maps.run(batch), strict=True))
            given[PLANES] = (batch[..., :1].astype(np.float32) - 127.0) / 128.0
            found.append(np.asarray(ask(given)))
        return np.concatenate(found)


def scores_of(probabilities: Probabilities) -> Floats:
    """What is calibrated to a defect's probability (see `raw_score`), of each image."""
    return np.asarray(raw_score(jnp.asarray(probabilities)), np.float64)


def learn(
    parts: Sequence[Part],
    classes: int,
    work: Path,
    name: str,
    report: Report,
    schedule: Schedule = SCHEDULE,
) -> Segmenter:
    """A decoder that learned from these pictures; a run that was stopped goes on where it was.

    `name` says what the pictures are: a checkpoint of other ones is never taken up.
    """
    decoder = Decoder(classes)
    examples = _examples(parts)
    scales = scales_of(_sample(examples))
    blank = {key: jnp.zeros((1, *value.shape[2:])) for key, value in examples.items() if key != SHARES}
    start = decoder.init(jax.random.key(schedule.seed), blank)["params"]
    cells = np.concatenate([views.shares[rows, 0].mean(axis=(1, 2)) for views, rows in parts])
    whole = cells.mean(axis=0) / 255.0
    importance = np.minimum(np.sqrt(whole[0] / np.maximum(whole, 1e-6)), MOST_IMPORTANT)
    learned = fit(
        start,
        loss_of(decoder, jnp.asarray(importance), scales),
        examples,
        schedule,
        checkpoint=work / f"{name}.checkpoint",
        report=report,
    )
    return Segmenter(decoder, {"params": learned, SCALES: scales})


def _sample(examples: dict[str, Any]) -> dict[str, jax.Array]:
    """The levels of some pictures, spread evenly over all."""
    count = len(examples[SHARES])
    rows = np.linspace(0, count - 1, min(count, SAMPLE)).astype(int)
    first = np.zeros_like(rows)
    return {name: jnp.asarray(examples[name][rows, first], jnp.float32) for name in LEVELS}

"""Lets the whole backbone learn from labelled images: sensible on a GPU, for two cores take seconds for 8 images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import albumentations as augmentations
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import onnx
import optax
from andon_vision import Preprocessing, decode_image, prepare_pixels
from jax import Array

from trainer.adapters.heads import Batch, Schedule, fit, identity
from trainer.adapters.jax_backbone import features, parameters_of, with_parameters
from trainer.domain.snapshot import Row
from trainer.workshop import Report

BATCH: Final = 8
RATE: Final = 1e-4
"""Low: the backbone knows photographs well, and a plant's few hundred images must not make it forget them."""


def fine_tuned(
    backbone: onnx.ModelProto,
    rows: Sequence[Row],
    images: Sequence[bytes],
    classes: Sequence[str],
    preprocessing: Preprocessing,
    rounds: int,
    work: Path,
    report: Report,
) -> onnx.ModelProto:
    """The backbone after so many rounds over these images; a run that was stopped goes on after its last round.

    It learns to tell defects from good parts and classes from each other with a linear head that is thrown away: the
    release's own head is fitted afterwards, on images that took no part here.
    """
    origin = next(item.value for item in backbone.metadata_props if item.key == "weights")
    pixels = np.stack([prepare_pixels(decode_image(data).pixels, preprocessing) for data in images])
    targets, weights = _targets(rows, classes)
    parameters = parameters_of(backbone)
    start = np.asarray(features(parameters, pixels[:: max(1, len(pixels) // 64)]))
    centre, spread = start.mean(axis=0), start.std(axis=0) + 1e-3

    def loss(learned: Any, batch: Any) -> Array:
        seen = (features(learned["backbone"], batch["pixels"]) - centre) / spread
        answers = seen @ learned["head"] + learned["bias"]
        each = optax.sigmoid_binary_cross_entropy(answers, batch["targets"])
        return jnp.mean(each.mean(axis=1) * batch["weights"])

    columns = targets.shape[1]
    learned = fit(
        {
            "backbone": parameters,
            "head": np.zeros((start.shape[1], columns), np.float32),
            "bias": np.zeros(columns, np.float32),
        },
        loss,
        {"pixels": pixels[:, None], "targets": targets[:, None], "weights": weights[:, None]},
        Schedule(epochs=rounds, batch=BATCH, rate=RATE),
        checkpoint=work / f"{identity(images, origin, classes, preprocessing, rounds)}.checkpoint",
        report=report,
        augment=_turned,
    )
    return with_parameters(backbone, learned["backbone"], f"{origin}, fine-tuned on {len(images)} images")


def _targets(
    rows: Sequence[Row], classes: Sequence[str]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Of each row: whether it is a defect and which classes it shows, and how much its label counts."""
    shown = [[row.is_defect, *(name in row.classes for name in classes)] for row in rows]
    weights = np.array([row.weight for row in rows], np.float32)
    return np.array(shown, np.float32), weights / weights.mean()


def _turned(batch: Batch, random: np.random.Generator) -> Batch:
    """Each image flipped and in another light, as the same part could have come."""
    change = augmentations.Compose(
        [
            augmentations.HorizontalFlip(p=0.5),
            augmentations.VerticalFlip(p=0.5),
            augmentations.RandomBrightnessContrast(0.15, 0.15, p=0.5),
        ],
        seed=int(random.integers(2**31)),
    )
    return {**batch, "pixels": np.stack([change(image=image)["image"] for image in batch["pixels"]])}

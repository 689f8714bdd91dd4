"""The head of the detector: from levels of the frozen backbone to scored boxes, without anchors.

Three grids of points, 8, 16 and 32 pixels apart, answer for small, middling and large boxes. Deep levels are added to
finer ones on the way up; a branch of its own looks at the whole picture and says which classes to expect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import cv2
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import optax
from jax import Array

from trainer.adapters.detection_turns import turns_of, upright
from trainer.adapters.release_graph import CELL
from trainer.domain.calibration import Platt
from trainer.domain.detection import Level, Points, points_of

FINE, MIDDLE, DEEP = ("level4",), ("level7", "level10"), ("level14", "level15")
LEVELS: Final = (*FINE, *MIDDLE, *DEEP)
GRIDS: Final = (Level(8, 0.0, 56.0), Level(16, 40.0, 120.0), Level(32, 90.0, float("inf")))
MOST_ROWS: Final = 300
"""Boxes that a release answers with; a reader keeps the surest of those that overlap."""
RARE: Final = -4.6
"""Where logits start: a point is a defect in one of a hundred cases."""
LEAST_TARGET: Final = 0.1
"""What a point's score learns at least where a box is, however badly the box is drawn yet."""
EASY: Final = 0.75
"""Weight of a point without a box, times its squared probability: there are many, and most are plain."""
BOX_WEIGHT: Final = 1.0
WEIGHTS: Final = (LEAST_TARGET, EASY, BOX_WEIGHT)
"""All that the loss weighs by."""

Maps = Mapping[str, Array]


def _block(source: Array, width: int, side: int = 3) -> Array:
    return nn.relu(nn.GroupNorm(num_groups=8)(nn.Conv(width, (side, side))(source)))


def _refined(source: Array) -> Array:
    return source + _block(source, source.shape[-1])


def _doubled(source: Array) -> Array:
    return jnp.repeat(jnp.repeat(source, 2, axis=1), 2, axis=2)


class Head(nn.Module):
    """Logits (N, points, classes) and distances (N, points, 4) to a box's left, top, right and bottom, in pixels.

    Attributes:
        classes: Defect classes.
        width: Channels of the two coarser grids.
        fine: Channels of the finest, which has the most points.
        dropped: Share of the maps' channels that are hidden while learning, by the `dropout` key that it brings.
    """

    classes: int
    width: int = 128
    fine: int = 64
    dropped: float = 0.1

    @nn.compact
    def __call__(self, maps: Maps) -> tuple[Array, Array]:
        hide = nn.Dropout(self.dropped, (1, 2), deterministic=not self.has_rng("dropout"))
        maps = {name: hide(values) for name, values in maps.items()}
        low, middle, deep = (
            jnp.concatenate([maps[name] for name in names], axis=-1) for names in (FINE, MIDDLE, DEEP)
        )
        coarse = _refined(_block(deep, self.width, 1))
        medium = _refined(_block(middle, self.width, 1) + _doubled(coarse))
        finest = _refined(_block(low, self.fine, 1) + _doubled(_block(medium, self.fine, 1)))
        expected = self._expected(low, middle, deep)
        logits, distances = [], []
        for grid, source in zip(GRIDS, (finest, medium, coarse), strict=True):
            seen = _refined(source)
            points = source.shape[1] * source.shape[2]
            scores = nn.Dense(self.classes, bias_init=nn.initializers.constant(RARE))(seen)
            sides = jax.nn.softplus(nn.Dense(4, bias_init=nn.initializers.ones)(seen)) * grid.stride
            logits.append(scores.reshape(-1, points, self.classes) + expected)
            distances.append(sides.reshape(-1, points, 4))
        return jnp.concatenate(logits, axis=1), jnp.concatenate(distances, axis=1)

    def _expected(self, *maps: Array) -> Array:
        """(N, 1, classes): what mean and spread of the whole picture speak for."""
        pooled = []
        for source in maps:
            mean = source.mean(axis=(1, 2), keepdims=True)
            pooled += [mean, jnp.sqrt(((source - mean) ** 2).mean(axis=(1, 2), keepdims=True) + 1e-6)]
        hidden = nn.relu(nn.LayerNorm()(nn.Dense(self.width)(jnp.concatenate(pooled, axis=-1))))
        return nn.Dense(self.classes)(hidden).reshape(-1, 1, self.classes)


@dataclass(frozen=True, slots=True)
class Detector:
    """A head with everything that it needs to answer.

    Attributes:
        parameters: Of the head.
        scale: Mean and standard deviation of each level's channels on the training side.
        width, height: The input's size in pixels.
    """

    head: Head
    parameters: Any
    scale: Mapping[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]
    width: int
    height: int

    @property
    def points(self) -> Points:
        return points_of(GRIDS, self.width, self.height)

    @property
    def turns(self) -> tuple[int, ...]:
        """In which a release looks at its image."""
        return turns_of(self.width, self.height)

    def __call__(
        self, parameters: Any, maps: Mapping[str, Any], noise: Array | None = None
    ) -> tuple[Array, Array]:
        """Logits (N, points, classes) and corners (N, points, 4) in pixels of the input, under some parameters.

        `noise` is the key by which channels are hidden while learning.
        """
        hidden = None if noise is None else {"dropout": noise}
        even = {
            name: (maps[name].astype(jnp.float32) - mean) / spread
            for name, (mean, spread) in self.scale.items()
        }
        logits, away = cast(tuple[Array, Array], self.head.apply(parameters, even, rngs=hidden))
        at = self.points.at
        return logits, jnp.concatenate([at - away[..., :2], at + away[..., 2:]], axis=-1)


def loss_of(detector: Detector) -> Callable[[Any, Any], Array]:
    """Classes by cross-entropy against the overlap that each point's box has reached, boxes by generalised overlap.

    The batch holds the maps, `boxes` (N, boxes, 5) and `owner` (N, points), as `trainer.domain.detection` makes them,
    and `noise`, a number to draw from.
    """

    def loss(parameters: Any, batch: Any) -> Array:
        maps = {name: batch[name] for name in detector.scale}
        logits, corners = detector(parameters, maps, jax.random.key(batch["noise"]))
        owner = batch["owner"].astype(jnp.int32)
        owned = owner >= 0
        own = jnp.take_along_axis(batch["boxes"], jnp.maximum(owner, 0)[..., None], axis=1)
        overlap, hull = _overlap(corners, own[..., :4])
        reached = jnp.maximum(jax.lax.stop_gradient(overlap), LEAST_TARGET) * owned
        target = jax.nn.one_hot(own[..., 4].astype(jnp.int32), logits.shape[-1]) * reached[..., None]
        sure = jax.lax.stop_gradient(jax.nn.sigmoid(logits))
        weight = jnp.where(target > 0, 1.0, EASY * sure**2)
        classes = (optax.sigmoid_binary_cross_entropy(logits, target) * weight).sum()
        boxes = ((1.0 - overlap + hull) * owned).sum()
        whole: Array = (classes + BOX_WEIGHT * boxes) / jnp.maximum(owned.sum(), 1)
        return whole

    return loss


def _overlap(first: Array, second: Array) -> tuple[Array, Array]:
    """Intersection over union of boxes in pairs, and the share of their common hull that neither covers."""
    sides = jnp.minimum(first[..., 2:], second[..., 2:]) - jnp.maximum(first[..., :2], second[..., :2])
    shared = jnp.prod(jnp.maximum(sides, 0.0), axis=-1)
    areas = [jnp.prod(boxes[..., 2:] - boxes[..., :2], axis=-1) for boxes in (first, second)]
    union = areas[0] + areas[1] - shared + 1e-6
    outer = jnp.maximum(first[..., 2:], second[..., 2:]) - jnp.minimum(first[..., :2], second[..., :2])
    hull = jnp.prod(outer, axis=-1) + 1e-6
    return shared / union, (hull - union) / hull


@dataclass(frozen=True, slots=True)
class Calibrations:
    """From the logit of the surest point to a probability: of each class, and of any defect.

    Without good images nobody knows what "no defect" looks like; `defect` is None then, and the surest class speaks.
    """

    classes: tuple[Platt, ...]
    defect: Platt | None


def answers_of(detector: Detector, calibrations: Calibrations) -> Callable[..., tuple[Array, ...]]:
    """What a release answers, as a function of its maps in the order of `LEVELS`, which hold N images in each turn:

    defect_score (N,), class_probabilities (N, classes), heat_map (N, H / 8, W / 8) of 8 bits, boxes (N, rows, 6).
    """
    classes = detector.head.classes
    slopes = np.array([platt.slope for platt in calibrations.classes], np.float32)
    offsets = np.array([platt.offset for platt in calibrations.classes], np.float32)

    def answers(*maps: Array) -> tuple[Array, ...]:
        seen = detector(detector.parameters, dict(zip(LEVELS, maps, strict=True)))
        logits, corners = upright(*seen, detector.turns, GRIDS, detector.width, detector.height)
        best = logits.max(axis=1)
        probabilities = jax.nn.sigmoid(best * slopes + offsets)
        if calibrations.defect is None:
            score = probabilities.max(axis=1)
        else:
            whole = calibrations.defect
            score = jax.nn.sigmoid(best.max(axis=1) * whole.slope + whole.offset)
        sure = jax.nn.sigmoid(logits)
        return score, probabilities, _heat(sure.max(axis=2), detector), boxes_of(sure, corners, detector)

    def boxes_of(sure: Array, corners: Array, detector: Detector) -> Array:
        flat = sure.reshape(-1, sure.shape[1] * classes)
        scores, at = jax.lax.top_k(flat, min(MOST_ROWS, flat.shape[1]))
        # Integer division with a batch of unknown size is more than the exporter knows.
        place = at.astype(jnp.float32)
        point = jnp.floor((place + 0.5) / classes)
        limits = np.array([detector.width, detector.height] * 2, np.float32)
        inside = jnp.minimum(jnp.maximum(corners, 0.0), limits)
        chosen = jnp.take_along_axis(inside, point.astype(jnp.int32)[..., None], axis=1)
        return jnp.concatenate([chosen, scores[..., None], (place - classes * point)[..., None]], axis=-1)

    return answers


def _heat(sure: Array, detector: Detector) -> Array:
    """(N, H / 8, W / 8) of 8 bits: the surest of the grids at each cell."""
    drawn, start = [], 0
    rows, columns = detector.height // CELL, detector.width // CELL
    for grid in GRIDS:
        height, width = detector.height // grid.stride, detector.width // grid.stride
        plane = sure[:, start : start + height * width].reshape(-1, height, width)
        start += height * width
        drawn.append(
            jnp.einsum("ra,nab,cb->nrc", _stretching(height, rows), plane, _stretching(width, columns))
        )
    whole = jnp.maximum(jnp.maximum(drawn[0], drawn[1]), drawn[2])
    return jnp.floor(jnp.minimum(whole, 1.0) * 255.0 + 0.5).astype(jnp.uint8)


def _stretching(source: int, target: int) -> npt.NDArray[np.float32]:
    """The matrix (target, source) that stretches a line by linear interpolation."""
    return np.asarray(
        cv2.resize(np.eye(source, dtype=np.float32), (source, target), interpolation=cv2.INTER_LINEAR)
    )

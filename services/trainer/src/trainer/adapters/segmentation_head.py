"""The decoder of segmentation: from levels of the frozen backbone and the picture itself to a class for each cell.

Deep levels know what a defect is, the picture knows where its edge runs; a few convolutions of its own keep thin
cracks that the backbone's first level, at 8 pixels, has lost already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from trainer.domain.calibration import Platt

STRIDE: Final = 4
"""Pixels of the input along a cell's side."""
DEEP, MIDDLE, SHALLOW = ("level14", "level15"), ("level10",), ("level4",)
LEVELS: Final = (*SHALLOW, *MIDDLE, *DEEP)
PLANES: Final = "planes"
SCALES: Final = "scales"
_TINY: Final = 1e-7

Maps = dict[str, Array]
"""(N, height, width, channels) of each level, and of the picture itself as `planes`, about -1 to 1."""


def _doubled(source: Array) -> Array:
    """Twice as high and wide, each cell four times."""
    return jnp.repeat(jnp.repeat(source, 2, axis=1), 2, axis=2)


class Decoder(nn.Module):
    """Logits (N, height / 4, width / 4, 1 + classes) of good and each class.

    Levels are brought to mean 0 and spread 1 by channel with the constants in the collection `SCALES` (see
    `scales_of`): the backbone's channels differ widely, and a decoder that must find that out first learns slowly.

    Attributes:
        classes: Defect classes.
        width: Channels on the way up.
        fine: Channels of the cells at last.
    """

    classes: int
    width: int = 48
    fine: int = 16

    @nn.compact
    def __call__(self, maps: Maps) -> Array:
        scaled = {name: self._scaled(name, maps[name]) for name in LEVELS}
        deep = jnp.concatenate([scaled[name] for name in DEEP], axis=-1)
        current = nn.relu(nn.Conv(self.width, (1, 1))(deep))
        for levels in (MIDDLE, SHALLOW):
            side = jnp.concatenate([scaled[name] for name in levels], axis=-1)
            current = _doubled(current) + nn.Conv(self.width, (1, 1))(side)
            current = nn.relu(nn.Conv(self.width, (3, 3))(nn.relu(current)))
        own = nn.relu(nn.Conv(self.fine // 2, (5, 5), strides=2)(maps[PLANES][..., :1]))
        own = nn.relu(nn.Conv(self.fine, (3, 3), strides=2)(own))
        current = _doubled(nn.Conv(self.fine, (1, 1))(current)) + nn.Conv(self.fine, (1, 1))(own)
        current = nn.relu(nn.Conv(self.fine, (3, 3))(nn.relu(current)))
        return nn.Conv(1 + self.classes, (1, 1))(current)

    def _scaled(self, name: str, values: Array) -> Array:
        size = values.shape[-1]
        centre = self.variable(SCALES, f"{name}.centre", jnp.zeros, size).value
        spread = self.variable(SCALES, f"{name}.spread", jnp.ones, size).value
        return (values - centre) / spread


def logits_of(decoder: Decoder, variables: Any, maps: Maps) -> Array:
    """What the decoder says of these maps; `variables` holds the collections `params` and `SCALES`."""
    return cast(Array, decoder.apply(variables, maps))


def scales_of(maps: Maps) -> dict[str, Array]:
    """The collection `SCALES` by the maps of some pictures."""
    centres = {f"{name}.centre": maps[name].mean(axis=(0, 1, 2)) for name in LEVELS}
    spreads = {f"{name}.spread": maps[name].std(axis=(0, 1, 2)) + _TINY for name in LEVELS}
    return centres | spreads


def loss_of(decoder: Decoder, importance: Array, scales: dict[str, Array]) -> Callable[[Any, Any], Array]:
    """Cross-entropy, each class weighed by `importance` (1 + classes), and the soft Dice of the classes in the batch.

    The batch holds the maps and `shares` (N, cells, cells, 1 + classes): how much of each cell belongs to a class,
    0 to 255.
    """

    def loss(parameters: Any, batch: Any) -> Array:
        shares = batch["shares"].astype(jnp.float32) / 255.0
        maps = {name: value.astype(jnp.float32) for name, value in batch.items() if name != "shares"}
        maps[PLANES] = (maps[PLANES] - 127.0) / 128.0
        logits = logits_of(decoder, {"params": parameters, SCALES: scales}, maps)
        weight = (shares * importance).sum(axis=-1)
        entropy = -(shares * jax.nn.log_softmax(logits)).sum(axis=-1)
        found = jax.nn.softmax(logits)[..., 1:]
        wanted = shares[..., 1:]
        common = (found * wanted).sum(axis=(0, 1, 2))
        total = (found + wanted).sum(axis=(0, 1, 2))
        shown = (wanted.sum(axis=(0, 1, 2)) > 0).astype(jnp.float32)
        dice = ((2 * common + 1.0) / (total + 1.0) * shown).sum() / jnp.maximum(shown.sum(), 1.0)
        return jnp.asarray((entropy * weight).sum() / weight.sum() + (1.0 - dice))

    return loss


def raw_score(probability: Array) -> Array:
    """(N,) from (N, h, w, 1 + classes): the logarithm of the defect's mean squared probability.

    Squared, so that a few sure cells outweigh many doubtful ones.
    """
    defect = 1.0 - probability[..., 0]
    return jnp.log((defect**2).mean(axis=(1, 2)) + _TINY)


def answers_of(decoder: Decoder, parameters: Any, platt: Platt) -> Callable[..., tuple[Array, ...]]:
    """What a release answers, as a function of its maps in the order of `LEVELS` and the picture's planes:

    defect_score (N,), class_probabilities (N, classes), heat_map (N, h / 2, w / 2) of 8 bits, masks (N, classes, h, w)
    of 8 bits.
    """

    def answers(*maps: Array) -> tuple[Array, ...]:
        given = dict(zip((*LEVELS, PLANES), maps, strict=True))
        probability = jax.nn.softmax(logits_of(decoder, parameters, given))
        score = jax.nn.sigmoid(platt.slope * raw_score(probability) + platt.offset)
        energy = (probability[..., 1:] ** 2).mean(axis=(1, 2)) + _TINY
        classes = energy / energy.sum(axis=1, keepdims=True)
        defect = 1.0 - probability[..., 0]
        count, height, width = defect.shape
        heat = defect.reshape(count, height // 2, 2, width // 2, 2).max(axis=(2, 4))
        masks = jnp.transpose(probability[..., 1:], (0, 3, 1, 2))
        return score, classes, _bytes(heat), _bytes(masks)

    return answers


def _bytes(share: Array) -> Array:
    return jnp.floor(share * 255.0 + 0.5).astype(jnp.uint8)

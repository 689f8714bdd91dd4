"""What a good part looks like, position by position, and how far another image is from it.

Maps are layers of the backbone over images: (images, height, width, channels). Distances are (images, height,
width), without unit: 1 is about what the spread of good parts explains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from trainer.domain.calibration import Floats, Platt
from trainer.domain.thresholds import Thresholds

Array = npt.NDArray[np.float32]

GAUSSIAN, MEMORY = "gaussian", "memory"
USUAL: Final = "lite0"
"""The backbone of every other task."""
RIDGE: Final = 0.1
SOFTNESS: Final = 0.7
"""How far a position looks at those beside it, in positions: no two parts lie exactly alike under the camera."""
CORESET: Final = 1000
_POOL: Final = 12_000  # patches that the coreset is chosen from; more changed nothing and costs minutes
_PROJECTED: Final = (
    64  # dimensions in which it is chosen, as PatchCore does; distances survive a random projection
)
_CHUNK: Final = 8


class PositionModel(Protocol):
    """An idea of a good part."""

    def distances(self, maps: Array) -> Array:
        """(images, height, width, channels) to (images, height, width), or to a coarser grid of positions."""


@dataclass(frozen=True, slots=True)
class GaussianField:
    """A Gaussian at each position of softened maps.

    `mean` is (positions, channels), `whiten` (positions, channels, channels), `rows` and `columns` are the weights
    that soften, as `softening` gives them.
    """

    mean: Array
    whiten: Array
    rows: Array
    columns: Array

    def distances(self, maps: Array) -> Array:
        """Mahalanobis distance, divided by the root of the number of channels: (images, rows, columns)."""
        soft = softened(maps, self.rows, self.columns)
        images, height, width, channels = soft.shape
        flat = soft.reshape(images, height * width, channels).transpose(1, 0, 2)
        white = np.matmul(flat - self.mean[:, None], self.whiten)
        return np.asarray(np.sqrt((white**2).mean(axis=2)).T.reshape(images, height, width), np.float32)


@dataclass(frozen=True, slots=True)
class PatchMemory:
    """Patches of good parts wherever they were: `patches` (patches, channels), scaled by `scale` (channels)."""

    scale: Array
    patches: Array

    def queries(self, maps: Array) -> Array:
        """The patches of images in the memory's own scale, (images * height * width, channels)."""
        around = neighbourhood_means(maps.astype(np.float32))
        return np.ascontiguousarray((around * self.scale).reshape(-1, maps.shape[3]))

    def distances(self, maps: Array) -> Array:
        """Distance to the nearest patch, exact."""
        own = (self.patches**2).sum(axis=1)
        found = []
        for start in range(0, len(maps), _CHUNK):
            query = self.queries(maps[start : start + _CHUNK])
            squared = (own - 2 * query @ self.patches.T).min(axis=1) + (query**2).sum(axis=1)
            found.append(np.sqrt(np.maximum(squared, 0)))
        return np.asarray(np.concatenate(found).reshape(maps.shape[:3]), np.float32)


def fit_gaussians(
    maps: Array, ridge: float = RIDGE, *, step: int = 1, softness: float = SOFTNESS
) -> GaussianField:
    """A Gaussian for each square of `step` x `step` positions. Each covariance is shrunk towards independent channels.

    A few hundred good parts are fewer than the entries of a covariance: without shrinking (`ridge`), every new part is
    far away.
    """
    rows, columns = (softening(size, step, softness) for size in maps.shape[1:3])
    soft = softened(maps, rows, columns)
    images, height, width, channels = soft.shape
    flat = soft.reshape(images, height * width, channels)
    mean = flat.mean(axis=0)
    spread = np.sqrt(((flat - mean) ** 2).mean(axis=(0, 1))) + 1e-6
    whiten = np.empty((height * width, channels, channels), np.float32)
    own = np.eye(channels, dtype=np.float32)
    for position in range(height * width):
        centred = (flat[:, position] - mean[position]) / spread
        covariance = (1 - ridge) * (centred.T @ centred) / images + ridge * own
        whiten[position] = np.linalg.inv(np.linalg.cholesky(covariance)).T / spread[:, None]
    return GaussianField(mean, whiten, rows, columns)


def softening(size: int, step: int, softness: float) -> Array:
    """(size / step, size) weights that average `step` positions and then look beside them; each row sums to 1.

    The weight falls off like a Gaussian whose standard deviation is `softness` squares; 0 looks at nothing beside.
    """
    squares = np.arange(size // step)
    apart = squares[:, None] - squares
    near = np.exp(-0.5 * (apart / softness) ** 2) if softness else np.eye(len(squares))
    return np.repeat(near / near.sum(axis=1, keepdims=True) / step, step, axis=1).astype(np.float32)


def softened(maps: Array, rows: Array, columns: Array) -> Array:
    """(images, height, width, channels) averaged by the weights `rows` and `columns` (see `softening`)."""
    images, height, width, channels = maps.shape
    flat = maps.astype(np.float32).reshape(images, height, width * channels)
    lines = np.matmul(rows, flat).reshape(images, len(rows), width, channels)
    return np.asarray(np.matmul(columns, lines), np.float32)


def fit_memory(maps: Array, size: int = CORESET) -> PatchMemory:
    """The patches that represent all patches of these images best."""
    channels = maps.shape[3]
    around = neighbourhood_means(maps.astype(np.float32)).reshape(-1, channels)
    scale = (1 / ((around.std(axis=0) + 1e-6) * np.sqrt(channels))).astype(np.float32)
    random = np.random.default_rng(0)
    if len(around) > _POOL:
        around = around[random.choice(len(around), _POOL, replace=False)]
    patches = around * scale
    projected = patches
    if channels > _PROJECTED:
        projected = patches @ random.normal(0, _PROJECTED**-0.5, (channels, _PROJECTED)).astype(np.float32)
    return PatchMemory(scale, patches[greedy_coreset(projected, size)])


def greedy_coreset(points: Array, size: int) -> npt.NDArray[np.int_]:
    """Indices of `size` points, each the one that is farthest from those before it; the first is nearest the mean."""
    own = (points**2).sum(axis=1)
    chosen = [int(((points - points.mean(axis=0)) ** 2).sum(axis=1).argmin())]
    nearest = np.full(len(points), np.inf, np.float32)
    while len(chosen) < min(size, len(points)):
        last = points[chosen[-1]]
        nearest = np.minimum(nearest, own - 2 * points @ last + own[chosen[-1]])
        nearest[chosen[-1]] = -np.inf
        chosen.append(int(nearest.argmax()))
    return np.array(chosen)


def neighbourhood_means(maps: Array) -> Array:
    """Each position's mean with its up to eight neighbours: a patch knows what is beside it. Same shape."""
    height, width = maps.shape[1:3]
    total, count = np.zeros_like(maps), np.zeros((height, width, 1), np.float32)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            to = (slice(max(0, -down), height - max(0, down)), slice(max(0, -right), width - max(0, right)))
            of = (slice(max(0, down), height - max(0, -down)), slice(max(0, right), width - max(0, -right)))
            total[:, *to] += maps[:, *of]
            count[to] += 1
    return total / count


@dataclass(frozen=True, slots=True)
class AnomalyModel:
    """Distances on joined `layers`; the farthest `top_share` of the positions (0: one) make an image's score."""

    layers: tuple[str, ...]
    positions: PositionModel
    top_share: float
    calibration: Platt


def joined(maps: Mapping[str, npt.NDArray[np.floating]], layers: Sequence[str]) -> Array:
    """Layers side by side as channels, (images, height, width, channels); finer ones are averaged to the coarsest."""
    height, width = min(maps[name].shape[1:3] for name in layers)
    return np.concatenate([_averaged(maps[name], height, width) for name in layers], axis=3)


def _averaged(maps: npt.NDArray[np.floating], height: int, width: int) -> Array:
    images, rows, columns, channels = maps.shape
    blocks = maps.astype(np.float32).reshape(
        images, height, rows // height, width, columns // width, channels
    )
    return np.asarray(blocks.mean(axis=(2, 4)))


def top_count(positions: int, share: float) -> int:
    """How many positions `share` of them is; at least one."""
    return max(1, int(positions * share))


def top_mean(distances: Array, share: float) -> Floats:
    """Mean of the largest `share` of the positions of each image."""
    flat = distances.reshape(len(distances), -1).astype(np.float64)
    count = top_count(flat.shape[1], share)
    return np.asarray(np.partition(flat, flat.shape[1] - count, axis=1)[:, -count:].mean(axis=1))


def upsampled(maps: Array, height: int, width: int) -> Array:
    """(images, h, w) drawn to (images, height, width), linear between the centres of positions."""
    rows, columns = _interpolation(maps.shape[1], height), _interpolation(maps.shape[2], width)
    return np.asarray(rows @ maps @ columns.T, np.float32)


def _interpolation(size: int, wanted: int) -> Array:
    """(wanted, size) weights, each row sums to 1."""
    at = (np.arange(wanted) + 0.5) * size / wanted - 0.5
    low = np.floor(at).astype(int)
    weights = np.zeros((wanted, size), np.float32)
    rows = np.arange(wanted)
    np.add.at(weights, (rows, low.clip(0, size - 1)), 1 - (at - low))
    np.add.at(weights, (rows, (low + 1).clip(0, size - 1)), at - low)
    return weights


def platt_of_normals(scores: Floats) -> Platt:
    """A stand-in for a calibration where no defect is known: 2 % at the median good part, 50 % at the 99th percentile.

    It ranks and can be drawn, but it is no probability.
    """
    middle, high = np.quantile(scores, [0.5, 0.99])
    slope = float(np.log(49.0)) / max(float(high - middle), 1e-6)
    return Platt(slope, -slope * float(high))


def thresholds_of_normals(scores: Floats, calibration: Platt) -> Thresholds:
    """Without known defects: the oddest 5 % of good parts go to people, and what is twice as odd is rejected."""
    middle, odd, oddest = np.quantile(scores, [0.5, 0.95, 1.0])
    passed, rejected = calibration(np.array([odd, 2 * oddest - middle]))
    return Thresholds(round(float(passed), 4), round(max(0.5, float(rejected)), 4))

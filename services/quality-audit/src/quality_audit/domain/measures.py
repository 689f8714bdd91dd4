"""What is measured on an image, in numbers that mean the same at every station.

All measures come from one grey 8-bit image. Large images are not measured pixel by pixel: brightness and
borders need a regular sample, sharpness needs real neighbours and gets full-resolution tiles.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8]

SHARPNESS: Final = "sharpness"
BRIGHTNESS: Final = "brightness"
CONTRAST: Final = "contrast"
OVER_FRACTION: Final = "over_fraction"
UNDER_FRACTION: Final = "under_fraction"
BORDER_FRACTION: Final = "border_fraction"
BACKGROUND_LEVEL: Final = "background_level"
BACKGROUND_SPREAD: Final = "background_spread"
EDGE_DIRECTION: Final = "edge_direction_deg"
MEASURES: Final = (SHARPNESS, BRIGHTNESS, CONTRAST, OVER_FRACTION, UNDER_FRACTION, BORDER_FRACTION)

_OVER_FROM, _UNDER_TO = 250, 5
_BORDER_TOLERANCE = 2.0
_SAMPLE_SIDE = 640
_TILE, _TILES_PER_SIDE = 256, 4
_FRAME = 0.05
_DIRECTION_SIDE = 160
_LEAST_COHERENCE = 0.1


def measure(grey: Grey) -> dict[str, float]:
    """All measures of a grey image.

    - sharpness: log10 of the Laplacian's mean square relative to the squared mean brightness (times 10^4).
      Relative, so that less light is not taken for blur; 0.3 lower means half the energy in the finest
      details.
    - brightness, contrast: mean and standard deviation, 0 to 1.
    - over_fraction, under_fraction: share of pixels from grey level 250 up, or up to 5.
    - border_fraction: widest uniform band along one side of the frame, as a share of that dimension. A part
      that slid out of the frame, a shutter or a light guide in the picture leave such a band.
    """
    sample = _sample(grey)
    values = sample.astype(np.float32)
    squares = values * values
    rows = _Lines(values.mean(axis=1), squares.mean(axis=1))
    columns = _Lines(values.mean(axis=0), squares.mean(axis=0))
    mean = float(rows.means.mean(dtype=np.float64))
    variance = float(rows.squares.mean(dtype=np.float64)) - mean * mean
    return {
        SHARPNESS: float(np.log10(_laplacian_energy(grey) / (mean * mean + 1.0) * 1e4 + 1e-3)),
        BRIGHTNESS: mean / 255,
        CONTRAST: max(variance, 0.0) ** 0.5 / 255,
        OVER_FRACTION: np.count_nonzero(sample >= _OVER_FROM) / sample.size,
        UNDER_FRACTION: np.count_nonzero(sample <= _UNDER_TO) / sample.size,
        BORDER_FRACTION: max(rows.widest_band(), columns.widest_band()),
    }


def measure_bounded(grey: Grey, wanted: Set[str]) -> dict[str, float]:
    """Those of the further measures that are wanted; what an image does not show is left out.

    - background_level, background_spread: mean and standard deviation, 0 to 1, of the frame around the image that is
      5 % of its sides wide.
    - edge_direction_deg: direction of the image's edges, 0 to 180, counter-clockwise from its rows. An image whose
      edges run all ways has none.
    """
    found: dict[str, float] = {}
    if wanted & {BACKGROUND_LEVEL, BACKGROUND_SPREAD}:
        frame = _frame(_sample(grey)).astype(np.float32)
        found[BACKGROUND_LEVEL] = float(frame.mean()) / 255
        found[BACKGROUND_SPREAD] = float(frame.std()) / 255
    if EDGE_DIRECTION in wanted:
        direction = _edge_direction(grey)
        if direction is not None:
            found[EDGE_DIRECTION] = direction
    return {name: value for name, value in found.items() if name in wanted}


@dataclass(frozen=True, slots=True)
class _Lines:
    """Means of all rows, or of all columns, and of their squares."""

    means: npt.NDArray[np.float32]
    squares: npt.NDArray[np.float32]

    def widest_band(self) -> float:
        """Widest run of uniform, equal lines at either end, as a share of all."""
        deviations = np.sqrt(np.maximum(self.squares - self.means * self.means, 0.0))
        return max(
            _band(self.means, deviations),
            _band(self.means[::-1], deviations[::-1]),
        ) / len(self.means)


def _band(means: npt.NDArray[np.float32], deviations: npt.NDArray[np.float32]) -> int:
    if deviations[0] >= _BORDER_TOLERANCE:
        return 0
    uniform = (deviations < _BORDER_TOLERANCE) & (np.abs(means - means[0]) < _BORDER_TOLERANCE)
    return len(uniform) if uniform.all() else int(np.argmin(uniform))


def _sample(grey: Grey) -> Grey:
    """Every n-th pixel of every n-th row, so that no side is much longer than needed; values stay what they
    were.
    """
    step = max(1, min(grey.shape) // _SAMPLE_SIDE)
    return grey[::step, ::step]


def _frame(grey: Grey) -> Grey:
    """Pixels of the outermost band, in one row."""
    height, width = grey.shape
    high, wide = max(1, round(height * _FRAME)), max(1, round(width * _FRAME))
    inner = grey[high : height - high]
    sides = (grey[:high], grey[height - high :], inner[:, :wide], inner[:, width - wide :])
    return np.concatenate([side.ravel() for side in sides])


def _edge_direction(grey: Grey) -> float | None:
    """Degrees, by the structure tensor of the shrunk image; None when no direction prevails."""
    step = max(1, min(grey.shape) // _DIRECTION_SIDE)
    height, width = (side // step for side in grey.shape)
    if height < 3 or width < 3:
        return None
    blocks = grey[: height * step, : width * step].reshape(height, step, width, step)
    down, across = np.gradient(blocks.mean(axis=(1, 3), dtype=np.float32))
    straight = float((across * across).mean() - (down * down).mean())
    skew = 2.0 * float((across * down).mean())
    energy = float((across * across + down * down).mean())
    if energy <= 0.0 or float(np.hypot(straight, skew)) < _LEAST_COHERENCE * energy:
        return None
    # Edges run at a right angle to the gradient; rows count downwards, angles upwards.
    return float(-np.degrees(np.arctan2(skew, straight)) / 2 + 90.0) % 180.0


def _laplacian_energy(grey: Grey) -> float:
    """Mean square of the discrete Laplacian, on tiles when the image is large."""
    height, width = grey.shape
    if height < 3 or width < 3:
        return 0.0
    if height * width <= (_TILE * _TILES_PER_SIDE) ** 2:
        return _energy(grey)
    tile_h, tile_w = min(_TILE, height), min(_TILE, width)
    tops = np.linspace(0, height - tile_h, _TILES_PER_SIDE).astype(int)
    lefts = np.linspace(0, width - tile_w, _TILES_PER_SIDE).astype(int)
    return float(np.mean([_energy(grey[t : t + tile_h, x : x + tile_w]) for t in tops for x in lefts]))


def _energy(grey: Grey) -> float:
    g = grey.astype(np.int16)
    inner = g[1:-1, 1:-1] << 2
    inner -= g[:-2, 1:-1]
    inner -= g[2:, 1:-1]
    inner -= g[1:-1, :-2]
    inner -= g[1:-1, 2:]
    flat = inner.ravel().astype(np.float32)
    # Not the BLAS product: it would wake a thread for every core, to save less than that costs.
    return float(np.einsum("i,i->", flat, flat)) / flat.size

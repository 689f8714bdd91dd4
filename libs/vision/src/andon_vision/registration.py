"""Brings a board's defect-free template to a picture of the board: shift, turn and scale first, then small warps.

The picture itself stays as it is, so that what is found in it needs no way back. The light of the picture is brought to
the template's instead: both differ by a contrast and a brightness that change slowly over the board.

The module leans on NumPy and OpenCV alone; the Triton model carries a copy of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from andon_vision.opencv import cv2

Plane = npt.NDArray[np.float32]
"""(H, W), brightness 0 to 255."""

_COARSE: Final = 160
"""Pixels of the longer side while shift and turn are sought."""
_MIDDLE: Final = 320
"""The same for what remains: scale, shear and small warps."""
_STEPS: Final = (50, 1e-4)
_WORTH: Final = 2e-3
"""What scale and shear must gain in correlation; where little is to be seen they would be made up."""
_FARTHEST: Final = 0.012
"""Share of the longer side that scale and shear may move a corner."""
_WARP_BLURS: Final = (2.0, 1.2, 0.8)
"""How blurred both pictures are in each round of the search for small warps, in pixels of the middle size."""
_WARP_REACH: Final = 18.0
"""Pixels of the middle size over which neighbours warp alike: far more than a defect, so that none is warped away."""
_STIFFNESS: Final = 40.0
"""Squared brightness steps a pixel below which there is nothing to hold on to, and the board does not warp."""
_NOISE_BLUR: Final = 1.5
_LIGHT_REACH: Final = 0.125
"""Share of the longer side over which light hardly changes."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A template that lies on its picture.

    Attributes:
        template: Warped to where the picture shows each place.
        picture: The picture in the template's light.
        known: Where the template shows anything; beyond its border there is nothing to compare.
        correlation: Of both where they overlap, -1 to 1.
    """

    template: Plane
    picture: Plane
    known: npt.NDArray[np.bool_]
    correlation: float


def register(picture: Plane, template: Plane) -> Registered:
    """Brings `template` to `picture`, both of one size. Never fails; a low correlation says that they do not match."""
    height, width = picture.shape
    seen, ground = _shrunk(picture, _MIDDLE), _shrunk(template, _MIDDLE)
    field = _warped(seen, ground, _field(_affine(seen, ground), seen.shape))
    grown = [cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR) for part in field]
    scale = (width / seen.shape[1], height / seen.shape[0])
    # Sizes are those of whole pixels, but places are those of their middles.
    right, down = ((part + 0.5) * factor - 0.5 for part, factor in zip(grown, scale, strict=True))
    moved = _at(template, np.stack([right, down]))
    known = (right >= -1) & (right <= width) & (down >= -1) & (down <= height)
    lit = _in_light_of(picture, moved)
    # Blurred, for a sensor's noise is no sign of another board.
    calm, still = (cv2.GaussianBlur(plane, (0, 0), _NOISE_BLUR) for plane in (lit, moved))
    return Registered(moved, lit, known, correlation(calm[known], still[known]))


def correlation(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    """-1 to 1; 0 where one of both is all alike or empty."""
    if not first.size:
        return 0.0
    a, b = first.astype(np.float64) - first.mean(), second.astype(np.float64) - second.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size > 0 else 0.0


def _affine(picture: Plane, template: Plane) -> npt.NDArray[np.float32]:
    """2 x 3: where in the template a place of the picture lies."""
    seen, ground = _shrunk(picture, _COARSE), _shrunk(template, _COARSE)
    scale = picture.shape[1] / seen.shape[1]
    window = cv2.createHanningWindow((seen.shape[1], seen.shape[0]), cv2.CV_32F)
    (right, down), _ = cv2.phaseCorrelate(seen, ground, window)
    best, found = -1.0, np.eye(2, 3, dtype=np.float32)
    # On a periodic board the phase may name a wrong period; a station that is well set up needs no shift at all.
    for start in ((0.0, 0.0), (right, down)):
        guess = np.array([[1, 0, start[0]], [0, 1, start[1]]], np.float32)
        quality, refined = _refined(seen, ground, guess, cv2.MOTION_EUCLIDEAN)
        if quality > best + _WORTH:
            best, found = quality, refined
    found[:, 2] *= scale
    quality, turned = _refined(picture, template, found, cv2.MOTION_EUCLIDEAN)
    better, sheared = _refined(picture, template, turned, cv2.MOTION_AFFINE)
    height, width = picture.shape
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], np.float32)
    moved = np.abs(corners @ (sheared - turned).T).max()
    return sheared if better > quality + _WORTH and moved <= _FARTHEST * max(width, height) else turned


def _field(affine: npt.NDArray[np.float32], shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """x and y in the template for each pixel of the picture, (2, H, W)."""
    down, across = np.indices(shape, np.float32)
    return np.stack([row[0] * across + row[1] * down + row[2] for row in affine]).astype(np.float32)


def _shrunk(plane: Plane, side: int) -> Plane:
    scale = min(1.0, side / max(plane.shape))
    size = (max(8, round(plane.shape[1] * scale)), max(8, round(plane.shape[0] * scale)))
    small = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
    return cast(Plane, cv2.GaussianBlur(small, (0, 0), 0.7))


def _refined(
    picture: Plane, template: Plane, guess: npt.NDArray[np.float32], motion: int
) -> tuple[float, npt.NDArray[np.float32]]:
    """The correlation and the transform that maximises it near `guess`; -1 and `guess` where there is none."""
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, *_STEPS)
    everywhere = np.ones(picture.shape, np.uint8)
    try:
        quality, found = cv2.findTransformECC(
            picture, template, guess.copy(), motion, criteria, everywhere, 1
        )
    except cv2.error:  # it does not converge where nothing matches
        return -1.0, guess
    return float(quality), found.astype(np.float32)


def _warped(picture: Plane, template: Plane, field: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The field with small smooth warps, as Lucas and Kanade find them in wide windows."""
    for blur in _WARP_BLURS:
        ground = _at(template, field)
        moved = cv2.GaussianBlur(ground, (0, 0), blur)
        seen = cv2.GaussianBlur(_in_light_of(picture, ground), (0, 0), blur)
        right = cast(Plane, cv2.Scharr(moved, cv2.CV_32F, 1, 0, scale=1 / 32))
        down = cast(Plane, cv2.Scharr(moved, cv2.CV_32F, 0, 1, scale=1 / 32))
        missing = cast(Plane, seen - moved)
        xx, xy, yy, xe, ye = _means(
            right * right, right * down, down * down, right * missing, down * missing, reach=_WARP_REACH
        )
        xx, yy = xx + _STIFFNESS, yy + _STIFFNESS
        determinant = xx * yy - xy * xy
        step = np.stack([(yy * xe - xy * ye) / determinant, (xx * ye - xy * xe) / determinant])
        field = field + np.clip(step, -2 * blur, 2 * blur)
    return field


def _at(template: Plane, field: npt.NDArray[np.float32]) -> Plane:
    return cast(
        Plane,
        cv2.remap(template, field[0], field[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
    )


def _means(*planes: Plane, reach: float) -> list[Plane]:
    """Gaussian means, computed at a quarter of the size: they are smooth anyway."""
    height, width = planes[0].shape
    small = (max(1, width // 4), max(1, height // 4))
    found = []
    for plane in planes:
        mean = cv2.GaussianBlur(cv2.resize(plane, small, interpolation=cv2.INTER_AREA), (0, 0), reach / 4)
        found.append(cast(Plane, cv2.resize(mean, (width, height), interpolation=cv2.INTER_LINEAR)))
    return found


def _in_light_of(picture: Plane, template: Plane) -> Plane:
    """The picture with contrast and brightness of the template around each place; where that is blank, of the whole."""
    spread = float(template.var())
    whole = float(((template - template.mean()) * (picture - picture.mean())).mean())
    ground, seen, square, product = _means(
        template,
        picture,
        template * template,
        template * picture,
        reach=_LIGHT_REACH * max(picture.shape),
    )
    trust = 0.05 * spread + 1.0
    contrast = (product - ground * seen + trust * max(whole, 0.05 * spread) / max(spread, 1.0)) / (
        square - ground * ground + trust
    )
    lit = (picture - seen) / np.maximum(contrast, 0.05) + ground
    return cast(Plane, np.clip(lit, 0, 255).astype(np.float32))

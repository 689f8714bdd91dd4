"""Rare defects that no camera saw: cut from one picture and blended into a good one, only ever to learn from.

A defect is moved along the surface: it keeps its distance to the sides of the part, across the grinding direction, and
takes another place along it, where the light of its new surroundings is put under its own texture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.uint8]

FEATHER: Final = 2.0
"""Standard deviation, in pixels, of the soft edge."""
SURROUNDINGS: Final = 15
"""Side, in pixels, of what is compared in brightness around a defect."""


@dataclass(frozen=True, slots=True)
class Synthetic:
    """Made pictures; none of them may be validated or measured with.

    Attributes:
        pixels: (images, H, W, 3).
        labels: (images, H, W), 0 or the number of a class from 1 on.
        numbers: The class of each picture, from 1 on.
        origins: The positions of the picture that gave the defect and of the one that gave the ground.
    """

    pixels: Pixels
    labels: Labels
    numbers: npt.NDArray[np.int_]
    origins: list[tuple[int, int]]


def wanted(numbers: npt.NDArray[np.int_], share: float) -> dict[int, int]:
    """How many pictures of each class to make so that it has `share` of the most common class's; 0 makes none."""
    classes, images = np.unique(numbers[numbers > 0], return_counts=True)
    enough = round(share * int(images.max())) if len(images) else 0
    return {int(name): enough - int(own) for name, own in zip(classes, images, strict=True) if own < enough}


def synthesise(
    pixels: Pixels, labels: Labels, numbers: npt.NDArray[np.int_], share: float, seed: int
) -> Synthetic:
    """Makes pictures of the rarer classes from these (see `wanted`); without good ones there is no ground for any."""
    random = np.random.default_rng(seed)
    grounds = np.flatnonzero(numbers == 0)
    made: list[tuple[Pixels, Labels]] = []
    origins: list[tuple[int, int]] = []
    classes: list[int] = []
    for number, count in wanted(numbers, share).items() if len(grounds) else ():
        donors = np.flatnonzero((numbers == number) & (labels == number).any(axis=(1, 2)))
        for donor in random.choice(donors, count) if len(donors) else ():
            ground = int(random.choice(grounds))
            inside = labels[donor] == number
            made.append(blended(pixels[donor], inside, pixels[ground], number, random))
            origins.append((int(donor), ground))
            classes.append(number)
    if not made:
        return Synthetic(pixels[:0], labels[:0], numbers[:0], [])
    return Synthetic(
        np.stack([picture for picture, _ in made]),
        np.stack([drawn for _, drawn in made]),
        np.array(classes),
        origins,
    )


def blended(
    donor: Pixels, inside: npt.NDArray[np.bool_], ground: Pixels, number: int, random: np.random.Generator
) -> tuple[Pixels, Labels]:
    """One picture and its label map: the defect `inside` (H, W) of `donor`, somewhere along the surface of `ground`."""
    rows = np.flatnonzero(inside.any(axis=1))
    # A defect at the upper or lower side of the part belongs there.
    touches = rows[0] == 0 or rows[-1] == len(inside) - 1
    shift = 0 if touches else int(random.integers(-rows[0], len(inside) - rows[-1]))
    moved, picture = np.roll(inside, shift, axis=0), np.roll(donor, shift, axis=0).astype(np.float32)
    if random.random() < 0.5:
        moved, picture = moved[:, ::-1], picture[:, ::-1]
    below = ground.astype(np.float32)
    around = cv2.dilate(moved.astype(np.uint8), np.ones((SURROUNDINGS, SURROUNDINGS), np.uint8)) > 0
    ring = around & ~moved
    if ring.any():
        picture = picture + below[ring].mean(axis=0) - picture[ring].mean(axis=0)
    soft = cv2.GaussianBlur(moved.astype(np.float32), (0, 0), FEATHER)
    weight = np.maximum(soft, moved)[..., np.newaxis]
    result = np.clip(weight * picture + (1 - weight) * below + 0.5, 0, 255).astype(np.uint8)
    return result, np.where(moved, number, 0).astype(np.uint8)

"""Synthetic defects: of rare classes only, moved along the surface, in the light of their new ground."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from trainer.adapters.synthetic import blended, synthesise, wanted

SIDE = 64


def pictures(numbers: list[int]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Grey pictures, brighter one by one; a defect is a dark bar at column 10 of its rows 20 to 29."""
    pixels = np.stack([np.full((SIDE, SIDE, 3), 100 + 4 * at, np.uint8) for at in range(len(numbers))])
    labels = np.zeros((len(numbers), SIDE, SIDE), np.uint8)
    for at, number in enumerate(numbers):
        if number:
            labels[at, 20:30, 10:14] = number
            pixels[at, 20:30, 10:14] -= 50
    return pixels, labels


def test_rare_classes_are_filled_up_to_a_share_of_the_most_common() -> None:
    numbers = np.array([0] * 9 + [1] * 10 + [2] * 3)
    assert wanted(numbers, 1.0) == {2: 7}
    assert wanted(numbers, 0.5) == {2: 2}
    assert wanted(numbers, 0.0) == {} and wanted(np.zeros(4, int), 1.0) == {}


def test_what_was_made_is_named_with_where_it_came_from() -> None:
    numbers = np.array([0, 0, 1, 1, 1, 2])
    made = synthesise(*pictures(numbers.tolist()), numbers, 1.0, seed=3)
    assert made.numbers.tolist() == [2, 2]
    assert all(donor == 5 and ground in (0, 1) for donor, ground in made.origins)
    assert made.labels.max(axis=(1, 2)).tolist() == [2, 2]
    again = synthesise(*pictures(numbers.tolist()), numbers, 1.0, seed=3)
    np.testing.assert_array_equal(made.pixels, again.pixels)


def test_a_defect_keeps_its_contrast_on_a_brighter_ground_and_its_distance_to_the_sides() -> None:
    pixels, labels = pictures([1, 0])
    ground = pixels[1] + 60
    picture, drawn = blended(pixels[0], labels[0] == 1, ground, 1, np.random.default_rng(1))
    inside = drawn == 1
    assert inside.sum() == 40
    assert abs(float(picture[inside].mean()) - (float(ground.mean()) - 50)) < 2
    columns = np.flatnonzero(inside.any(axis=0))
    assert columns[0] in (10, SIDE - 14)
    np.testing.assert_array_equal(picture[:, 30:34], ground[:, 30:34])


def test_without_a_good_picture_or_a_defect_nothing_is_made() -> None:
    numbers = np.array([1, 1, 2])
    assert len(synthesise(*pictures(numbers.tolist()), numbers, 1.0, seed=0).pixels) == 0
    good = np.zeros(3, int)
    assert len(synthesise(*pictures(good.tolist()), good, 1.0, seed=0).pixels) == 0

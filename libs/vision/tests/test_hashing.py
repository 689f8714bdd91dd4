"""The perceptual hash forgives what cameras do and tells different parts apart."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from andon_vision import (
    hamming_distance,
    hamming_distances,
    hash_from_hex,
    hash_to_hex,
    near_duplicate_groups,
    perceptual_hash,
)
from hypothesis import given
from hypothesis import strategies as st

Grey = npt.NDArray[np.uint8]
hashes = st.integers(0, 2**64 - 1)


def test_exposure_size_and_depth_hardly_change_the_hash(scene: Grey) -> None:
    original = perceptual_hash(scene)
    darker = (scene * 0.6).astype(np.uint8)
    smaller = cv2.resize(scene, (80, 60), interpolation=cv2.INTER_AREA)
    deeper = scene.astype(np.uint16) * 257
    for variant in (darker, smaller, deeper):
        assert hamming_distance(original, perceptual_hash(variant)) <= 6


def test_another_picture_is_far_away(scene: Grey) -> None:
    assert hamming_distance(perceptual_hash(scene), perceptual_hash(scene[::-1, ::-1])) > 12


@given(hashes, hashes)
def test_distance_is_symmetric_and_zero_only_for_equals(left: int, right: int) -> None:
    assert hamming_distance(left, right) == hamming_distance(right, left)
    assert (hamming_distance(left, right) == 0) == (left == right)
    assert hamming_distances(left, np.array([right], np.uint64))[0] == hamming_distance(left, right)


@given(hashes)
def test_hex_is_reversible(value: int) -> None:
    assert hash_from_hex(hash_to_hex(value)) == value


@pytest.mark.parametrize("text", ["", "12", "zz" * 8])
def test_malformed_hex_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"hexadecimal|invalid literal"):
        hash_from_hex(text)


def test_groups_are_closed_over_chains() -> None:
    chain = [0b0, 0b11, 0b1111, 0xFFFF_0000_0000_0000]
    assert near_duplicate_groups(chain, 2) == [0, 0, 0, 1]
    assert near_duplicate_groups(chain, 1) == [0, 1, 2, 3]


@given(st.lists(hashes, max_size=30), st.integers(0, 32))
def test_no_two_groups_hold_near_duplicates(values: list[int], limit: int) -> None:
    groups = near_duplicate_groups(values, limit)
    for left in range(len(values)):
        for right in range(left):
            if hamming_distance(values[left], values[right]) <= limit:
                assert groups[left] == groups[right]

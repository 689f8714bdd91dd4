"""Perceptual hash: 64 bits that stay nearly the same when exposure, size or compression change.

The classic DCT hash. Libraries for it bring Pillow, SciPy and wavelets; OpenCV's own transform does it in 30 lines and
in some 30 microseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from andon_vision.decode import Pixels
from andon_vision.opencv import cv2

_SIDE = 32
_KEPT = 8
_WEIGHTS = np.left_shift(np.uint64(1), np.arange(63, -1, -1, dtype=np.uint64))


def grey(pixels: Pixels) -> Pixels:
    """One brightness channel of an (H, W) or RGB (H, W, 3) image, same depth."""
    return pixels if pixels.ndim == 2 else cast(Pixels, cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))


def perceptual_hash(pixels: Pixels) -> int:
    """64-bit DCT hash as an unsigned number; compare two with `hamming_distance`."""
    small = cv2.resize(grey(pixels), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:_KEPT, :_KEPT].ravel()
    # The first coefficient is the brightness: it would move the median, and exposure must not matter.
    bits = low > np.median(low[1:])
    bits[0] = False
    return int(_WEIGHTS[bits].sum(dtype=np.uint64))


def hamming_distance(left: int, right: int) -> int:
    """Number of bits, 0 to 64, in which two hashes differ."""
    return (left ^ right).bit_count()


def hash_to_hex(value: int) -> str:
    """A hash as 16 hexadecimal digits, the way events carry it."""
    return f"{value:016x}"


def hash_from_hex(text: str) -> int:
    """The inverse of `hash_to_hex`. Raises `ValueError` for anything but 16 hexadecimal digits."""
    if len(text) != 16:
        raise ValueError(f"a perceptual hash has 16 hexadecimal digits, not {len(text)}")
    return int(text, 16)


def hamming_distances(value: int, others: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    """Distance of one hash to each of many."""
    return np.asarray(np.bitwise_count(others ^ np.uint64(value)), np.uint8)


def near_duplicate_groups(hashes: Sequence[int], max_distance: int) -> list[int]:
    """For each hash a group number: two images whose distance is at most `max_distance` bits share a group.

    Groups are closed over chains (A near B, B near C puts A and C together), because one leaking pair is a leak.
    Numbers start at 0 in the order of first appearance.
    """
    values = np.array(hashes, dtype=np.uint64)
    parent = list(range(len(values)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for index, value in enumerate(values):
        near = np.flatnonzero(np.bitwise_count(values[:index] ^ value) <= max_distance)
        for other in near:
            parent[root(int(other))] = root(index)
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root(index), len(numbers)) for index in range(len(values))]

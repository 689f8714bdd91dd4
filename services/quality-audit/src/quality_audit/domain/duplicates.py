"""Finds the same picture again among a station's recent ones.

Identical bytes are a duplicate. A near-duplicate is the same picture re-encoded, re-scaled, re-exposed or
noisier: a perceptual hash finds candidates, and the correlation of two 32x32 fingerprints decides. The hash
alone would not do: good parts of one kind look alike (docs in the README give the figures).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

HASH_DISTANCE: Final = 6
"""Bits of 64; twins of real images stay within 6 in 99 of 100 cases."""

LEAST_CORRELATION: Final = 0.9988
"""Twins of real images reach 0.9990 and more; different parts of the same kind at most 0.9982."""

Fingerprint = npt.NDArray[np.uint8]
"""A grey image shrunk to 32x32."""


def correlation(left: Fingerprint, right: Fingerprint) -> float:
    """Pearson correlation of two fingerprints, -1 to 1; independent of exposure. 0 when one of them is
    uniform.
    """
    a = left.ravel() - left.mean(dtype=np.float32)
    b = right.ravel() - right.mean(dtype=np.float32)
    scale = float(np.sqrt(float(a @ a) * float(b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """An image of the recent past.

    Attributes:
        usable: Accepted, or in doubt. A part photographed again because its first image was bad is no
            near-duplicate.
    """

    capture_id: str
    sha256: str
    perceptual_hash: int | None
    usable: bool


class RecentImages:
    """The last images of one station, oldest first."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._images: deque[Seen] = deque()
        self._hashes: npt.NDArray[np.uint64] = np.zeros(window, dtype=np.uint64)
        self._first = 0
        self._by_content: dict[str, deque[str]] = {}

    def add(self, seen: Seen) -> Seen | None:
        """Remember an image; gives the one that is forgotten for it."""
        forgotten = None
        if len(self._images) == self._window:
            forgotten = self._images.popleft()
            self._first += 1
            twins = self._by_content[forgotten.sha256]
            twins.popleft()
            if not twins:
                del self._by_content[forgotten.sha256]
        self._hashes[(self._first + len(self._images)) % self._window] = seen.perceptual_hash or 0
        self._images.append(seen)
        self._by_content.setdefault(seen.sha256, deque()).append(seen.capture_id)
        return forgotten

    def same_bytes(self, sha256: str) -> str | None:
        """capture_id of the earliest image with these bytes."""
        twins = self._by_content.get(sha256)
        return twins[0] if twins else None

    def candidates(self, perceptual_hash: int) -> list[str]:
        """capture_ids of usable images whose hash is near, the nearest first."""
        near = np.bitwise_count(self._hashes ^ np.uint64(perceptual_hash))
        found: list[tuple[int, int]] = []
        for place in np.flatnonzero(near <= HASH_DISTANCE):
            index = (int(place) - self._first) % self._window
            if index < len(self._images):
                seen = self._images[index]
                if seen.usable and seen.perceptual_hash is not None:
                    found.append((int(near[place]), index))
        return [self._images[index].capture_id for _, index in sorted(found)]

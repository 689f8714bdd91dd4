"""Nearest patches by scikit-learn's index; the release itself computes them in its graph, exactly."""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import NearestNeighbors

from trainer.domain.anomaly import Array, PatchMemory


class IndexedMemory:
    """A patch memory behind an index; see `PositionModel`. Finds what the memory itself finds, several times faster."""

    def __init__(self, memory: PatchMemory) -> None:
        self.memory = memory
        self._index = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(memory.patches)

    def distances(self, maps: Array) -> Array:
        """(images, height, width, channels) to (images, height, width)."""
        found, _ = self._index.kneighbors(self.memory.queries(maps))
        return np.asarray(found.reshape(maps.shape[:3]), np.float32)

"""Nearest patches by faiss's graph of neighbours; the release itself computes them in its graph, exactly."""

from __future__ import annotations

from typing import Final

import numpy as np

from trainer.domain.anomaly import Array, PatchMemory

PAYS_FROM: Final = 4000
"""Patches from which on an index is faster than the product with all of them (`make bench`, anomaly.json)."""
LINKS: Final = 16
"""Neighbours that each patch is linked to."""
BREADTH: Final = 64
"""Patches that a search keeps in mind: wider is surer and slower."""


class IndexedMemory:
    """A patch memory behind an approximate index (HNSW) where it is large enough; see `PositionModel`.

    A distance is that to a patch of the memory, nearly always the nearest: never too small. The same memory makes the
    same index.
    """

    def __init__(self, memory: PatchMemory, *, pays_from: int = PAYS_FROM) -> None:
        self.memory = memory
        self._index = None
        if len(memory.patches) < pays_from:
            return
        import faiss  # takes a moment, and only a large memory needs it

        self._index = faiss.IndexHNSWFlat(memory.patches.shape[1], LINKS)
        self._index.hnsw.efSearch = BREADTH
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)  # several would link the patches in an order of their own
        try:
            self._index.add(np.ascontiguousarray(memory.patches))
        finally:
            faiss.omp_set_num_threads(threads)

    def distances(self, maps: Array) -> Array:
        """(images, height, width, channels) to (images, height, width)."""
        if self._index is None:
            return self.memory.distances(maps)
        squared, _ = self._index.search(self.memory.queries(maps), 1)
        return np.asarray(np.sqrt(np.maximum(squared, 0)).reshape(maps.shape[:3]), np.float32)

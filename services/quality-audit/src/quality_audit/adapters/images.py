"""Fetches a batch's images side by side, so that a batch waits for the slowest one and not for the sum."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from andon_chassis.errors import Invalid
from andon_chassis.objects import DERIVED, ObjectStore
from andon_events.records import ObjectRef


class StoredImages:
    """Images in the object store.

    Args:
        store: Thread-safe.
        parallel: How many are fetched at a time.
    """

    def __init__(self, store: ObjectStore, parallel: int) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(parallel, thread_name_prefix="fetch")

    def fetch(self, refs: Sequence[ObjectRef]) -> list[bytes | Exception]:
        if len(refs) == 1:
            return [self._one(refs[0])]
        return list(self._pool.map(self._one, refs))

    def keep(self, document: bytes) -> None:
        self._store.put(DERIVED, document, "application/json")

    def _one(self, ref: ObjectRef) -> bytes | Exception:
        try:
            return self._store.get(ref)
        except Invalid as error:
            return error

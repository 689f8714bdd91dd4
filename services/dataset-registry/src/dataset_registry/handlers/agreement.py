"""How far people agree: over the reviews and the consensus batches, or over one batch."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict

from dataset_registry.domain.agreement_answers import Judged, agreed, sliced
from dataset_registry.ports import Row
from dataset_registry.ports_datasets import Answers

MOST_KEPT = 32


def answers(store: Answers, batch_id: str | None) -> list[Judged]:
    """Every image that several people have judged without seeing each other."""
    said = store.annotation_answers(batch_id)
    return said if batch_id is not None else store.review_answers() + said


def figures(judged: list[Judged], by: str | None, class_name: str | None, severity: Mapping[str, int]) -> Row:
    """Of all, and by slice where that was asked for."""
    slices = sliced(judged, by, class_name, severity) if by else {}
    return asdict(agreed(judged, class_name, severity)) | {
        "by": by,
        "slices": [{"name": name} | asdict(found) for name, found in slices.items()],
    }


class KeptFigures:
    """Figures that were asked for lately; the same answers give the same ones, and drawing them anew takes a second."""

    def __init__(self) -> None:
        self._held: OrderedDict[bytes, Row] = OrderedDict()
        self._lock = threading.Lock()

    def of(
        self, judged: list[Judged], by: str | None, class_name: str | None, severity: Mapping[str, int]
    ) -> Row:
        """As `figures`."""
        key = hashlib.sha256(repr((judged, by, class_name, severity)).encode()).digest()
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        found = figures(judged, by, class_name, severity)
        with self._lock:
            self._held[key] = found
            if len(self._held) > MOST_KEPT:
                self._held.popitem(last=False)
        return found

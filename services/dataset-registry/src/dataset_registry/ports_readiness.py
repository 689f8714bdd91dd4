"""What the readiness package needs of the world outside, beyond what datasets, answers and taxonomies give."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dataset_registry.ports import Row


class ReadinessFigures(Protocol):
    """Figures of a dataset version, inside one transaction."""

    def stations(self, places: Sequence[tuple[str, str]]) -> list[Row]:
        """line, station, document (in force, or null) and locked of each of these places, in their order."""

    def captured(self, image_ids: Sequence[str]) -> Row:
        """captures, and how many of them the audit rejected or doubted (`deviating`)."""

    def provenance(self, label_ids: Sequence[str]) -> list[Row]:
        """labels by origin, author, by (who approved), review (the batch's plan) and blind answers."""

    def last_words(self) -> Row:
        """settled, ambiguous: of all images with an approved annotation."""

    def releases(self, hash_: str) -> list[Row]:
        """release and metrics of all that learned from this version."""

    def evaluated(self, hash_: str) -> set[str]:
        """Releases for whose evaluation the holdout was opened."""

    def batches(self, releases: Sequence[str]) -> Row:
        """batches, and those whose last decision about one of these releases accepts it (`accepted`)."""

    def decisions(self, releases: Sequence[str]) -> Row:
        """decided, overridden, latency_ms (95th percentile) of captures that these releases decided first."""

    def newest(self, hash_: str) -> datetime:
        """When the newest record was made that figures about this version can come from."""

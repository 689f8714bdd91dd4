"""What dataset versions, agreement and evaluation batches need of the world outside."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from dataset_registry.domain.agreement_answers import Judged
from dataset_registry.domain.evaluation_batches import Accepted
from dataset_registry.domain.segments import Mark

if TYPE_CHECKING:
    from dataset_registry.ports import Page, Row


class Datasets(Protocol):
    """Dataset versions, inside one transaction."""

    def latest_labels(self, wanted: Row) -> list[Row]:
        """The latest label of each capture that the filter lets through."""

    def last_words(self, before: datetime | None) -> list[Row]:
        """Every image with its last label and its last approved annotation, either of them null."""

    def marks(self, image_ids: Sequence[str]) -> dict[str, Mark]:
        """What people say the images are there for."""

    def mark(self, rows: Sequence[Row]) -> None: ...

    def images_known(self, image_ids: Sequence[str]) -> set[str]: ...

    def described(self, image_ids: Sequence[str]) -> dict[str, Row]:
        """perceptual_hash, part_id, captured_at and synthetic of images, for versions that do not say."""

    def add_snapshot(self, row: Row) -> bool:
        """True when it was new."""

    def add_division(self, row: Row) -> None: ...

    def add_holdout(self, row: Row, image_ids: Sequence[str]) -> None: ...

    def holdouts_with(self, image_ids: Sequence[str]) -> dict[str, int]:
        """How many of the images are in the holdout of a version, by its hash; sorted, and without those that hold
        none."""

    def version(self, hash_: str) -> Row | None:
        """With its division, and its holdout's size."""

    def versions(self, limit: int, cursor: str | None) -> Page: ...

    def holdout(self, hash_: str) -> Row | None:
        """With the claim check; only for who counts the reading, or names nothing that is in it."""

    def add_reading(self, hash_: str, by: str, release: str, purpose: str, at: datetime) -> int:
        """The number of this reading of this holdout."""

    def readings(self, hash_: str, limit: int, cursor: str | None) -> Page: ...


class Answers(Protocol):
    """What several people have said of the same images, blind."""

    def review_answers(self) -> list[Judged]:
        """Of reviews that are no longer open."""

    def annotation_answers(self, batch_id: str | None) -> list[Judged]:
        """Of tasks that wanted several answers and have them all."""

    def severities(self) -> dict[str, int]:
        """Rank of each class in force, the good one 0."""


class EvaluationBatches(Protocol):
    """Controlled evaluation batches, inside one transaction."""

    def add_evaluation_batch(self, row: Row) -> bool:
        """False when the name is taken."""

    def evaluation_batch(self, batch_id: str) -> Row | None:
        """With the classes of its labelled images (`labelled`), and its last decision for each release."""

    def evaluation_batches(self, limit: int, cursor: str | None) -> Page: ...

    def add_evaluation_images(self, batch_id: str, image_ids: Sequence[str], by: str, at: datetime) -> int:
        """How many were new in it."""

    def add_evaluation_decision(self, row: Row) -> None: ...

    def accepted(self, release: str) -> list[Accepted]:
        """What a release is accepted on."""

"""What the labeling room needs of the world outside."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from dataset_registry.domain.annotations import Annotation, Origin
from dataset_registry.domain.labeling import Batch, Kind, Person, Task
from dataset_registry.domain.labeling_checks import Guide, ImageSize
from dataset_registry.domain.labeling_priority import Evidence, Surroundings

if TYPE_CHECKING:
    from dataset_registry.ports import Page, Row


class Draft(NamedTuple):
    """What somebody has begun to say.

    Attributes:
        version: 1, and one more with each change.
    """

    version: int
    saved_at: datetime
    annotation: Annotation


class Stored(NamedTuple):
    """An annotation in its place."""

    annotation_id: str
    author: str
    annotation: Annotation


class Statement(NamedTuple):
    """An annotation that is added."""

    annotation_id: str
    image_id: str
    task_id: str | None
    author: str
    origin: Origin
    annotation: Annotation
    made_at: datetime
    supersedes: str | None


class Decision(NamedTuple):
    """What was decided about an annotation: approved, sent-back or superseded."""

    annotation_id: str
    image_id: str
    decision: str
    by: str
    note: str | None
    decided_at: datetime


class Lot(NamedTuple):
    """Images that were added together, and what their sample says so far."""

    size: int
    sample_size: int
    accept: int
    reviewed: int
    nonconforming: int
    state: str


class GoldAnswer(NamedTuple):
    """How an answer compares with what is known."""

    task_id: str
    person: str
    annotation_id: str
    agrees: bool
    score: float
    answered_at: datetime


class Batches(Protocol):
    """Batches and what is in them, inside one transaction."""

    def guide(self, version: str | None) -> Guide | None:
        """The taxonomy of this version; None is the one in force, or the unpublished one. None when it is unknown."""

    def add_batch(self, row: Row) -> bool:
        """False when the name is taken."""

    def lock_batch(self, batch_id: str) -> Batch | None:
        """The batch, kept from everybody else who would add to it or close it."""

    def close_batch(self, batch_id: str, at: datetime) -> None: ...

    def take_captures(self, capture_ids: Sequence[str], by: str, at: datetime) -> None:
        """Make images of those captures that are none yet; the scale is that of their station."""

    def images_known(self, image_ids: Sequence[str]) -> set[str]: ...

    def tasks_known(self, batch_id: str, image_ids: Sequence[str]) -> set[str]:
        """Those of the images that are in the batch already."""

    def in_force(self, image_ids: Sequence[str]) -> dict[str, Stored]:
        """The label in force by image_id."""

    def evidence(self, image_ids: Sequence[str]) -> dict[str, Evidence]:
        """What is known of how much could be learned from these images."""

    def surroundings(self) -> Surroundings:
        """What has been labeled so far."""

    def add_lot(self, batch_id: str, size: int, sample_size: int, accept: int) -> int:
        """The number of the new lot."""

    def add_tasks(self, rows: Sequence[Row]) -> None: ...


class Work(Protocol):
    """Tasks, claims, drafts, annotations and decisions, inside one transaction."""

    def guide(self, version: str | None) -> Guide | None: ...

    def candidates(
        self, kind: Kind, person: Person, batch_id: str | None, without: str | None, now: datetime, limit: int
    ) -> list[str]:
        """Tasks that wait for this person, the first first; who holds what may change until one is locked."""

    def held(self, kind: Kind, person: Person, batch_id: str | None, now: datetime) -> str | None:
        """The task of that kind that this person holds."""

    def lock_task(self, task_id: str, *, wait: bool = True) -> Task | None:
        """The task, kept from everybody else until the end of the transaction. Without waiting it is None as well
        when somebody else has it locked."""

    def others_holding(self, task_id: str, person: str, now: datetime) -> int:
        """How many other people have a claim on it."""

    def claim(self, task_id: str, person: str, until: datetime) -> None: ...

    def renew(self, task_id: str, person: str, now: datetime, until: datetime) -> bool:
        """Prolong a claim that has not run out; False when there is none."""

    def release(self, task_id: str, person: str | None = None) -> None:
        """End this person's claim, or everybody's."""

    def draft(self, task_id: str, person: str) -> Draft | None: ...

    def save_draft(
        self, task_id: str, person: str, annotation: Annotation, known: int, now: datetime
    ) -> bool:
        """Keep what follows version `known`, 0 being none; False when another version is there, or no such task."""

    def drop_draft(self, task_id: str, person: str) -> None: ...

    def image_size(self, image_id: str) -> ImageSize: ...

    def answers(self, task_id: str) -> list[Stored]:
        """The last annotation of each who answered, the first first."""

    def annotations(self, annotation_ids: Sequence[str]) -> dict[str, Stored]:
        """By annotation_id."""

    def add_annotation(self, statement: Statement) -> None: ...

    def decide(self, decisions: Sequence[Decision]) -> None: ...

    def undecided(self, task_ids: Sequence[str]) -> list[tuple[str, str]]:
        """annotation_id and image_id of the annotations of these tasks about which nothing was decided."""

    def in_force(self, image_ids: Sequence[str]) -> dict[str, Stored]: ...

    def save(self, tasks: Sequence[Task], now: datetime) -> None:
        """Keep where these tasks are now."""

    def add_gold_answer(self, answer: GoldAnswer) -> None: ...

    def lot_state(self, batch_id: str, lot: int) -> str:
        """open, accepted or rejected; it stays so until the end of the transaction."""

    def lock_lot(self, batch_id: str, lot: int) -> Lot:
        """The lot, kept from everybody else; after its task, never before."""

    def save_lot(self, batch_id: str, number: int, lot: Lot) -> None: ...

    def lock_waiting(self, batch_id: str, lot: int) -> list[Task]:
        """The tasks that wait for the verdict on their lot."""


class Labeling(Batches, Work, Protocol):
    """All that the labeling room's commands write through."""


class LabelingViews(Protocol):
    """What people look up in the labeling room."""

    def batches(self, wanted: Row, limit: int, cursor: str | None) -> Page: ...

    def batch(self, batch_id: str) -> Row | None:
        """With the progress of its tasks and of its people."""

    def tasks(self, task_ids: Sequence[str], person: Person, now: datetime) -> list[Row]:
        """Tasks as this person may see them, in this order."""

    def images(self, wanted: Row, limit: int, cursor: str | None) -> Page:
        """With their labels in force, but for those in blind work or in a holdout."""

    def image(self, image_id: str) -> Row | None:
        """With its label in force and its history; neither while the image is in blind work."""

    def image_object(self, image_id: str) -> Row | None:
        """The claim check."""

    def ambiguous(self, wanted: Row, limit: int, cursor: str | None) -> Page:
        """Images whose label in force is a doubt, the last first."""

    def ambiguity_counts(self) -> dict[str, int]:
        """How many there are, by reason."""

    def gold_scores(self, batch_id: str) -> list[dict[str, Any]]:
        """Answers, agreements and the mean score by person."""

"""The life of a labeling task: who may answer, who may review, and where it goes next.

to-label -> (an answer) -> to-review, or waiting for the verdict on its lot, or done where the review plan passes it
over. A review approves it (done) or sends it back to its author, whose next answer is reviewed again; sent back too
often, it is disputed. In a consensus batch the answers wanted are given blind: where they agree the task is done, else
disputed. Only a QA owner who has not answered ends a dispute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from dataset_registry.domain.refusals import Refused, conflict, forbidden, stale
from dataset_registry.domain.reviews import QA_OWNER
from dataset_registry.domain.sampling_plans import ReviewPlan

REVIEWER = "reviewer"
AUTHORS_TIME = timedelta(days=1)
"""So long a task that was sent back waits for its author only; then for everybody who labels in its batch."""
MOST_SEND_BACKS = 2
"""After so many, two people differ, and the QA owner says what is right."""


class State(StrEnum):
    """Where a task is."""

    TO_LABEL = "to-label"
    WAITING = "waiting"
    """Labeled; the sample of its lot decides whether it is reviewed."""
    TO_REVIEW = "to-review"
    SENT_BACK = "sent-back"
    DISPUTED = "disputed"
    DONE = "done"


class Mode(StrEnum):
    """How a batch is worked on."""

    SINGLE = "single"
    CONSENSUS = "consensus"
    GOLD = "gold"
    """As single, with images among them whose label is known: who answers these is scored."""


class Kind(StrEnum):
    """What a person does with a task."""

    LABEL = "label"
    REVIEW = "review"
    ADJUDICATE = "adjudicate"


STATES_OF = {
    Kind.LABEL: (State.SENT_BACK, State.TO_LABEL),
    Kind.REVIEW: (State.TO_REVIEW,),
    Kind.ADJUDICATE: (State.DISPUTED,),
}
"""States in which a task waits for that work, the most urgent first."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who acts. Attributes:
    roles: From the registry's settings.
    """

    name: str
    roles: Sequence[str] = ()

    @property
    def owns_quality(self) -> bool:
        return QA_OWNER in self.roles

    @property
    def reviews_all(self) -> bool:
        """Whether this person reviews in batches that are assigned to others."""
        return self.owns_quality or REVIEWER in self.roles


@dataclass(frozen=True, slots=True)
class Batch:
    """What was asked for.

    Attributes:
        people: Who labels; empty is everyone.
        answers_wanted: By different people: of each image in a consensus batch, of each known one in a gold batch.
    """

    batch_id: str
    mode: Mode
    people: tuple[str, ...]
    answers_wanted: int
    plan: ReviewPlan
    taxonomy_version: str | None
    closed: bool

    def takes(self, person: Person, kind: Kind) -> bool:
        """Whether this kind of work in the batch is for this person."""
        if kind is Kind.ADJUDICATE:
            return person.owns_quality
        reviews = kind is Kind.REVIEW and person.reviews_all
        return reviews or not self.people or person.name in self.people


@dataclass(frozen=True, slots=True)
class Task:
    """One image in one batch.

    Attributes:
        wanted: Answers.
        answered: Answers given.
        version: Changes with every step that matters to those who have the task before them.
        lot: Number in its batch.
        sampled: Whether it belongs to the sample of its lot.
        gold: The annotation that answers are scored against; None for ordinary work.
        author: Of the annotation that stands.
        standing: The annotation under review.
        send_backs: How often it went back.
        note: Of the last time.
        updated_at: Of its last step.
    """

    task_id: str
    batch: Batch
    image_id: str
    state: State
    wanted: int
    answered: int
    version: int
    lot: int
    sampled: bool
    gold: str | None
    author: str | None
    standing: str | None
    send_backs: int
    note: str | None
    updated_at: datetime

    @property
    def blind(self) -> bool:
        """Whether nobody may see yet what others have said of it."""
        return self.batch.mode is not Mode.SINGLE and self.state is State.TO_LABEL


def kind_for(state: State, author: str | None, person: Person) -> Kind:
    """What a task is for a person who opens it.

    Args:
        author: Of the annotation that stands.
    """
    if state is State.TO_REVIEW and author != person.name:
        return Kind.REVIEW
    if state is State.DISPUTED and person.owns_quality:
        return Kind.ADJUDICATE
    return Kind.LABEL


def refuse_other_version(task: Task, version: int | None) -> None:
    """Raises Refused when the person has not seen the task as it is; None is a person who does not say."""
    if version is not None and version != task.version:
        raise stale(
            "task-changed",
            f"Somebody has worked on this image since you opened it (version {task.version}, not {version}); look at"
            " it as it is now. Your draft is kept.",
            version=task.version,
        )


def refuse_answer(task: Task, person: Person, answered: Sequence[str], others: int, now: datetime) -> None:
    """Raises Refused when this person may not answer this task now.

    Args:
        answered: Who has answered it.
        others: How many others hold it.
    """
    if task.batch.closed and task.state is State.TO_LABEL:
        raise conflict("batch-closed", "This batch is closed; take the next image. Your draft is kept.")
    if not task.batch.takes(person, Kind.LABEL):
        raise forbidden("not-assigned", f"This batch is not assigned to {person.name}; take the next image.")
    if task.state is State.SENT_BACK:
        if task.author != person.name and now - task.updated_at <= AUTHORS_TIME:
            raise conflict(
                "sent-back-to-another", f"This image went back to {task.author}; take the next image."
            )
        if others:
            raise _held_by_another()
        return
    if task.state is not State.TO_LABEL:
        raise _no_such_step(task, "labeled")
    if person.name in answered:
        raise conflict(
            "already-answered", f"{person.name} has answered this image; another person must go on."
        )
    if task.answered + others >= task.wanted:
        raise _held_by_another()


def after_answer(task: Task, lot_state: str) -> State:
    """Where a task goes with its author's answer, by the review plan of its batch.

    Args:
        lot_state: open, accepted or rejected; a plan without lots leaves them open.
    """
    if task.send_backs or task.sampled or task.batch.plan.draws(task.task_id) or lot_state == "rejected":
        return State.TO_REVIEW
    return State.WAITING if task.batch.plan.by_lot and lot_state == "open" else State.DONE


def refuse_review(task: Task, person: Person, annotation_id: str | None) -> None:
    """Raises Refused when this person may not approve or send back this task now."""
    if task.author == person.name and task.state in (State.TO_REVIEW, State.WAITING):
        raise forbidden("own-work", "Nobody reviews what they have labeled; another person does it.")
    if task.state is not State.TO_REVIEW:
        raise _no_such_step(task, "reviewed")
    if not task.batch.takes(person, Kind.REVIEW):
        raise forbidden(
            "not-assigned",
            f"This batch is not assigned to {person.name}; a reviewer or a QA owner may review it.",
        )
    if annotation_id is not None and annotation_id != task.standing:
        raise stale(
            "annotation-superseded",
            "The author has changed the annotation since you opened it; look at the new one.",
            version=task.version,
        )


def after_send_back(task: Task) -> State:
    """Back to the author, or to the QA owner when it has been back too often."""
    return State.DISPUTED if task.send_backs >= MOST_SEND_BACKS else State.SENT_BACK


def refuse_adjudication(task: Task, person: Person, answered: Sequence[str]) -> None:
    """Raises Refused when this person may not end the dispute."""
    if task.state is not State.DISPUTED:
        raise conflict(
            "not-disputed",
            f"Only a disputed task is decided; this one is {task.state}. Approve it or send it back.",
        )
    if not person.owns_quality:
        raise forbidden("not-a-qa-owner", f"{person.name} has no role {QA_OWNER}; ask a QA owner to decide.")
    if person.name in answered:
        raise forbidden(
            "own-work", "Nobody decides a dispute that they have a part in; another QA owner does it."
        )


def _held_by_another() -> Refused:
    return conflict(
        "held-by-another",
        "Somebody else has taken this image since your claim ran out; take the next one. Your draft is kept.",
    )


def _no_such_step(task: Task, step: str) -> Refused:
    return conflict(
        f"not-to-be-{step}", f"This task is {task.state}, so it cannot be {step}; take the next one."
    )

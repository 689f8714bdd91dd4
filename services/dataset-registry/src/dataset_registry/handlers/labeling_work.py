"""The queue: who works on what, and what they have begun to say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from dataset_registry.domain.annotations import Annotation
from dataset_registry.domain.labeling import (
    STATES_OF,
    Kind,
    Person,
    Task,
    kind_for,
    refuse_adjudication,
    refuse_answer,
    refuse_review,
)
from dataset_registry.domain.refusals import Refused, stale, unknown
from dataset_registry.ports import Row
from dataset_registry.ports_labeling import Draft, Work

FOLLOWING = 3
"""Tasks that are named beside the one that is given out, so that their pictures can be fetched ahead."""
_LOOKED_AT = 8
_ROUNDS = 6
"""How often the queue is asked again when others took all that it named; from the third time on it waits for them."""
_PATIENT_FROM = 2


class Given(NamedTuple):
    """What a person gets.

    Attributes:
        task_id: Claimed for the person; None when nothing waits for them.
        following: What would come next; not claimed.
    """

    task_id: str | None
    following: list[str]


class Saved(NamedTuple):
    """What became of a draft.

    Attributes:
        claim_expires_at: None when somebody else has the task now; the draft is kept all the same.
    """

    draft: Draft
    claim_expires_at: datetime | None


def next_task(
    store: Work,
    kind: Kind,
    person: Person,
    batch_id: str | None,
    after: str | None,
    now: datetime,
    claim: timedelta,
) -> Given:
    """Give a person the task that they hold, or else the first that waits for them.

    Args:
        after: The task that the person leaves: their claim on it ends, and it is not given now.
    """
    if after is not None:
        store.release(after, person.name)
    until = now + claim
    held = store.held(kind, person, batch_id, now)
    if held is not None and store.renew(held, person.name, now, until):
        return Given(held, store.candidates(kind, person, batch_id, held, now, FOLLOWING))
    locked = False
    for attempt in range(_ROUNDS):
        waiting = store.candidates(kind, person, batch_id, after, now, _LOOKED_AT)
        if not waiting:
            break
        for task_id in waiting:
            # Who has locked one task waits for no other: two who did so could wait for each other.
            task = store.lock_task(task_id, wait=attempt >= _PATIENT_FROM and not locked)
            locked = locked or task is not None
            if task is not None and _waits_for(store, task, kind, person, now):
                store.claim(task_id, person.name, until)
                rest = [other for other in waiting if other != task_id]
                return Given(task_id, rest[:FOLLOWING])
    return Given(None, [])


def save_draft(
    store: Work,
    task_id: str,
    person: Person,
    annotation: Annotation,
    known: int,
    as_json: Callable[[Draft], Row],
    now: datetime,
    claim: timedelta,
) -> Saved:
    """Keep what a person has begun to say, and prolong their claim. Raises Refused when another tab has saved since.

    Args:
        known: Version of the draft that this one follows; 0 where there was none.
        as_json: How the other tab's draft is shown to the person.
    """
    saved = store.save_draft(task_id, person.name, annotation, known, now)
    draft = store.draft(task_id, person.name)
    if draft is None:
        locked_task(store, task_id)
        raise stale(
            "draft-gone", "Your answer was sent, and its draft is gone; load the image again.", current=None
        )
    if not saved and draft.annotation != annotation:
        raise stale(
            "draft-changed",
            "This image was saved from another window since; take its version over, or save yours over it with"
            f' If-Match "{draft.version}".',
            current=as_json(draft),
        )
    return Saved(draft, _prolonged(store, task_id, person, now, now + claim))


def release(store: Work, task_id: str, person: str) -> None:
    """Let somebody else have the task; there need be no claim."""
    store.release(task_id, person)


def locked_task(store: Work, task_id: str) -> Task:
    """The task, kept from everybody else. Raises Refused."""
    task = store.lock_task(task_id)
    if task is None:
        raise unknown("task", task_id, "ask POST /v1/work/next for one.")
    return task


def _prolonged(store: Work, task_id: str, person: Person, now: datetime, until: datetime) -> datetime | None:
    if store.renew(task_id, person.name, now, until):
        return until
    task = locked_task(store, task_id)
    if not _waits_for(store, task, kind_for(task.state, task.author, person), person, now):
        return None
    store.claim(task_id, person.name, until)
    return until


def _waits_for(store: Work, task: Task, kind: Kind, person: Person, now: datetime) -> bool:
    """Whether a locked task still waits for this kind of work by this person."""
    if task.state not in STATES_OF[kind]:
        return False
    answered = [stored.author for stored in store.answers(task.task_id)]
    others = store.others_holding(task.task_id, person.name, now)
    try:
        match kind:
            case Kind.LABEL:
                refuse_answer(task, person, answered, others, now)
                return True
            case Kind.REVIEW:
                refuse_review(task, person, None)
            case Kind.ADJUDICATE:
                refuse_adjudication(task, person, answered)
    except Refused:
        return False
    return others == 0

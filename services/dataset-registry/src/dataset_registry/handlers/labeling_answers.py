"""Answers, reviews and the QA owner's word: what people say of an image becomes its label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from andon_chassis.events import deterministic_id

from dataset_registry.domain.annotations import Annotation, Origin
from dataset_registry.domain.labeling import (
    Mode,
    Person,
    State,
    Task,
    after_answer,
    after_send_back,
    refuse_adjudication,
    refuse_answer,
    refuse_other_version,
    refuse_review,
)
from dataset_registry.domain.labeling_agreement import compared, consensus
from dataset_registry.domain.labeling_checks import ImageSize, checked
from dataset_registry.domain.refusals import invalid, unknown
from dataset_registry.domain.sampling_plans import lot_state
from dataset_registry.handlers.labeling_approval import Approval, approve
from dataset_registry.handlers.labeling_work import locked_task
from dataset_registry.handlers.reviews import Emit
from dataset_registry.ports import Reviews
from dataset_registry.ports_labeling import Decision, GoldAnswer, Statement, Stored, Work


@dataclass(frozen=True, slots=True)
class Room:
    """What every step needs."""

    work: Work
    labels: Reviews
    emit: Emit
    now: datetime


def answer(room: Room, task_id: str, person: Person, given: Annotation, version: int) -> None:
    """One person's annotation of one task. Raises Refused; the person's draft is kept then."""
    work = room.work
    task = locked_task(work, task_id)
    refuse_other_version(task, version)
    before = work.answers(task_id)
    others = work.others_holding(task_id, person.name, room.now)
    refuse_answer(task, person, [stored.author for stored in before], others, room.now)
    size = work.image_size(task.image_id)
    made = _stated(room, task, person, given, size, supersedes=task.standing)
    work.drop_draft(task_id, person.name)
    work.release(task_id, person.name)
    if task.batch.mode is Mode.CONSENSUS:
        _consensus(room, task, [*before, made], size)
    elif task.gold is not None:
        _gold(room, task, made, size)
    else:
        _single(room, task, made)


def review(
    room: Room,
    task_id: str,
    person: Person,
    annotation_id: str | None,
    note: str,
    version: int | None,
    *,
    approves: bool,
) -> None:
    """A second person approves the annotation that stands, or sends it back with a note. Raises Refused."""
    task = locked_task(room.work, task_id)
    refuse_review(task, person, annotation_id)
    refuse_other_version(task, version)
    if not approves and not note.strip():
        raise invalid("note-missing", "Say what is wrong, so that the author can put it right.")
    first_look = task.send_backs == 0
    room.work.release(task_id)
    if approves:
        _approved(room, _approvals(room, [task]), person.name, note)
    else:
        decision = Decision(_standing(task), task.image_id, "sent-back", person.name, note, room.now)
        room.work.decide([decision])
        state, times = after_send_back(task), task.send_backs + 1
        _moved(room, replace(task, state=state, send_backs=times, note=note))
    if task.sampled and first_look:
        _count(room, task, faulty=not approves)


def adjudicate(
    room: Room,
    task_id: str,
    person: Person,
    chosen: str | Annotation,
    note: str,
    version: int | None,
) -> None:
    """The QA owner ends a dispute: by one of its annotations, named by its id, or by an own one. Raises Refused."""
    task = locked_task(room.work, task_id)
    answers = room.work.answers(task_id)
    refuse_adjudication(task, person, [stored.author for stored in answers])
    refuse_other_version(task, version)
    if isinstance(chosen, Annotation):
        size = room.work.image_size(task.image_id)
        decided = _stated(room, task, person, chosen, size, supersedes=None)
        room.work.drop_draft(task_id, person.name)
    else:
        named = {stored.annotation_id: stored for stored in answers}
        if chosen not in named:
            raise unknown("annotation", chosen, "choose one of the answers of this task, or give your own.")
        decided = named[chosen]
    room.work.release(task_id)
    _approved(room, [Approval(task, decided)], person.name, note)


def _stated(
    room: Room, task: Task, person: Person, given: Annotation, size: ImageSize, supersedes: str | None
) -> Stored:
    guide = room.work.guide(task.batch.taxonomy_version)
    if guide is None:
        raise LookupError(f"taxonomy {task.batch.taxonomy_version} of a batch is gone")
    annotation = checked(given, guide, size)
    annotation_id = deterministic_id("annotation", task.task_id, person.name, str(task.version))
    statement = Statement(
        annotation_id=annotation_id,
        image_id=task.image_id,
        task_id=task.task_id,
        author=person.name,
        origin=Origin.PERSON,
        annotation=annotation,
        made_at=room.now,
        supersedes=supersedes,
    )
    room.work.add_annotation(statement)
    return Stored(annotation_id, person.name, annotation)


def _single(room: Room, task: Task, made: Stored) -> None:
    lot = room.work.lot_state(task.batch.batch_id, task.lot) if task.batch.plan.by_lot else "open"
    answered = replace(
        task, answered=1, author=made.author, standing=made.annotation_id, state=after_answer(task, lot)
    )
    if answered.state is State.DONE:
        _approved(room, [Approval(answered, made)], task.batch.plan.title, "passed over by the review plan")
    else:
        _moved(room, answered)


def _consensus(room: Room, task: Task, answers: Sequence[Stored], size: ImageSize) -> None:
    answered = replace(task, answered=len(answers))
    if len(answers) < task.wanted:
        room.work.save([answered], room.now)  # the others go on blind, so their version stays as it is
        return
    room.work.release(task.task_id)
    best = consensus([stored.annotation for stored in answers], size.width, size.height)
    if best is None:
        _moved(room, replace(answered, state=State.DISPUTED))
        return
    chosen = answers[best]
    other = next(stored.author for stored in reversed(answers) if stored.author != chosen.author)
    _approved(room, [Approval(answered, chosen)], other, f"{len(answers)} people agree")


def _gold(room: Room, task: Task, made: Stored, size: ImageSize) -> None:
    """Score an answer on a known image; the label in force stays what it is."""
    (known,) = room.work.annotations([task.gold or ""]).values()
    comparison = compared(made.annotation, known.annotation, size.width, size.height)
    room.work.add_gold_answer(
        GoldAnswer(
            task.task_id, made.author, made.annotation_id, comparison.agrees, comparison.score, room.now
        )
    )
    answered = replace(task, answered=task.answered + 1)
    if answered.answered >= task.wanted:
        _moved(room, replace(answered, state=State.DONE))
    else:
        room.work.save([answered], room.now)


def _count(room: Room, task: Task, *, faulty: bool) -> None:
    """Count a look at the sample of a lot; its verdict moves all that wait for it."""
    lot = room.work.lock_lot(task.batch.batch_id, task.lot)
    lot = lot._replace(reviewed=lot.reviewed + 1, nonconforming=lot.nonconforming + faulty)
    verdict = lot_state(lot.accept, lot.sample_size, lot.reviewed, lot.nonconforming)
    room.work.save_lot(task.batch.batch_id, task.lot, lot._replace(state=verdict))
    if verdict == lot.state:
        return
    waiting = room.work.lock_waiting(task.batch.batch_id, task.lot)
    if verdict == "rejected":
        _moved(room, *(replace(other, state=State.TO_REVIEW) for other in waiting))
    else:
        _approved(
            room, _approvals(room, waiting), task.batch.plan.title, "its lot was accepted by its sample"
        )


def _approved(room: Room, approvals: Sequence[Approval], by: str, note: str) -> None:
    approve(room.work, room.labels, room.emit, approvals, by, note or None, room.now)
    _moved(
        room,
        *(
            replace(approval.task, state=State.DONE, standing=approval.chosen.annotation_id, note=None)
            for approval in approvals
        ),
    )


def _moved(room: Room, *tasks: Task) -> None:
    room.work.save([replace(task, version=task.version + 1) for task in tasks], room.now)


def _approvals(room: Room, tasks: Sequence[Task]) -> list[Approval]:
    """Of the annotations that stand."""
    standing = room.work.annotations([_standing(task) for task in tasks])
    return [Approval(task, standing[_standing(task)]) for task in tasks]


def _standing(task: Task) -> str:
    if task.standing is None:
        raise LookupError(f"task {task.task_id} is to be reviewed without an annotation")
    return task.standing

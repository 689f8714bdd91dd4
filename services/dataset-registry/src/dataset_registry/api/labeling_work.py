"""The queue, drafts, answers and reviews.

Taking a task and saving a draft leave no mark but themselves, so they stand in no audit trail and need no idempotency
key: the same again gives the same answer. Answers and reviews are commands as all others.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response

from dataset_registry.adapters.shapes_json import annotation_to_json
from dataset_registry.api.context import Context, IdempotencyKey, found
from dataset_registry.api.contract import REPEATABLE
from dataset_registry.api.etags import STALE, TAGGED, IfMatch, tag, version_in
from dataset_registry.api.labeling import image_urls
from dataset_registry.api.labeling_shapes import (
    Draft,
    DraftIn,
    DraftSaved,
    NextIn,
    Task,
    TaskAnswerIn,
    TaskReviewIn,
    Work,
)
from dataset_registry.api.shapes import Name
from dataset_registry.domain.labeling import Kind, Person
from dataset_registry.handlers import labeling_answers, labeling_work
from dataset_registry.ports import Row, Session
from dataset_registry.ports_labeling import Draft as Saved

_ADVICE = "ask POST /v1/work/next for one."


def router(context: Context) -> APIRouter:
    """Routes under /v1/work and /v1/tasks."""
    routes = APIRouter(prefix="/v1", tags=["labeling"])
    _queue(routes, context)
    _words(routes, context)
    return routes


def _queue(routes: APIRouter, context: Context) -> None:
    @routes.post("/work/next", response_model=Work, openapi_extra=REPEATABLE)
    def take_next_task(body: NextIn) -> dict[str, object]:
        """Take the next task: the one that this person holds, or else the first of the queue that waits for them."""
        now, person = context.clock.now(), _person(context, body.person)
        with context.sessions() as session:
            given = labeling_work.next_task(
                session.labeling,
                Kind(body.kind),
                person,
                _text(body.batch_id),
                _text(body.after),
                now,
                _claim(context),
            )
            ids = [*filter(None, [given.task_id]), *given.following]
            rows = [_task(row) for row in session.labeling_views.tasks(ids, person, now)]
        return {"task": rows.pop(0) if given.task_id else None, "following": rows}

    @routes.get("/tasks/{task_id}", response_model=Task, responses=TAGGED)
    def read_task(
        task_id: UUID, response: Response, person: Annotated[Name, Query(description="Who looks at it.")]
    ) -> Row:
        """One task as this person may see it; its ETag is what an answer names in `If-Match`."""
        with context.sessions() as session:
            row = _seen(context, session, str(task_id), person)
        response.headers["ETag"] = tag(row["version"])
        return row

    @routes.delete("/tasks/{task_id}/claim", status_code=204)
    def release_task(task_id: UUID, person: Annotated[Name, Query(description="Whose claim ends.")]) -> None:
        """Let somebody else have the task."""
        with context.sessions() as session:
            labeling_work.release(session.labeling, str(task_id), person)

    @routes.put("/tasks/{task_id}/draft", response_model=DraftSaved, responses=TAGGED | STALE)
    def save_draft(
        task_id: UUID,
        body: DraftIn,
        response: Response,
        if_match: Annotated[
            str | None,
            Header(
                alias="If-Match",
                max_length=40,
                description="Version of the draft before; none for the first.",
            ),
        ] = None,
    ) -> Row:
        """Keep what this person has begun to say, and prolong their claim. It need not be sound yet."""
        known = 0 if if_match is None else version_in(if_match)
        with context.sessions() as session:
            saved = labeling_work.save_draft(
                session.labeling,
                str(task_id),
                _person(context, body.person),
                body.annotation.as_domain(),
                known,
                _draft,
                context.clock.now(),
                _claim(context),
            )
        response.headers["ETag"] = tag(saved.draft.version)
        return _draft(saved.draft) | {"claim_expires_at": saved.claim_expires_at}


def _words(routes: APIRouter, context: Context) -> None:
    @routes.post("/tasks/{task_id}/annotations", response_model=Task, status_code=201, responses=STALE)
    def annotate(
        task_id: UUID, body: TaskAnswerIn, if_match: IfMatch, key: IdempotencyKey = None
    ) -> Response:
        """Say what is on the image. All that is wrong with it is listed in `problems`; the draft is kept then."""

        def work(session: Session) -> tuple[int, Row]:
            labeling_answers.answer(
                _room(context, session),
                str(task_id),
                _person(context, body.person),
                body.annotation.as_domain(),
                version_in(if_match),
            )
            return 201, _seen(context, session, str(task_id), body.person)

        return context.command(key, f"annotate {task_id}", body, Task, work)

    @routes.post("/tasks/{task_id}/reviews", response_model=Task, status_code=201, responses=STALE)
    def review_task(
        task_id: UUID,
        body: TaskReviewIn,
        if_match: Annotated[str | None, Header(alias="If-Match", max_length=40)] = None,
        key: IdempotencyKey = None,
    ) -> Response:
        """Approve an annotation, send it back with a note, or end a dispute as a QA owner."""
        version = None if if_match is None else version_in(if_match)
        person = _person(context, body.person)
        named = _text(body.annotation_id)

        def work(session: Session) -> tuple[int, Row]:
            room = _room(context, session)
            if body.decision == "decide":
                chosen = body.annotation.as_domain() if body.annotation else named or ""
                labeling_answers.adjudicate(room, str(task_id), person, chosen, body.note, version)
            else:
                approves = body.decision == "approve"
                labeling_answers.review(
                    room, str(task_id), person, named, body.note, version, approves=approves
                )
            return 201, _seen(context, session, str(task_id), body.person)

        return context.command(key, f"review-task {task_id}", body, Task, work)


def _person(context: Context, name: str) -> Person:
    return Person(name, context.roles(name))


def _text(name: UUID | None) -> str | None:
    return None if name is None else str(name)


def _claim(context: Context) -> timedelta:
    return timedelta(minutes=context.claim_minutes)


def _room(context: Context, session: Session) -> labeling_answers.Room:
    return labeling_answers.Room(session.labeling, session.store, session.emit, context.clock.now())


def _seen(context: Context, session: Session, task_id: str, name: str) -> Row:
    rows = session.labeling_views.tasks([task_id], _person(context, name), context.clock.now())
    return _task(found(rows[0] if rows else None, "task", task_id, _ADVICE))


def _task(row: Row) -> Row:
    previous = [earlier | image_urls(earlier["image_id"]) for earlier in row["previous_of_part"]]
    return row | {"image": row | image_urls(row["image_id"]), "previous_of_part": previous}


def _draft(draft: Saved) -> Row:
    said = annotation_to_json(draft.annotation)
    shown = Draft.model_validate({"version": draft.version, "saved_at": draft.saved_at, "annotation": said})
    return shown.model_dump(mode="json")

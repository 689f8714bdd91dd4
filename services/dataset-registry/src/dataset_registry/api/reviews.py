"""Work for people: the queue, blind answers, adjudication, labels."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter, Response

from dataset_registry.api.captures import with_urls
from dataset_registry.api.context import Context, Cursor, IdempotencyKey, Limit, Sought, found
from dataset_registry.api.shapes import AnswerIn, Imported, Label, LabelsIn, Page, Review
from dataset_registry.handlers import reviews
from dataset_registry.ports import Session

_ADVICE = "look at GET /v1/reviews; it may also be on its way still."


def router(context: Context) -> APIRouter:
    """Routes under /v1/reviews and /v1/labels."""
    routes = APIRouter(prefix="/v1", tags=["reviews"])

    @routes.get("/reviews", response_model=Page[Review])
    def list_reviews(
        state: Literal["open", "disputed", "completed"] | None = None,
        line: Sought = None,
        station: Sought = None,
        not_answered_by: Sought = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> dict[str, object]:
        """Reviews, the most urgent first. `not_answered_by` leaves out those that this person has
        answered."""
        wanted = {"state": state, "line": line, "station": station, "not_answered_by": not_answered_by}
        with context.sessions() as session:
            page = session.views.reviews(wanted, limit, cursor)
        return {"items": [with_urls(row) for row in page.items], "next_cursor": page.next_cursor}

    @routes.get("/reviews/{review_id}", response_model=Review)
    def read_review(review_id: UUID) -> dict[str, object]:
        """One review."""
        with context.sessions() as session:
            return _review(session, review_id)

    @routes.post("/reviews/{review_id}/answers", response_model=Review)
    def answer_review(review_id: UUID, body: AnswerIn, key: IdempotencyKey = None) -> Response:
        """Give one blind answer. The last one wanted completes the review, or disputes it when the answers
        differ."""

        def work(session: Session) -> tuple[int, dict[str, Any]]:
            reviews.answer(session.store, session.emit, str(review_id), _given(body), context.clock.now())
            return 200, _review(session, review_id)

        return context.command(key, f"answer {review_id}", body, Review, work)

    @routes.post("/reviews/{review_id}/adjudication", response_model=Review)
    def adjudicate_review(review_id: UUID, body: AnswerIn, key: IdempotencyKey = None) -> Response:
        """End a dispute; for a QA owner who has not answered it."""
        roles = context.roles(body.reviewer)

        def work(session: Session) -> tuple[int, dict[str, Any]]:
            now = context.clock.now()
            reviews.adjudicate(session.store, session.emit, str(review_id), _given(body), roles, now)
            return 200, _review(session, review_id)

        return context.command(key, f"adjudicate {review_id}", body, Review, work)

    @routes.get("/labels", response_model=Page[Label])
    def list_labels(
        line: Sought = None,
        station: Sought = None,
        class_name: Sought = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> dict[str, object]:
        """Approved labels, the last first; a later label of a capture replaces an earlier one."""
        wanted = {"line": line, "station": station, "class_name": class_name}
        with context.sessions() as session:
            page = session.views.labels(wanted, limit, cursor)
        return {"items": page.items, "next_cursor": page.next_cursor}

    @routes.post("/labels", response_model=Imported, status_code=201)
    def import_labels(body: LabelsIn, key: IdempotencyKey = None) -> Response:
        """Take labels that people made elsewhere, for captures known here or described in full."""
        rows = body.model_dump(mode="json")["labels"]

        def work(session: Session) -> tuple[int, dict[str, int]]:
            now = context.clock.now()
            added, known = reviews.import_labels(session.store, session.emit, rows, body.approved_by, now)
            return 201, {"added": added, "known": known}

        return context.command(key, "import labels", body, Imported, work)

    def _review(session: Session, review_id: UUID) -> dict[str, Any]:
        return with_urls(found(session.views.review(str(review_id)), "review", review_id, _ADVICE))

    return routes


def _given(body: AnswerIn) -> reviews.Given:
    return reviews.Given(body.reviewer, body.verdict, body.class_name, body.note)

"""Taxonomies that are being written: by one person or several, compared, published with what becomes of old labels."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from fastapi import APIRouter, Response

from dataset_registry.api.context import Context, Cursor, IdempotencyKey, Limit, found
from dataset_registry.api.etags import STALE, TAGGED, IfMatch, tag, version_in
from dataset_registry.api.shapes import Page
from dataset_registry.api.taxonomy_shapes import (
    DraftBegin,
    DraftEnd,
    DraftSave,
    PublicationIn,
    TaxonomyComparison,
    TaxonomyDraft,
    TaxonomyDraftDetail,
    TaxonomyPublished,
)
from dataset_registry.domain.taxonomy_changes import Decision
from dataset_registry.handlers import taxonomies
from dataset_registry.ports import Row, Session

_ADVICE = "look at GET /v1/taxonomy-drafts."


def router(context: Context) -> APIRouter:
    """Routes under /v1/taxonomy-drafts."""
    routes = APIRouter(prefix="/v1/taxonomy-drafts", tags=["taxonomies"])

    @routes.post("", response_model=TaxonomyDraftDetail, status_code=201)
    def begin_draft(body: DraftBegin, key: IdempotencyKey = None) -> Response:
        """Begin a draft, from the version in force or from a document."""
        document = None if body.document is None else body.document.model_dump(mode="json")

        def work(session: Session) -> tuple[int, Row]:
            draft_id = taxonomies.begin_draft(
                session.taxonomies, body.title, document, body.created_by, context.clock.now()
            )
            return 201, _detail(session, draft_id)

        return context.command(key, "begin-taxonomy-draft", body, TaxonomyDraftDetail, work)

    @routes.get("", response_model=Page[TaxonomyDraft])
    def list_drafts(
        state: Literal["open", "published", "discarded"] | None = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> dict[str, object]:
        """Drafts, the last begun first."""
        with context.sessions() as session:
            page = session.taxonomies.drafts({"state": state}, limit, cursor)
        return {"items": page.items, "next_cursor": page.next_cursor}

    @routes.get("/{draft_id}", response_model=TaxonomyDraftDetail, responses=TAGGED)
    def read_draft(draft_id: UUID, response: Response) -> Row:
        """One draft, with all that is missing or wrong in it; its ETag is what a change names in `If-Match`."""
        with context.sessions() as session:
            row = _detail(session, str(draft_id))
        response.headers["ETag"] = tag(row["version"])
        return row

    @routes.put("/{draft_id}", response_model=TaxonomyDraftDetail, responses=STALE)
    def save_taxonomy_draft(
        draft_id: UUID, body: DraftSave, if_match: IfMatch, key: IdempotencyKey = None
    ) -> Response:
        """Save a draft. It need not be sound yet; what is wrong with it stands in `problems`."""
        changes = body.model_dump(mode="json", exclude={"saved_by"}, exclude_none=False)
        changes = {name: value for name, value in changes.items() if value is not None}

        def work(session: Session) -> tuple[int, Row]:
            now = context.clock.now()
            taxonomies.save_draft(
                session.taxonomies, str(draft_id), version_in(if_match), changes, body.saved_by, now
            )
            return 200, _detail(session, str(draft_id))

        return context.command(key, f"save-taxonomy-draft {draft_id}", body, TaxonomyDraftDetail, work)

    @routes.post("/{draft_id}/discard", response_model=TaxonomyDraftDetail, responses=STALE)
    def discard_draft(
        draft_id: UUID, body: DraftEnd, if_match: IfMatch, key: IdempotencyKey = None
    ) -> Response:
        """Put a draft away for good."""

        def work(session: Session) -> tuple[int, Row]:
            now = context.clock.now()
            taxonomies.discard_draft(session.taxonomies, str(draft_id), version_in(if_match), now)
            return 200, _detail(session, str(draft_id))

        return context.command(key, f"discard-taxonomy-draft {draft_id}", body, TaxonomyDraftDetail, work)

    @routes.get("/{draft_id}/comparison", response_model=TaxonomyComparison)
    def compare_draft(draft_id: UUID) -> Row:
        """A draft side by side with the version in force: what changes, which classes it affects, how many labels."""
        with context.sessions() as session:
            draft = found(session.taxonomies.draft(str(draft_id)), "draft", draft_id, _ADVICE)
            return taxonomies.compare_draft(session.taxonomies, draft)

    @routes.post(
        "/{draft_id}/publication", response_model=TaxonomyPublished, status_code=201, responses=STALE
    )
    def publish_draft(
        draft_id: UUID, body: PublicationIn, if_match: IfMatch, key: IdempotencyKey = None
    ) -> Response:
        """Put a draft in force, with a decision for each affected class; the relabel work is queued at once."""
        decisions = tuple(Decision(d.class_name, d.relabel, d.reason) for d in body.decisions)
        wanted = taxonomies.Publication(body.version, decisions, body.note, body.published_by)

        def work(session: Session) -> tuple[int, Row]:
            queued = taxonomies.publish_draft(
                session.taxonomies,
                session.store,
                session.emit,
                str(draft_id),
                version_in(if_match),
                wanted,
                context.clock,
            )
            return 201, {"version": body.version, **queued._asdict()}

        return context.command(key, f"publish-taxonomy-draft {draft_id}", body, TaxonomyPublished, work)

    return routes


def _detail(session: Session, draft_id: str) -> Row:
    draft = found(session.taxonomies.draft(draft_id), "draft", draft_id, _ADVICE)
    problems = taxonomies.draft_flaws(session.taxonomies, draft["document"])
    return draft | {"problems": [flaw._asdict() for flaw in problems]}

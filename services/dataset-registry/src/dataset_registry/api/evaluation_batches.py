"""Controlled evaluation batches: what is new is tried before a model may decide there."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response

from dataset_registry.api.context import Context, Cursor, IdempotencyKey, Limit, Sought
from dataset_registry.api.evaluation_batches_shapes import (
    EvaluationBatch,
    EvaluationBatchIn,
    EvaluationDecisionIn,
    EvaluationImages,
    EvaluationImagesIn,
    Permission,
)
from dataset_registry.api.shapes import Name, Page
from dataset_registry.handlers import evaluation_batches
from dataset_registry.ports import Session


def router(context: Context) -> APIRouter:
    """Routes under /v1/evaluation-batches."""
    routes = APIRouter(prefix="/v1/evaluation-batches", tags=["datasets"])

    @routes.post("", response_model=EvaluationBatch, status_code=201)
    def make_evaluation_batch(body: EvaluationBatchIn, key: IdempotencyKey = None) -> Response:
        """Begin a batch for a new variant, camera, supplier, material or lighting condition."""

        def work(session: Session) -> tuple[int, dict[str, Any]]:
            asked = body.model_dump(mode="json")
            batch_id = evaluation_batches.make(session.evaluations, asked, context.clock.now())
            return 201, evaluation_batches.read(session.evaluations, batch_id)

        return context.command(key, "evaluation-batch", body, EvaluationBatch, work)

    @routes.get("", response_model=Page[EvaluationBatch])
    def list_evaluation_batches(limit: Limit = 50, cursor: Cursor = None) -> dict[str, object]:
        """Batches, the last first."""
        with context.sessions() as session:
            page = session.evaluations.evaluation_batches(limit, cursor)
        return {
            "items": [evaluation_batches.standing(row) for row in page.items],
            "next_cursor": page.next_cursor,
        }

    @routes.get("/permission", response_model=Permission)
    def read_permission(
        release: Name,
        line: Name,
        station: Name,
        product_variant: Sought = None,
        camera: Sought = None,
        supplier: Sought = None,
        material: Sought = None,
        lighting: Sought = None,
    ) -> dict[str, object]:
        """Whether a release may decide there: what it has not learned from needs a batch that accepted it."""
        asked = {
            "line": line,
            "station": station,
            "product_variant": product_variant,
            "camera": camera,
            "supplier": supplier,
            "material": material,
            "lighting": lighting,
        }
        with context.sessions() as session:
            known = session.views.release(release)
            version = session.datasets.version(known["dataset_hash"]) if known else None
            accepted = session.evaluations.accepted(release)
        given = {name: value for name, value in asked.items() if value is not None}
        permission = evaluation_batches.permission(release, known, version, accepted, given)
        return {"may_decide": permission.may_decide, "because": permission.because}

    @routes.get("/{batch_id}", response_model=EvaluationBatch)
    def read_evaluation_batch(batch_id: UUID) -> dict[str, object]:
        """One batch."""
        with context.sessions() as session:
            return evaluation_batches.read(session.evaluations, str(batch_id))

    @routes.post("/{batch_id}/images", response_model=EvaluationImages, status_code=201)
    def add_evaluation_images(
        batch_id: UUID, body: EvaluationImagesIn, key: IdempotencyKey = None
    ) -> Response:
        """Add captures or images; those that are in it stay in it."""
        ids = [str(image) for image in body.images]

        def work(session: Session) -> tuple[int, dict[str, int]]:
            known = session.datasets.images_known(ids)
            now = context.clock.now()
            added = evaluation_batches.add(session.evaluations, str(batch_id), ids, known, body.added_by, now)
            return 201, {"added": added}

        return context.command(key, f"evaluation-images {batch_id}", body, EvaluationImages, work)

    @routes.post("/{batch_id}/decisions", response_model=EvaluationBatch, status_code=201)
    def decide_evaluation_batch(
        batch_id: UUID, body: EvaluationDecisionIn, key: IdempotencyKey = None
    ) -> Response:
        """Accept or reject a release on a batch that has what it needs; a later decision replaces an earlier one."""

        def work(session: Session) -> tuple[int, dict[str, Any]]:
            now = context.clock.now()
            evaluation_batches.decide(session.evaluations, str(batch_id), body.model_dump(mode="json"), now)
            return 201, evaluation_batches.read(session.evaluations, str(batch_id))

        return context.command(key, f"evaluation-decision {batch_id}", body, EvaluationBatch, work)

    return routes

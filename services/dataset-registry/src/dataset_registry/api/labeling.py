"""Batches, images and the ambiguous bucket."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter, Response

from dataset_registry.api import door
from dataset_registry.api.context import Context, Cursor, IdempotencyKey, Limit, Sought, found
from dataset_registry.api.etags import IfNoneMatch
from dataset_registry.api.labeling_batch_shapes import (
    Added,
    Batch,
    BatchCloseIn,
    BatchDetail,
    BatchImagesIn,
    BatchIn,
    Doubts,
    GoldScores,
    LabeledImage,
    LabeledImageDetail,
)
from dataset_registry.api.pictures import BYTES, View, pictured
from dataset_registry.api.shapes import Page
from dataset_registry.domain.labeling import State
from dataset_registry.handlers import labeling
from dataset_registry.ports import Row, Session

_BATCH_ADVICE = "look at GET /v1/batches."
_IMAGE_ADVICE = "look at GET /v1/images; a capture becomes one when it enters a batch."


def router(context: Context) -> APIRouter:
    """Routes under /v1/batches, /v1/images and /v1/ambiguous."""
    routes = APIRouter(prefix="/v1", tags=["labeling"])
    _batches(routes, context)
    _images(routes, context)
    return routes


def _batches(routes: APIRouter, context: Context) -> None:
    @routes.post("/batches", response_model=BatchDetail, status_code=201)
    def open_batch(body: BatchIn, key: IdempotencyKey = None) -> Response:
        """Begin a batch: what is to be labeled by whom, under which taxonomy and review plan."""

        def work(session: Session) -> tuple[int, Row]:
            asked = body.model_dump(mode="json") | {"review": body.review.model_dump(exclude_none=True)}
            return 201, _batch(session, labeling.open_batch(session.labeling, asked, context.clock.now()))

        return context.command(key, f"open-batch {body.name}", body, BatchDetail, work)

    @routes.get("/batches", response_model=Page[Batch])
    def list_batches(
        open: bool | None = None, person: Sought = None, limit: Limit = 50, cursor: Cursor = None
    ) -> dict[str, object]:
        """Batches with their progress, the last first. `person` leaves those in which that person labels."""
        with context.sessions() as session:
            page = session.labeling_views.batches({"open": open, "person": person}, limit, cursor)
        return {"items": page.items, "next_cursor": page.next_cursor}

    @routes.get("/batches/{batch_id}", response_model=BatchDetail)
    def read_batch(batch_id: UUID) -> dict[str, object]:
        """One batch with its people and lots."""
        with context.sessions() as session:
            return _batch(session, str(batch_id))

    @routes.post("/batches/{batch_id}/images", response_model=Added, status_code=201)
    def add_batch_images(batch_id: UUID, body: BatchImagesIn, key: IdempotencyKey = None) -> Response:
        """Put images, or captures, into a batch; what is added together is one lot of its sampling plan."""

        def work(session: Session) -> tuple[int, dict[str, int]]:
            ids = [str(image_id) for image_id in body.images]
            added, known = labeling.add_images(
                session.labeling, str(batch_id), ids, body.added_by, context.clock.now()
            )
            return 201, {"added": added, "known": known}

        return context.command(key, f"add-images {batch_id}", body, Added, work)

    @routes.post("/batches/{batch_id}/close", response_model=BatchDetail)
    def close_batch(batch_id: UUID, body: BatchCloseIn, key: IdempotencyKey = None) -> Response:
        """Give out no more of a batch's images; what is to be reviewed, or put right, still is."""

        def work(session: Session) -> tuple[int, Row]:
            labeling.close_batch(session.labeling, str(batch_id), context.clock.now())
            return 200, _batch(session, str(batch_id))

        return context.command(key, f"close-batch {batch_id}", body, BatchDetail, work)

    @routes.get("/batches/{batch_id}/gold", response_model=GoldScores)
    def read_gold_scores(batch_id: UUID) -> dict[str, object]:
        """How each person did on the images whose label is known."""
        with context.sessions() as session:
            _batch(session, str(batch_id))
            return {"items": session.labeling_views.gold_scores(str(batch_id))}


def _images(routes: APIRouter, context: Context) -> None:
    @routes.get("/images", response_model=Page[LabeledImage])
    def list_images(
        line: Sought = None,
        station: Sought = None,
        origin: Literal["capture", "import"] | None = None,
        part_number: Sought = None,
        part_id: Sought = None,
        segment: Sought = None,
        class_name: Sought = None,
        batch_id: UUID | None = None,
        state: State | None = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> dict[str, object]:
        """What is or was labeled, the last added first, with the label in force. `batch_id` and `state` leave those
        that have such a task, `class_name` those whose label names it: as a whole, or where something is marked."""
        wanted = {
            "line": line,
            "station": station,
            "origin": origin,
            "part_number": part_number,
            "part_id": part_id,
            "segment": segment,
            "class_name": class_name,
            "batch_id": batch_id,
            "state": state,
        }
        with context.sessions() as session:
            page = session.labeling_views.images(wanted, limit, cursor)
        return {
            "items": [row | image_urls(row["image_id"]) for row in page.items],
            "next_cursor": page.next_cursor,
        }

    @routes.get("/images/{image_id}", response_model=LabeledImageDetail)
    def read_labeled_image(image_id: UUID) -> dict[str, object]:
        """One image with everything that was said of it, and what was decided; of an image in a holdout for those who
        label."""
        with context.sessions() as session:
            row = found(session.labeling_views.image(str(image_id)), "image", image_id, _IMAGE_ADVICE)
            if not door.labels() and session.datasets.holdouts_with([str(image_id)]):
                row |= {"label": None, "history": []}
        return row | image_urls(row["image_id"])

    @routes.get("/images/{image_id}/picture", response_class=Response, responses=BYTES)
    def read_picture(image_id: UUID, view: View = "screen", if_none_match: IfNoneMatch = None) -> Response:
        """The bytes of an image, or of a capture that is none yet."""
        with context.sessions() as session:
            ref = session.labeling_views.image_object(str(image_id))
        return pictured(context, found(ref, "image", image_id, _IMAGE_ADVICE), view, if_none_match)

    @routes.get("/ambiguous", response_model=Doubts)
    def list_ambiguous(reason: Sought = None, limit: Limit = 50, cursor: Cursor = None) -> dict[str, object]:
        """The ambiguous bucket: images about which the guide does not decide, the last first, and counts by reason."""
        with context.sessions() as session:
            page = session.labeling_views.ambiguous({"reason": reason}, limit, cursor)
            counts = session.labeling_views.ambiguity_counts()
        return {
            "items": [row | image_urls(row["image_id"]) for row in page.items],
            "next_cursor": page.next_cursor,
            "by_reason": counts,
        }


def image_urls(image_id: str) -> dict[str, Any]:
    """Where the picture of an image is."""
    here = f"/v1/images/{image_id}/picture"
    return {"picture_url": f"{here}?view=screen", "thumbnail_url": f"{here}?view=thumbnail"}


def _batch(session: Session, batch_id: str) -> Row:
    return found(session.labeling_views.batch(batch_id), "batch", batch_id, _BATCH_ADVICE)

"""The shapes of batches, of the images in them, and of what was said of these."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from dataset_registry.api.labeling_shapes import Annotation
from dataset_registry.api.shapes import In, Name, Out, Text


class ReviewPlanIn(In):
    """What annotations go through before they are approved."""

    plan: Literal["full", "fraction", "iso2859"] = "full"
    fraction: float | None = Field(
        default=None, ge=0, le=1, description="Of `fraction`: the share that is reviewed."
    )
    aql: float | None = Field(default=None, description="Of `iso2859`: 0.65, 1.0, 1.5, 2.5 or 4.0.")
    level: Literal["I", "II", "III"] | None = Field(default=None, description="Of `iso2859`.")


class BatchIn(In):
    """What is to be labeled, and how."""

    name: Name
    mode: Literal["single", "consensus", "gold"] = "single"
    answers_wanted: int = Field(
        1, ge=1, le=20, description="Blind answers of each image (consensus) or each known image (gold)."
    )
    people: list[Name] = Field([], max_length=200, description="Who labels; empty is everyone.")
    review: ReviewPlanIn = ReviewPlanIn()
    taxonomy_version: Name | None = Field(None, description="Null is the one in force.")
    purpose: Text = ""
    created_by: Name


class BatchImagesIn(In):
    """Images, or captures, that are put into a batch together: one lot of its sampling plan."""

    images: list[UUID] = Field(min_length=1, max_length=5000)
    added_by: Name


class BatchCloseIn(In):
    """Who ends a batch."""

    closed_by: Name


# --- what comes out


class Batch(Out):
    """What is to be labeled, and how far it is."""

    batch_id: str
    name: str
    mode: str
    answers_wanted: int
    people: list[str]
    review: dict[str, Any]
    taxonomy_version: str | None
    purpose: str
    created_by: str
    created_at: datetime
    closed_at: datetime | None
    progress: dict[str, int] = Field(description="Tasks by state.")


class Lot(Out):
    """Images that were added together under a sampling plan."""

    lot: int
    size: int
    sample_size: int
    accept: int = Field(description="So many faults in the sample are let through.")
    reviewed: int
    nonconforming: int
    state: str


class BatchDetail(Batch):
    """A batch with its people and lots."""

    answers_by_person: dict[str, int]
    lots: list[Lot]


class Added(Out):
    """How many images were new to a batch, and how many were in it."""

    added: int
    known: int


class ImageLabel(Out):
    """The label in force of an image."""

    annotation_id: str
    author: str
    approved_by: str
    approved_at: datetime
    annotation: Annotation


class LabeledImage(Out):
    """Something that is labeled."""

    image_id: str
    origin: str
    name: str
    width: int
    height: int
    picture_url: str
    thumbnail_url: str
    context: dict[str, Any]
    part_id: str | None
    mm_per_pixel: float | None
    captured_at: datetime
    synthetic: bool
    segment: str | None
    added_at: datetime
    added_by: str
    blind: bool = Field(description="In blind work: its label and history are not shown.")
    label: ImageLabel | None


class AnnotationDecision(Out):
    """What was decided about an annotation."""

    decision: str
    by: str
    note: str | None
    decided_at: datetime


class HistoryItem(Out):
    """An annotation of an image, with what was decided about it."""

    annotation_id: str
    task_id: str | None
    author: str
    origin: str
    made_at: datetime
    supersedes: str | None
    annotation: Annotation
    decisions: list[AnnotationDecision]


class LabeledImageDetail(LabeledImage):
    """An image with everything that was said of it."""

    history: list[HistoryItem]


class Doubt(Out):
    """An image about which the guide does not decide."""

    annotation_id: str
    image_id: str
    name: str
    thumbnail_url: str
    author: str
    ambiguity: dict[str, Any]
    taxonomy_version: str | None
    made_at: datetime


class Doubts(Out):
    """The ambiguous bucket: a page of it, and how many there are by reason."""

    items: list[Doubt]
    next_cursor: str | None
    by_reason: dict[str, int]


class GoldScore(Out):
    """How one person did on images whose label is known."""

    person: str
    answers: int
    agreed: int
    score: float = Field(description="Mean, 0 to 1.")


class GoldScores(Out):
    """Scores of a gold batch."""

    items: list[GoldScore]

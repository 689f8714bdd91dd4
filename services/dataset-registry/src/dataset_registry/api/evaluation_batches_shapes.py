"""The shapes of controlled evaluation batches in the HTTP API."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, model_validator

from dataset_registry.api.shapes import In, Name, Out, Text

Axis = Literal["product_variant", "camera", "supplier", "material", "lighting"]


class EvaluationBatchIn(In):
    """Images of something new, and how many are needed before a release can be judged on them."""

    name: Name
    axis: Axis
    value: Name
    line: Name | None = None
    station: Name | None = None
    least_images: int = Field(30, ge=1, le=1_000_000)
    least_of_class: dict[Name, Annotated[int, Field(ge=1, le=1_000_000)]] = Field(default_factory=dict)
    created_by: Name

    @model_validator(mode="after")
    def station_needs_line(self) -> EvaluationBatchIn:
        if self.station and not self.line:
            raise ValueError("a station is named together with its line")
        return self


class EvaluationImagesIn(In):
    """Captures or images that belong to a batch."""

    images: list[UUID] = Field(min_length=1, max_length=5000)
    added_by: Name


class EvaluationDecisionIn(In):
    """Whether a release may decide on what a batch stands for, and why."""

    release: Name
    decision: Literal["accepted", "rejected"]
    note: Text = Field(min_length=1, description="The figures that it rests on.")
    decided_by: Name


class EvaluationDecision(Out):
    """The last word on a release."""

    release: str
    decision: Literal["accepted", "rejected"]
    note: str
    decided_by: str
    decided_at: datetime


class EvaluationBatch(Out):
    """A controlled evaluation batch and how far it is."""

    batch_id: str
    name: str
    axis: Axis
    value: str
    line: str | None
    station: str | None
    least_images: int
    least_of_class: dict[str, int]
    images: int
    labelled: dict[str, int] = Field(description="Labelled images by class.")
    state: Literal["collecting", "ready"]
    missing: list[str]
    decisions: list[EvaluationDecision]
    created_by: str
    created_at: datetime


class EvaluationImages(Out):
    """How many images were new in the batch."""

    added: int


class Permission(Out):
    """Whether a release may decide, and what was new to it."""

    may_decide: bool
    because: list[str]

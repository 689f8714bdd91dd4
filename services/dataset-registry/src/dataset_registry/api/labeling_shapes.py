"""The shapes of tasks, drafts, answers and reviews."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, FiniteFloat, model_validator

from dataset_registry.adapters.shapes_json import annotation_from_json
from dataset_registry.api.shapes import In, Name, Out, Text
from dataset_registry.domain.annotations import Annotation as Said

Coordinate = Annotated[FiniteFloat, Field(ge=-1e6, le=1e6)]
Place = tuple[Coordinate, Coordinate]
Word = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f]+$")]
MOST_POINTS = 5000


class ShapeIn(In):
    """One marked place; the field named after its kind says where. A mask's `counts` is COCO's compressed text."""

    shape_id: Word
    class_name: Name
    kind: Literal["box", "polygon", "mask", "key-points"]
    box: tuple[Coordinate, Coordinate, Coordinate, Coordinate] | None = Field(
        None, description="x, y, width, height"
    )
    rings: list[list[Place]] | None = Field(None, max_length=200)
    size: tuple[Annotated[int, Field(ge=1, le=100_000)], Annotated[int, Field(ge=1, le=100_000)]] | None = (
        Field(None, description="height, width")
    )
    counts: Annotated[str, Field(max_length=4_000_000, pattern=r"^[\x20-\x7e]*$")] | None = None
    points: dict[Word, Place] | None = Field(None, max_length=200)
    joins: list[tuple[Word, Word]] | None = Field(None, max_length=200)
    instance: int | None = Field(None, ge=0, lt=2**31)
    origin: Literal["person", "model", "import"] = "person"
    confirmed: bool = True
    measurements: dict[Word, FiniteFloat] = Field({}, max_length=200, description="Read only: measured here.")

    @model_validator(mode="after")
    def has_its_geometry(self) -> ShapeIn:
        needed = {
            "box": ("box",),
            "polygon": ("rings",),
            "mask": ("size", "counts"),
            "key-points": ("points",),
        }
        missing = [name for name in needed[self.kind] if getattr(self, name) is None]
        if missing:
            raise ValueError(f"a {self.kind} needs {' and '.join(missing)}")
        if sum(map(len, self.rings or ())) > MOST_POINTS:
            raise ValueError(f"a polygon has {MOST_POINTS} points at most; use a mask")
        return self


class AmbiguityIn(In):
    """Why the guide does not decide."""

    reason: Literal["boundary", "between-classes", "image-quality", "not-in-guide", "other"]
    note: Text = ""
    proposed_class: Name | None = None


class AnnotationIn(In):
    """What is said of one image. A draft may be half done; an answer is checked."""

    verdict: Literal["labeled", "ambiguous", "unusable"]
    classes: list[Name] = Field([], max_length=100)
    shapes: list[ShapeIn] = Field([], max_length=2000)
    ambiguity: AmbiguityIn | None = None
    taxonomy_version: Name | None = None

    def as_domain(self) -> Said:
        """The same, as the rules know it."""
        return annotation_from_json(self.model_dump(mode="json"))


class NextIn(In):
    """Who asks for work, and for which."""

    person: Name
    kind: Literal["label", "review", "adjudicate"] = "label"
    batch_id: UUID | None = None
    after: UUID | None = Field(None, description="The task that the person leaves; it is not given now.")


class DraftIn(In):
    """What somebody has begun to say."""

    person: Name
    annotation: AnnotationIn


class TaskAnswerIn(In):
    """What somebody says."""

    person: Name
    annotation: AnnotationIn


class TaskReviewIn(In):
    """What a second person says of it: `decide` ends a dispute by one of its answers, or by an own one."""

    person: Name
    decision: Literal["approve", "send-back", "decide"]
    annotation_id: UUID | None = None
    annotation: AnnotationIn | None = None
    note: Text = ""

    @model_validator(mode="after")
    def decides_by_one(self) -> TaskReviewIn:
        if self.decision == "decide" and (self.annotation_id is None) == (self.annotation is None):
            raise ValueError("decide names one of the answers, or gives an annotation; not both")
        if self.decision != "decide" and self.annotation is not None:
            raise ValueError("only decide takes an annotation of its own")
        return self


# --- what comes out


class Annotation(Out):
    """What is said of one image; shapes as they are sent, with their measurements."""

    verdict: str
    classes: list[str]
    shapes: list[dict[str, Any]]
    ambiguity: dict[str, Any] | None
    taxonomy_version: str | None


class TaskImage(Out):
    """The image of a task."""

    image_id: str
    name: str
    width: int
    height: int
    picture_url: str
    thumbnail_url: str
    context: dict[str, Any]
    part_id: str | None
    mm_per_pixel: float | None
    captured_at: datetime


class Draft(Out):
    """What this person has begun to say; its version is the ETag of `PUT draft`."""

    version: int
    saved_at: datetime
    annotation: Annotation


class DraftSaved(Draft):
    """A draft, and how long its task is still this person's."""

    claim_expires_at: datetime | None = Field(
        description="Null: somebody else has the task; the draft is kept."
    )


class TaskAnswer(Out):
    """What one person said."""

    annotation_id: str
    author: str
    made_at: datetime
    annotation: Annotation


class PreviousOfPart(Out):
    """An earlier image of the same part."""

    image_id: str
    picture_url: str
    captured_at: datetime
    annotation: Annotation | None


class Task(Out):
    """One image in one batch, as one person may see it. Its version is its ETag."""

    task_id: str
    batch_id: str
    batch_name: str
    kind: str
    state: str
    version: int
    image: TaskImage
    taxonomy_version: str | None
    wanted: int
    priority: float
    priority_reason: str
    draft: Draft | None
    proposal: Annotation | None = Field(
        description="To begin with: what a model saw, the label in force, or one's own answer that was sent back. In"
        " blind work there is none."
    )
    note: str | None = Field(description="Why it was sent back.")
    answers: list[TaskAnswer]
    previous_of_part: list[PreviousOfPart]
    claim_expires_at: datetime | None


class Work(Out):
    """The task that is now this person's, and what would come next."""

    task: Task | None
    following: list[Task]

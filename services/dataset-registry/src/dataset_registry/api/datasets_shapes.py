"""The shapes of dataset versions, agreement and evaluation batches in the HTTP API."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, model_validator

from dataset_registry.api.shapes import In, Moment, Name, Out, Text
from dataset_registry.domain.neighbours import MOST
from dataset_registry.domain.splits import LONGEST_BLOCK_S

Part = Literal["train", "validation", "test", "holdout"]
Key = Literal["time", "batch", "part", "product", "station", "neighbour"]
Distance = Annotated[int, Field(ge=0, le=MOST, description="Bits in which perceptual neighbours may differ.")]
Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

# --- what comes in


class LabelFilter(In):
    """Which labels go into a dataset; empty lists let everything through."""

    lines: list[Name] = Field(default_factory=list)
    stations: list[Name] = Field(default_factory=list)
    product_variants: list[Name] = Field(default_factory=list)
    batches: list[Name] = Field(default_factory=list)
    origins: list[Name] = Field(default_factory=list)
    classes: list[Name] = Field(default_factory=list)
    approved_before: Moment | None = None


class SplitIn(In):
    """How a version is divided: what shares a key, over any chain, is never parted; the same bytes never are."""

    shares: dict[Part, Annotated[float, Field(gt=0, le=1)]] = Field(
        default={"train": 0.7, "validation": 0.15, "holdout": 0.15},
        description="By part; together 1, and train among them.",
    )
    keys: list[Key] = Field(default=["batch", "part", "neighbour"])
    distance: Distance = 6
    block_s: float = Field(
        3600.0,
        ge=1,
        le=LONGEST_BLOCK_S,
        allow_inf_nan=False,
        description="Length of a block of time of one station.",
    )
    seed: Name = "andonloop"
    keep: Hash | None = Field(
        None, description="A version whose images stay in the part that they have there."
    )


class SnapshotIn(In):
    """What a dataset version is made of. With neither a split nor shapes it is a list of labels of image class."""

    purpose: Text = "training"
    filter: LabelFilter = Field(default_factory=LabelFilter)
    split: SplitIn | None = None
    shapes: bool = Field(
        False,
        description="Also images that were imported, with what is marked on them; a split has this anyway.",
    )
    created_by: Name = "unnamed"


class SplitToCheck(In):
    """A split that somebody made elsewhere."""

    parts: dict[UUID, Part] = Field(min_length=1)
    distance: Distance = 6
    block_s: float = Field(3600.0, ge=1, le=LONGEST_BLOCK_S, allow_inf_nan=False)


class SegmentMark(In):
    """What an image is there for; null takes an earlier mark back."""

    image_id: UUID
    segment: Literal["normal", "known-defect", "rare-defect", "edge-case", "holdout"] | None
    kind: Literal["lighting", "angle", "occlusion", "material", "hard-negative"] | None = None
    note: Text | None = None

    @model_validator(mode="after")
    def an_edge_case_has_a_kind(self) -> SegmentMark:
        if (self.segment == "edge-case") != (self.kind is not None):
            raise ValueError("an edge case has a kind, and nothing else has one")
        return self


class SegmentMarksIn(In):
    """Marks by one person."""

    marked_by: Name
    marks: list[SegmentMark] = Field(min_length=1, max_length=5000)


# --- what comes out


class DatasetWarning(Out):
    """Something to know before relying on it."""

    code: str
    about: str
    text: str


class SegmentCoverage(Out):
    """What a segment is for and what it holds; groups are independent of each other, images are not."""

    segment: str
    purpose: str
    images: int
    groups: int
    by_name: dict[str, int] = Field(description="Groups by class; by kind for edge cases.")
    stations: int
    cameras: int
    products: int
    warnings: list[DatasetWarning]


class LeakageSummary(Out):
    """What the leakage report said when the version was cut; pairs of related images in different parts, by kind."""

    verdict: Literal["clean", "unproven", "related", "leaks"]
    advice: str
    pairs: dict[str, int]


class HoldoutSummary(Out):
    """How large a holdout is; what is in it is given to evaluations only."""

    items: int
    sha256: str
    classes: dict[str, int]
    readings: int


class Snapshot(Out):
    """A dataset version; its manifest lists every label and image but those of the holdout."""

    hash: str
    purpose: str
    filter: dict[str, Any]
    manifest: dict[str, Any] = Field(description="Claim check of the manifest in the object store.")
    manifest_url: str
    items: int
    classes: dict[str, int]
    format: str
    plan: dict[str, Any] | None
    parts: dict[str, int]
    segments: list[SegmentCoverage]
    warnings: list[DatasetWarning]
    leakage: LeakageSummary | None
    holdout: HoldoutSummary | None
    created_by: str
    created_at: datetime


class LeakedPair(Out):
    """Two images in different parts; `distance` in bits where both hashes are known."""

    left: str
    right: str
    parts: tuple[str, str]
    distance: int | None


class Leak(Out):
    """What images in different parts have in common."""

    kind: Literal["content", "neighbour", "part", "batch", "time"]
    pairs: int
    images: int
    by_parts: dict[str, int]
    unknown: int = Field(description="Images of which too little is on record to tell.")
    examples: list[LeakedPair]


class LeakageReport(Out):
    """Whether figures on one part say something about another, and what to do where they do not."""

    verdict: Literal["clean", "unproven", "related", "leaks"]
    advice: str
    leaks: list[Leak]


class DiffEntry(Out):
    """One image; a class, or a part, before and after. Equal classes: its shapes are others."""

    id: str
    was: str | None
    now: str | None


class DatasetDiff(Out):
    """What changed from one version to another. Inside the holdout it is counted, not named."""

    before: str
    after: str
    counts: dict[str, int]
    in_holdout: dict[str, int]
    alarms: list[str] = Field(description="What makes figures of before and after incomparable.")
    added: list[DiffEntry] = Field(description="The first ones, as all lists here.")
    removed: list[DiffEntry]
    relabelled: list[DiffEntry]
    moved: list[DiffEntry]


class HoldoutReading(Out):
    """An evaluation that was given the holdout."""

    number: int
    by: str
    release: str
    purpose: str
    read_at: datetime


class Marked(Out):
    """How many marks were taken."""

    marked: int

"""What a person, a model or a file says about one image: classes of the whole, shapes on it, or why nothing can
be said.

All coordinates are pixels of the original image, the origin in its upper left corner, x to the right, y down; a pixel's
area is one unit, so an image of width 100 reaches from 0 to 100.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

Point = tuple[float, float]
Ring = tuple[Point, ...]
"""A closed line; the last point is joined to the first."""


class Verdict(StrEnum):
    """What an annotation says of its image as a whole."""

    LABELED = "labeled"
    """Its classes and shapes are complete: what is not marked is good."""
    AMBIGUOUS = "ambiguous"
    """The guide does not decide; the ambiguity says why."""
    UNUSABLE = "unusable"
    """Nobody can tell from this image."""


class Origin(StrEnum):
    """Where a statement comes from."""

    PERSON = "person"
    MODEL = "model"
    """A proposal. It is never human evidence until a person confirms it."""
    IMPORT = "import"


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-parallel rectangle."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Polygon:
    """Outer rings and holes: a point is inside where an odd number of rings surround it."""

    rings: tuple[Ring, ...]


@dataclass(frozen=True, slots=True)
class Mask:
    """Pixels, as COCO's run lengths: columns from the left, first a run of zeros.

    Attributes:
        height, width: Of the image.
        counts: COCO's compressed string.
    """

    height: int
    width: int
    counts: str


@dataclass(frozen=True, slots=True)
class KeyPoints:
    """Named points; `joins` names pairs whose distance is a measurement."""

    points: tuple[tuple[str, Point], ...]
    joins: tuple[tuple[str, str], ...] = ()


Geometry = Box | Polygon | Mask | KeyPoints


@dataclass(frozen=True, slots=True)
class Shape:
    """One marked place.

    Attributes:
        shape_id: Unique in its annotation; keeps its name through revisions, so that histories can be compared.
        instance: Shapes with the same number are one thing; None in a semantic mask, where pixels count, not things.
        origin: Whose mark it was at first.
        confirmed: For a model's proposal: whether a person has taken it over.
        measurements: By name, with the unit at the end: `length_px`, `length_mm`.
    """

    shape_id: str
    class_name: str
    geometry: Geometry
    instance: int | None = None
    origin: Origin = Origin.PERSON
    confirmed: bool = True
    measurements: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Ambiguity:
    """Why the guide does not decide.

    Attributes:
        reason: A code: boundary, between-classes, image-quality, not-in-guide, other.
        proposed_class: What the annotator would say if forced to.
    """

    reason: str
    note: str = ""
    proposed_class: str | None = None


AMBIGUITIES = ("boundary", "between-classes", "image-quality", "not-in-guide", "other")


@dataclass(frozen=True, slots=True)
class Annotation:
    """Everything that one source says about one image at one time.

    Attributes:
        classes: Of the image as a whole; the good class stands alone. Classes of shapes need not be repeated here.
        taxonomy_version: The version it was made under; None before one was published.
    """

    verdict: Verdict
    classes: tuple[str, ...] = ()
    shapes: tuple[Shape, ...] = field(default=())
    ambiguity: Ambiguity | None = None
    taxonomy_version: str | None = None

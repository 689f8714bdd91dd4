"""The shapes of stations and their capture standards."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from andon_events.standards import BOUNDED
from pydantic import AfterValidator, Field, FiniteFloat, WithJsonSchema, model_validator

from dataset_registry.api.shapes import In, Name, Out, Text


class RejectionRuleIn(In):
    """When an image is not used."""

    reason: Name = Field(
        description="Code, as the quality audit gives it: blurred, cropped, wrong-exposure, other-lens, unproven ..."
    )
    rule: Text = Field("", description="In words, for people.")


def _bounded(name: str) -> str:
    if name not in BOUNDED:
        raise ValueError(f"nothing is measured under this name; there are {', '.join(BOUNDED)}")
    return name


Bounded = Annotated[str, AfterValidator(_bounded), WithJsonSchema({"type": "string", "enum": list(BOUNDED)})]


class BoundIn(In):
    """Between which values a setting of the capture, or a measure of its image, must lie; both belong to it."""

    name: Bounded
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None

    @model_validator(mode="after")
    def leaves_room(self) -> BoundIn:
        if self.low is None and self.high is None:
            raise ValueError("give it a low or a high end")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("low must not exceed high")
        return self


class StationIn(In):
    """A station and its capture standard: how its images are taken. Null is not laid down."""

    camera: Name | None = None
    lens: Text | None = None
    capture_standard_version: Name
    width: int | None = Field(None, ge=1, lt=2**31, description="Resolution.")
    height: int | None = Field(None, ge=1, lt=2**31, description="Resolution.")
    exposure: Text | None = Field(None, description="Time, gain, aperture.")
    lighting: Text | None = None
    distance_mm: FiniteFloat | None = Field(None, gt=0, description="From the lens to the part.")
    angle_deg: FiniteFloat | None = Field(
        None, ge=-360, le=360, description="Between the view and the surface."
    )
    background: Text | None = None
    part_orientation: Text | None = None
    focus: Text | None = None
    trigger_timing: Text | None = None
    media_types: list[Text] = Field([], description="File formats; empty for any.")
    mm_per_pixel: FiniteFloat | None = Field(
        None, gt=0, description="Scale: what measurements are made with."
    )
    bounds: list[BoundIn] = Field(
        [],
        max_length=100,
        description="The standard in numbers, which the quality audit holds against each capture.",
    )
    rejection_rules: list[RejectionRuleIn] = Field(
        [],
        max_length=100,
        description="Deviations with these reasons reject an image, `unproven` one of which the standard is not"
        " proven; all others are counted.",
    )
    validated_variants: list[Name] = Field([])
    takt_ms: int = Field(1000, ge=1, lt=2**31)
    published_by: Name = "unnamed"

    @model_validator(mode="after")
    def bounded_once(self) -> StationIn:
        names = [bound.name for bound in self.bounds]
        if len(set(names)) < len(names):
            raise ValueError("each name is bounded once")
        return self


class StandardLockIn(In):
    """Who vouches that a version of a standard changes no more."""

    capture_standard_version: Name
    note: Text = ""
    locked_by: Name


class Station(Out):
    """A station's capture standard in force."""

    line: str
    station: str
    camera: str | None
    lens: str | None = None
    capture_standard_version: str
    width: int | None
    height: int | None
    exposure: str | None = None
    lighting: str | None = None
    distance_mm: float | None = None
    angle_deg: float | None = None
    background: str | None = None
    part_orientation: str | None = None
    focus: str | None = None
    trigger_timing: str | None = None
    media_types: list[str]
    mm_per_pixel: float | None = None
    bounds: list[BoundIn] = Field([])
    rejection_rules: list[RejectionRuleIn] = Field([])
    validated_variants: list[str]
    takt_ms: int
    published_by: str
    published_at: datetime


class StationVersion(Station):
    """What was published for a station at some time, and whether its standard is locked."""

    locked_by: str | None
    locked_at: datetime | None
    lock_note: str | None
    gaps: list[str] = Field(description="Fields of the standard that nothing is laid down for.")


class Locked(Out):
    """Whether locking changed anything."""

    locked: bool


class Deviation(Out):
    """How many captures deviate for a reason."""

    kind: Literal["rejected", "ambiguous", "deviating", "unproven", "missing", "violated"] = Field(
        description="The audit rejected them or was in doubt; they deviate in a way that is only counted; nothing shows"
        " what the standard lays down there; a field of their context is missing; or their context names another"
        " camera than the standard, or a version that was never published."
    )
    reason: str
    captures: int
    share: float = Field(description="Of the captures under this version.")


class StandardDeviations(Out):
    """Deviations of the captures that were taken under one version of the standard."""

    standard_version: str | None = Field(description="Null where a capture does not say.")
    captures: int
    deviations: list[Deviation]


class Deviations(Out):
    """Deviations of a station's captures from its standard."""

    since: datetime
    until: datetime
    versions: list[StandardDeviations]

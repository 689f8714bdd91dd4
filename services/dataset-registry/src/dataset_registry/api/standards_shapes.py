"""The shapes of stations and their capture standards."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field, FiniteFloat

from dataset_registry.api.shapes import In, Name, Out, Text


class RejectionRuleIn(In):
    """When an image is not used."""

    reason: Name = Field(
        description="Code, as the quality audit gives it: blurred, cropped, over-exposed ..."
    )
    rule: Text = Field("", description="In words, for people.")


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
    rejection_rules: list[RejectionRuleIn] = Field([], max_length=100)
    validated_variants: list[Name] = Field([])
    takt_ms: int = Field(1000, ge=1, lt=2**31)
    published_by: Name = "unnamed"


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

    kind: Literal["rejected", "ambiguous", "missing", "violated"] = Field(
        description="The audit rejected them or was in doubt; a field of their context is missing; or their context"
        " names another camera than the standard, or a version that was never published."
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

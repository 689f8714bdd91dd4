"""What the rules look at: the few fields of an event that tell something, with the time it happened.

All times are event time in milliseconds since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

REJECTING = frozenset({"reject", "rework"})
"""Dispositions that take a part away from the line because of a defect."""


@dataclass(slots=True, kw_only=True)
class Audited:
    """A capture was measured.

    Attributes:
        accepted: The audit let it through.
        measures: Brightness, sharpness and so on; empty when the image could not be read.
        unregistered: Nobody registered the station.
    """

    capture_id: str
    at_ms: int
    part: str | None
    variant: str | None
    accepted: bool
    measures: Mapping[str, float]
    unregistered: bool = False


@dataclass(slots=True, kw_only=True)
class Scored:
    """The deciding model scored a capture (shadow results are never observed).

    Attributes:
        score: Probability of a defect, 0 to 1.
        uncertain: Between the release's own thresholds.
        classes: Names of the classes that the model knows.
    """

    capture_id: str
    at_ms: int
    release: str
    score: float
    uncertain: bool
    classes: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Decided:
    """A capture got its first disposition, or a person replaced one without a review.

    Attributes:
        latency_ms: From the trigger to the decision.
        by_deadline: No answer came in time, so the policy's deadline decided.
        override: A person replaced the decision (only then revision is above 1).
    """

    capture_id: str
    at_ms: int
    part: str | None
    class_name: str | None
    kind: str
    latency_ms: float
    by_deadline: bool = False
    override: bool = False


@dataclass(slots=True, kw_only=True)
class Found:
    """The plant found out later.

    Attributes:
        kind: escape, false-reject, customer-return, operator-override or hold-released.
        disposition: What had been decided, when the sender knows.
    """

    capture_id: str
    at_ms: int
    kind: str
    part: str | None
    class_name: str | None
    disposition: str | None


@dataclass(slots=True, kw_only=True)
class Reviewed:
    """People answered about a capture.

    Attributes:
        answers: How many people answered; one answer cannot disagree.
        classes: Every defect class that somebody named.
    """

    capture_id: str
    at_ms: int
    answers: int
    agreed: bool
    classes: tuple[str, ...]


Observation = Audited | Scored | Decided | Found | Reviewed


@dataclass(frozen=True, slots=True, kw_only=True)
class StationFacts:
    """The station as published.

    Attributes:
        validated_variants: What the model may decide on; empty for any.
        takt_ms: Time per part.
        standard: Version of the capture standard; another one means new references.
    """

    validated_variants: frozenset[str]
    takt_ms: int
    standard: str

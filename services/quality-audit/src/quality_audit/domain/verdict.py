"""From measures and memory to a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from andon_events.records import Deviation

ACCEPTED: Final = "accepted"
REJECTED: Final = "rejected"
AMBIGUOUS: Final = "ambiguous"

UNREADABLE: Final = "unreadable"
UNREGISTERED: Final = "unregistered-station"
DUPLICATE: Final = "duplicate"
NEAR_DUPLICATE: Final = "near-duplicate"
UNPROVEN: Final = "unproven"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the audit says about one image.

    Attributes:
        reasons: Codes; empty when accepted.
        duplicate_of: capture_id of the earlier twin.
        limits_version: Limits that judged; None when nothing could be measured.
        deviations: From the capture standard, those that reject and those that are only counted.
        unproven: What the standard lays down and nothing shows.
    """

    verdict: str
    reasons: list[str]
    measures: Mapping[str, float] = field(default_factory=dict)
    duplicate_of: str | None = None
    limits_version: str | None = None
    deviations: Sequence[Deviation] = ()
    unproven: Sequence[str] = ()


def decide(reject: Sequence[str], doubt: Sequence[str]) -> tuple[str, list[str]]:
    """A reason to reject outweighs all doubts; a doubt alone goes to a person. Each reason is named once."""
    if reject:
        return REJECTED, list(dict.fromkeys([*reject, *doubt]))
    return (AMBIGUOUS, list(doubt)) if doubt else (ACCEPTED, [])

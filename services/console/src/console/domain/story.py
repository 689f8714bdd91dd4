"""What happened to a capture, in the order in which it happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

# Where the registry keeps each kind of thing that can happen, and the field that says when it did.
WHEN = {
    "history": "decided_at",
    "reviews": "requested_at",
    "labels": "approved_at",
    "findings": "found_at",
}


@dataclass(frozen=True, slots=True)
class Happened:
    """One thing that happened; `what` is `history`, `reviews`, `labels` or `findings`."""

    what: str
    at: str
    told: Mapping[str, Any]


def story(capture: Mapping[str, Any]) -> list[Happened]:
    """From the first decision to the last finding; what came at the same moment, in the order of cause and effect."""
    found = [Happened(what, told[when], told) for what, when in WHEN.items() for told in capture[what]]
    return sorted(found, key=lambda one: datetime.fromisoformat(one.at))

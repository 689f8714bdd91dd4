"""What PostgreSQL can never keep is found out before any statement runs."""

from __future__ import annotations

import json

from andon_chassis.errors import Invalid
from andon_events.records import Record


def check_storable(data: Record) -> None:
    """Raises Invalid("nul-character") for the one character that no text column takes."""
    if "\\u0000" in json.dumps(data.to_avro(), default=str):
        raise Invalid(
            "nul-character", "A text in this event contains U+0000; clean it where it was typed or scanned."
        )

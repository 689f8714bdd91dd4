"""Keyset paging: a cursor names the last row a reader has seen, so pages stay right while rows arrive."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime

from dataset_registry.domain.refusals import invalid


def write_cursor(moment: datetime, identity: str) -> str:
    """An opaque word for "after this row"."""
    text = json.dumps([moment.isoformat(), identity], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[datetime, str]:
    """What `write_cursor` was given. Raises Refused when it was not made here."""
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        moment, identity = json.loads(raw)
        parsed = datetime.fromisoformat(moment)
        if parsed.tzinfo is None or not isinstance(identity, str) or "\0" in identity:
            raise ValueError(cursor)
        identity.encode()  # half of a surrogate pair is no character
        return parsed, identity
    except (ValueError, TypeError, binascii.Error):
        raise invalid(
            "unreadable-cursor",
            "Start again without a cursor, and pass on next_cursor exactly as it was given.",
        ) from None

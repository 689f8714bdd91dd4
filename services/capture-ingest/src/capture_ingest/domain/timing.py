"""When a capture happened. A station's clock may be wrong; the image is taken in all the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

AHEAD: Final = timedelta(seconds=5)
"""A clock further in the future than this is wrong."""

BEHIND: Final = timedelta(days=366)
"""A clock further in the past than this is wrong: an edge box forwards after days, a dead battery says 1970.
"""


def event_time(written: str | None, received_at: datetime) -> tuple[datetime, bool]:
    """The time to file a capture under, and whether it is the station's own.

    Args:
        written: ISO 8601 with an offset, as the station wrote it; anything else is not trusted.
        received_at: When the plant server had the image, UTC.
    """
    if written is not None:
        try:
            at = datetime.fromisoformat(written)
        except ValueError:
            return received_at, False
        if at.tzinfo is not None and received_at - BEHIND <= at <= received_at + AHEAD:
            return at.astimezone(UTC), True
    return received_at, False

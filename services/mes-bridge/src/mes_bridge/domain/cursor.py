"""Where a reader of the feed stopped, as an opaque text that stays good for ever."""

from __future__ import annotations

import base64
import binascii

PREFIX = "p1:"


class InvalidCursor(ValueError):
    """The text was not given out by this feed."""


def write_cursor(position: int) -> str:
    """A cursor just behind this position."""
    return base64.urlsafe_b64encode(f"{PREFIX}{position}".encode()).decode().rstrip("=")


def read_cursor(text: str) -> int:
    """The position a cursor stands for; the empty text is the beginning. Raises InvalidCursor."""
    if not text:
        return 0
    try:
        plain = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
        position = int(plain.removeprefix(PREFIX))
    except (ValueError, binascii.Error) as error:
        raise InvalidCursor(text) from error
    if not plain.startswith(PREFIX) or not 0 <= position < 2**63:
        raise InvalidCursor(text)
    return position

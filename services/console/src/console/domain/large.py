"""Which images are too large to be shown as one piece: their tiles are. Registry and scripts have the same numbers."""

from __future__ import annotations

MOST_PIXELS = 12_000_000
MOST_SIDE = 8192


def is_large(width: int, height: int) -> bool:
    """Whether an image of this size, pixels, is shown by its tiles."""
    return width * height > MOST_PIXELS or max(width, height) > MOST_SIDE

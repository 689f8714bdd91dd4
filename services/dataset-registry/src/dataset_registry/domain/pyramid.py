"""Deep zoom: a large image as tiles of many levels, numbered as DZI has them.

Level 0 is one pixel, each level after it twice as wide and high, the last one the image itself; tiles do not overlap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TILE = 512
"""Pixels of a tile's side; those of the last column and row are smaller."""
LARGE_PIXELS = 12_000_000
LARGE_SIDE = 8192
_XMLNS = "http://schemas.microsoft.com/deepzoom/2008"


@dataclass(frozen=True, slots=True)
class Pyramid:
    """The levels of an image of `width` x `height` pixels."""

    width: int
    height: int

    @property
    def top(self) -> int:
        """The level that is the image itself."""
        return (max(self.width, self.height) - 1).bit_length()

    @property
    def overview(self) -> int:
        """The largest level that is a single tile."""
        return min(self.top, TILE.bit_length() - 1)

    def size(self, level: int) -> tuple[int, int]:
        """Width and height of a level, pixels."""
        halvings = self.top - level
        return -(-self.width >> halvings), -(-self.height >> halvings)

    def grid(self, level: int) -> tuple[int, int]:
        """Columns and rows of a level's tiles."""
        width, height = self.size(level)
        return -(-width // TILE), -(-height // TILE)

    def place(self, level: int, column: int, row: int) -> int | None:
        """The number of a tile in its level, row by row; None where there is none."""
        if not 0 <= level <= self.top:
            return None
        columns, rows = self.grid(level)
        return row * columns + column if 0 <= column < columns and 0 <= row < rows else None

    def described(self, url: str, format_: str) -> dict[str, Any]:
        """DZI as JSON, as viewers of deep zoom images read it.

        Args:
            url: Of the tiles, up to the level.
        """
        size = {"Width": str(self.width), "Height": str(self.height)}
        return {
            "Image": {
                "xmlns": _XMLNS,
                "Url": url,
                "Format": format_,
                "Overlap": "0",
                "TileSize": str(TILE),
                "Size": size,
            }
        }


def is_large(width: int, height: int) -> bool:
    """Whether an image is too large to be shown as one piece."""
    return width * height > LARGE_PIXELS or max(width, height) > LARGE_SIDE

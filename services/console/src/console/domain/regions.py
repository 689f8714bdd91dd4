"""What the model points at, made ready to be drawn over the image and to be read beside it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from console.domain.words import percent, sentence

COLOURS = 8
"""Classes beyond these share a colour; the label tells them apart."""

SCREEN = 800
"""A viewer is about this wide; with it, marks have a fitting size before the page's script knows the true one."""

UNITS = {
    "px": ("\u00a0px", 1),
    "px2": ("\u00a0px²", 0),
    "mm": ("\u00a0mm", 2),
    "mm2": ("\u00a0mm²", 2),
    "um": ("\u00a0µm", 0),
    "deg": ("°", 1),
}
"""How a unit is written, and the most decimals that can be meant in it."""


@dataclass(frozen=True, slots=True)
class Point:
    """A key point, in pixels of the image."""

    name: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Shown:
    """A region as it is shown; lengths in pixels of the image.

    Attributes:
        number: On the image and in the list, from 1 on.
        colour: Number of its class's colour.
        path: SVG path of its outline.
        measures: Name and figures with units.
        place: Where it is, in words.
    """

    number: int
    name: str
    score: str
    colour: int
    path: str
    x: float
    y: float
    width: float
    height: float
    points: Sequence[Point]
    measures: Sequence[tuple[str, str]]
    place: str

    @property
    def label(self) -> str:
        """What the image says beside it."""
        return f"{self.number} {self.name} {self.score}"


@dataclass(frozen=True, slots=True)
class Overlay:
    """The regions of one image; `unit` is how many pixels of the image a pixel of the screen is, about."""

    width: int
    height: int
    unit: float
    regions: Sequence[Shown]


def overlay(capture: Mapping[str, Any]) -> Overlay | None:
    """The regions of a capture in the order of the model; None when it points at nothing."""
    found = capture["regions"]
    if not found:
        return None
    width, height = capture["image"]["width"], capture["image"]["height"]
    # By name, so that a class has its colour on every image of a release, whatever was found on this one.
    names = sorted({*capture["scores"], *(region["class_name"] for region in found)})
    regions = [_shown(n, region, names.index(region["class_name"])) for n, region in enumerate(found, 1)]
    return Overlay(width, height, round(max(width, height) / SCREEN, 3), regions)


def _shown(number: int, region: Mapping[str, Any], colour: int) -> Shown:
    x, y, width, height = (round(region[name], 1) for name in ("x", "y", "width", "height"))
    return Shown(
        number,
        sentence(region["class_name"]),
        percent(region["score"]),
        colour % COLOURS,
        _path(region["outline"]) or f"M{x:g} {y:g}h{width:g}v{height:g}h{-width:g}Z",
        x,
        y,
        width,
        height,
        [
            Point(sentence(name), round(at[0], 1), round(at[1], 1))
            for name, at in region["key_points"].items()
            if len(at) == 2
        ],
        measures(region["measurements"]),
        f"{width:.0f} × {height:.0f} px at {x:.0f}, {y:.0f}",
    )


def _path(outline: Sequence[float]) -> str:
    """A closed ring; empty for fewer than three corners."""
    corners = [f"{x:.1f} {y:.1f}" for x, y in zip(outline[::2], outline[1::2], strict=False)]
    return f"M{' L'.join(corners)}Z" if len(corners) > 2 else ""


def measures(figures: Mapping[str, float]) -> list[tuple[str, str]]:
    """Name and figures of each measurement: `length_px` and `length_mm` become one line, `Length`."""
    lines: defaultdict[str, list[str]] = defaultdict(list)
    for code, value in figures.items():
        name, _, unit = code.rpartition("_")
        if name and unit in UNITS:
            written, decimals = UNITS[unit]
            lines[sentence(name)].append(_digits(value, decimals) + written)
        else:
            lines[sentence(code)].append(_digits(value, 3))
    return [(name, " · ".join(texts)) for name, texts in lines.items()]


def _digits(value: float, most: int) -> str:
    """Three digits that count, at most so many of them behind the point."""
    size = math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{max(0, min(most, 2 - size))}f}".replace("-", "\u2212")

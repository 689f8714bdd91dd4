"""How long, how wide, how large a marked place is: in pixels and, where the scale is known, in millimetres.

Names end in their unit and are those of `andon_vision.measurement`. The server measures; what a client sends is not
looked at.
"""

from __future__ import annotations

import math

from dataset_registry.domain.annotations import Box, Geometry, KeyPoints, Mask, Point, Polygon
from dataset_registry.domain.geometry import area, bounds

Measurements = tuple[tuple[str, float], ...]
_DIGITS = 3


def measured(geometry: Geometry, mm_per_pixel: float | None) -> Measurements:
    """What a sound geometry measures, sorted by name.

    A box has `width` and `height`, a polygon and a mask those of the box around them, all three `area` and the
    centre. Key points have for each joined pair `<from>-<to>_length` and `..._angle_deg` (-90, exclusive, to 90,
    positive where the line rises to the right); the longest is also `length`, with its centre and angle, and the
    shortest of several `width`.
    """
    found = (
        _joined(geometry, mm_per_pixel)
        if isinstance(geometry, KeyPoints)
        else _extent(geometry, mm_per_pixel)
    )
    return tuple(sorted([(name, round(value, _DIGITS)) for name, value in found.items()]))


def _extent(geometry: Box | Polygon | Mask, mm_per_pixel: float | None) -> dict[str, float]:
    box, surface = bounds(geometry), area(geometry)
    found = {
        "area_px2": surface,
        "centre_x_px": box.x + box.width / 2.0,
        "centre_y_px": box.y + box.height / 2.0,
        "height_px": box.height,
        "width_px": box.width,
    }
    if mm_per_pixel is not None:
        found["height_mm"], found["width_mm"] = box.height * mm_per_pixel, box.width * mm_per_pixel
        found["area_mm2"] = surface * mm_per_pixel**2
    return found


def _joined(figure: KeyPoints, mm_per_pixel: float | None) -> dict[str, float]:
    places = dict(figure.points)
    lines = {join: (places[join[0]], places[join[1]]) for join in figure.joins}
    if not lines:
        return {}
    lengths = {join: math.dist(*line) for join, line in lines.items()}
    longest, shortest = max(lengths, key=lengths.__getitem__), min(lengths, key=lengths.__getitem__)
    named = {f"{start}-{end}_length": length for (start, end), length in lengths.items()}
    named["length"] = lengths[longest]
    if len(lines) > 1:
        named["width"] = lengths[shortest]
    fixed = {f"{start}-{end}_angle_deg": _angle(*line) for (start, end), line in lines.items()}
    (x0, y0), (x1, y1) = lines[longest]
    found = {f"{name}_px": value for name, value in named.items()} | fixed
    found |= {
        "angle_deg": _angle(*lines[longest]),
        "centre_x_px": (x0 + x1) / 2.0,
        "centre_y_px": (y0 + y1) / 2.0,
    }
    if mm_per_pixel is not None:
        found |= {f"{name}_mm": value * mm_per_pixel for name, value in named.items()}
    return found


def _angle(start: Point, end: Point) -> float:
    degrees = math.degrees(math.atan2(start[1] - end[1], end[0] - start[0]))
    if degrees <= -90.0:
        return degrees + 180.0
    return degrees - 180.0 if degrees > 90.0 else degrees

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
    if isinstance(geometry, KeyPoints):
        lengths, fixed = _joined(geometry)
    else:
        lengths, fixed = _extent(geometry)
    surface = area(geometry)
    found = {f"{name}_px": value for name, value in lengths.items()} | fixed
    if surface:
        found["area_px2"] = surface
    if mm_per_pixel is not None:
        found |= {f"{name}_mm": value * mm_per_pixel for name, value in lengths.items()}
        if surface:
            found["area_mm2"] = surface * mm_per_pixel**2
    return tuple(sorted((name, round(value, _DIGITS)) for name, value in found.items()))


def _extent(geometry: Box | Polygon | Mask) -> tuple[dict[str, float], dict[str, float]]:
    box = bounds(geometry)
    centre = (box.x + box.width / 2.0, box.y + box.height / 2.0)
    return {"width": box.width, "height": box.height}, _centre(centre)


def _joined(figure: KeyPoints) -> tuple[dict[str, float], dict[str, float]]:
    places = dict(figure.points)
    lines = {join: (places[join[0]], places[join[1]]) for join in figure.joins}
    if not lines:
        return {}, {}
    lengths = {join: math.dist(*line) for join, line in lines.items()}
    longest, shortest = max(lengths, key=lengths.__getitem__), min(lengths, key=lengths.__getitem__)
    named = {f"{start}-{end}_length": length for (start, end), length in lengths.items()}
    named["length"] = lengths[longest]
    if len(lines) > 1:
        named["width"] = lengths[shortest]
    fixed = {f"{start}-{end}_angle_deg": _angle(*line) for (start, end), line in lines.items()}
    (x0, y0), (x1, y1) = lines[longest]
    return named, fixed | {"angle_deg": _angle(*lines[longest])} | _centre(((x0 + x1) / 2.0, (y0 + y1) / 2.0))


def _centre(point: Point) -> dict[str, float]:
    return {"centre_x_px": point[0], "centre_y_px": point[1]}


def _angle(start: Point, end: Point) -> float:
    degrees = math.degrees(math.atan2(start[1] - end[1], end[0] - start[0]))
    if degrees <= -90.0:
        return degrees + 180.0
    return degrees - 180.0 if degrees > 90.0 else degrees

"""What shapes on an image must be, where they lie, and how much of one another they cover.

A person's hand is not exact: what lies outside the image by no more than half a pixel is moved to its edge; everything
else that is wrong is said, all of it together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from dataset_registry.domain import run_lengths
from dataset_registry.domain.annotations import Box, Geometry, KeyPoints, Mask, Point, Polygon, Ring

TOLERANCE = 0.5
"""Pixels."""
LEAST_AREA = 0.01
"""Square pixels; less is a line."""
RASTER_SIDE = 1024
"""Shapes are compared on a grid of at most so many cells a side."""

Pixels = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one shape, or with an annotation as a whole.

    Attributes:
        reason: Stable code.
        advice: What the person can do about it.
        shape_id: None when it concerns the whole.
    """

    reason: str
    advice: str
    shape_id: str | None = None


class Flaw(Exception):
    """A geometry that cannot be taken.

    Args:
        reason: Stable code.
        advice: What the person can do about it.
    """

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(f"{reason}: {advice}")
        self.reason = reason
        self.advice = advice


def fitted(geometry: Geometry, width: int, height: int) -> Geometry:
    """The geometry, moved to the edge of the image where it is outside by no more than half a pixel. Raises Flaw."""
    match geometry:
        case Box():
            return _box(geometry, width, height)
        case Polygon():
            return _polygon(geometry, width, height)
        case Mask():
            return _mask(geometry, width, height)
        case KeyPoints():
            return _key_points(geometry, width, height)


def bounds(geometry: Geometry) -> Box:
    """The smallest box around a sound geometry."""
    match geometry:
        case Box():
            return geometry
        case Polygon():
            points = [point for ring in geometry.rings for point in ring]
        case KeyPoints():
            points = [point for _, point in geometry.points]
        case Mask():
            found = run_lengths.extent(geometry.counts, geometry.height, geometry.width)
            left, top, right, bottom = found or (0, 0, 0, 0)
            points = [(left, top), (right, bottom)]
    x, y = (np.array([point[axis] for point in points], np.float64) for axis in (0, 1))
    return Box(float(x.min()), float(y.min()), float(np.ptp(x)), float(np.ptp(y)))


def area(geometry: Geometry) -> float:
    """Square pixels of a sound geometry; key points have none."""
    match geometry:
        case Box():
            return geometry.width * geometry.height
        case Polygon():
            return _even_odd_area(geometry.rings)
        case Mask():
            return float(
                run_lengths.run_lengths(geometry.counts, geometry.height, geometry.width)[1::2].sum()
            )
        case KeyPoints():
            return 0.0


def overlap(left: Geometry, right: Geometry, width: int, height: int) -> float:
    """Intersection over union of two areas in an image of this size; 0 where one of them has no area.

    Two boxes are compared exactly, anything else on a grid of at most `RASTER_SIDE` cells a side.
    """
    if isinstance(left, KeyPoints) or isinstance(right, KeyPoints):
        return 0.0
    if isinstance(left, Box) and isinstance(right, Box):
        common = _common_area(left, right)
        return common / (area(left) + area(right) - common)
    if _common_area(bounds(left), bounds(right)) == 0.0:
        return 0.0
    a, b = rasterised(left, width, height), rasterised(right, width, height)
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 0.0


def rasterised(geometry: Box | Polygon | Mask, width: int, height: int) -> Pixels:
    """The cells whose centres lie inside, of a grid with the image's proportions and no side above `RASTER_SIDE`."""
    scale = min(1.0, RASTER_SIDE / max(width, height))
    x, y = _centres(width, scale), _centres(height, scale)
    match geometry:
        case Box():
            inside_x = (x >= geometry.x) & (x < geometry.x + geometry.width)
            inside_y = (y >= geometry.y) & (y < geometry.y + geometry.height)
            return inside_y[:, None] & inside_x
        case Mask():
            pixels = run_lengths.decode(geometry.counts, geometry.height, geometry.width)
            return pixels[np.ix_(y.astype(np.int64), x.astype(np.int64))]
        case Polygon():
            return _filled(geometry.rings, x, y)


def _centres(length: int, scale: float) -> Floats:
    cells = max(1, round(length * scale))
    centres: Floats = (np.arange(cells, dtype=np.float64) + 0.5) * (length / cells)
    return centres


def _filled(rings: tuple[Ring, ...], x: Floats, y: Floats) -> Pixels:
    """Even-odd fill: from the left, each edge that a row crosses turns the inside over."""
    turns = np.zeros((len(y), len(x) + 1), np.int64)
    for ring in rings:
        start = np.array(ring, np.float64)
        for (x0, y0), (x1, y1) in zip(start, np.roll(start, -1, axis=0), strict=True):
            first, last = np.searchsorted(y, (min(y0, y1), max(y0, y1)))
            rows = np.arange(first, last)
            if len(rows):
                crossing = x0 + (y[rows] - y0) * ((x1 - x0) / (y1 - y0))
                np.add.at(turns, (rows, np.searchsorted(x, crossing)), 1)
    inside: Pixels = np.cumsum(turns, axis=1)[:, :-1] % 2 == 1
    return inside


def _box(box: Box, width: int, height: int) -> Box:
    left, top, right, bottom = box.x, box.y, box.x + box.width, box.y + box.height
    _refuse_outside((left, right), (top, bottom), width, height, "The box")
    left, top, right, bottom = (
        max(0.0, left),
        max(0.0, top),
        min(float(width), right),
        min(float(height), bottom),
    )
    if right <= left or bottom <= top:
        raise Flaw("empty-box", "The box has no width or no height; draw it again, or remove it.")
    return Box(left, top, right - left, bottom - top)


def _polygon(polygon: Polygon, width: int, height: int) -> Polygon:
    if not polygon.rings or any(len(set(ring)) < 3 for ring in polygon.rings):
        raise Flaw(
            "too-few-points", "A polygon needs three different points at least; add points, or remove it."
        )
    across, down = zip(*(point for ring in polygon.rings for point in ring), strict=True)
    _refuse_outside(across, down, width, height, "The polygon")
    inside = replace(polygon, rings=tuple(_clipped(ring, width, height) for ring in polygon.rings))
    crossing = first_crossing(inside.rings)
    if crossing is not None:
        raise Flaw(
            "polygon-crosses-itself",
            f"Its outline crosses itself near ({crossing[0]:.0f}, {crossing[1]:.0f}); move the points there, so that"
            " no two lines cross.",
        )
    if _even_odd_area(inside.rings) < LEAST_AREA:
        raise Flaw("no-area", "All points lie on one line; draw the outline around the place, or remove it.")
    return inside


def _mask(mask: Mask, width: int, height: int) -> Mask:
    if (mask.width, mask.height) != (width, height):
        raise Flaw(
            "mask-of-another-size",
            f"The mask is {mask.width} x {mask.height}, the image {width} x {height}; a mask covers the whole image.",
        )
    try:
        runs = run_lengths.run_lengths(mask.counts, height, width)
    except run_lengths.BrokenRuns as error:
        raise Flaw(
            "broken-mask", f"The mask is no COCO run-length text: {error}. Send it as it was written."
        ) from error
    if not runs[1::2].any():
        raise Flaw("empty-mask", "Nothing is painted in the mask; paint the place, or remove the mask.")
    return mask


def _key_points(figure: KeyPoints, width: int, height: int) -> KeyPoints:
    names = [name for name, _ in figure.points]
    if not names or len(set(names)) < len(names):
        raise Flaw("key-points-unclear", "Each key point has a name of its own, and there is one at least.")
    missing = sorted({end for join in figure.joins for end in join} - set(names))
    if missing:
        raise Flaw(
            "unknown-key-point",
            f"A line ends at {', '.join(missing)}, which is no point here; set it, or remove the line.",
        )
    across, down = zip(*(point for _, point in figure.points), strict=True)
    _refuse_outside(across, down, width, height, "A key point")
    moved = _clipped(tuple(point for _, point in figure.points), width, height)
    return replace(figure, points=tuple(zip(names, moved, strict=True)))


def _refuse_outside(
    across: Sequence[float], down: Sequence[float], width: int, height: int, what: str
) -> None:
    """Raises Flaw where one of these points, by their coordinates, is too far outside."""
    outside = max(-min(across), -min(down), max(across) - width, max(down) - height)
    if outside > TOLERANCE:
        raise Flaw(
            "outside-image",
            f"{what} is outside the image by {outside:.1f} pixels; the image reaches to ({width}, {height}).",
        )


def _clipped(ring: Ring, width: int, height: int) -> Ring:
    return tuple((min(max(0.0, x), float(width)), min(max(0.0, y), float(height))) for x, y in ring)


def _common_area(left: Box, right: Box) -> float:
    across = min(left.x + left.width, right.x + right.width) - max(left.x, right.x)
    down = min(left.y + left.height, right.y + right.height) - max(left.y, right.y)
    return max(0.0, across) * max(0.0, down)


def _even_odd_area(rings: tuple[Ring, ...]) -> float:
    """Rings cross nowhere, so a ring inside an odd number of others is a hole."""
    total = 0.0
    for ring in rings:
        depth = sum(_surrounds(other, ring[0]) for other in rings if other is not ring)
        total += _ring_area(ring) * (-1.0 if depth % 2 else 1.0)
    return total


def _ring_area(ring: Ring) -> float:
    x, y = np.array(ring, np.float64).T
    x, y = x - x[0], y - y[0]
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2.0


def _surrounds(ring: Ring, point: Point) -> bool:
    x, y = np.array(ring, np.float64).T
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    spans = (y > point[1]) != (next_y > point[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        at = x + (point[1] - y) * (next_x - x) / (next_y - y)
    return bool(np.count_nonzero(spans & (at > point[0])) % 2)


def first_crossing(rings: tuple[Ring, ...]) -> Point | None:
    """Where two lines of the rings cross inside both of them; None where they only touch or do not meet."""
    starts = np.concatenate([np.array(ring, np.float64) for ring in rings])
    ends = np.concatenate([np.roll(np.array(ring, np.float64), -1, axis=0) for ring in rings])
    order = np.argsort(np.minimum(starts[:, 0], ends[:, 0]), kind="stable")
    starts, ends = starts[order], ends[order]
    for first, second in _side_by_side(starts[:, 0], ends[:, 0]):
        a, b, c, d = starts[first], ends[first], starts[second], ends[second]
        crosses = (_turn(a, b, c) * _turn(a, b, d) < 0) & (_turn(c, d, a) * _turn(c, d, b) < 0)
        if crosses.any():
            place = int(np.flatnonzero(crosses)[0])
            return _meeting(a[place], b[place], c[place], d[place])
    return None


def _side_by_side(x0: Floats, x1: Floats) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Pairs of lines, sorted by where they begin, that share some x; a portion at a time."""
    begin, finish = np.minimum(x0, x1), np.maximum(x0, x1)
    counts = np.searchsorted(begin, finish, side="right") - np.arange(len(begin)) - 1
    rows = max(1, (1 << 20) // max(1, int(counts.max())))
    for top in range(0, len(begin), rows):
        few = counts[top : top + rows]
        first = np.repeat(np.arange(top, top + len(few)), few)
        second = np.arange(len(first)) - np.repeat(np.cumsum(few) - few, few) + first + 1
        yield first, second


def _turn(a: Floats, b: Floats, c: Floats) -> Floats:
    """Above 0 where c is on one side of the line from a to b, below on the other; points of shape (pairs, 2)."""
    ab, ac = b - a, c - a
    turned: Floats = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    return turned


def _meeting(a: Floats, b: Floats, c: Floats, d: Floats) -> Point:
    ab, cd, ac = b - a, d - c, c - a
    along = (ac[0] * cd[1] - ac[1] * cd[0]) / (ab[0] * cd[1] - ab[1] * cd[0])
    return float(a[0] + along * ab[0]), float(a[1] + along * ab[1])

"""How long, how wide, where and how inclined a region is, by its mask: in pixels and, where the scale is known, in mm.

Lines such as cracks are measured along their skeleton, which takes scikit-image (extra `run`), imported only then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from andon_vision.opencv import cv2

Mask = npt.NDArray[np.bool_]
Points = npt.NDArray[np.int_]


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of one region.

    Attributes:
        measurements: `length`, `mean_width` (the area over the length), `largest_width` and `equivalent_diameter` with
            `_px` and, where the scale is known, `_mm` at the end, `area_px2` and `area_mm2`, and `angle_deg`, the
            line's inclination to the image's x axis, -90 (exclusive) to 90, positive where it rises to the right.
        key_points: `start`, `end`, `centre` and `widest`, as x and y in pixels of the mask.
    """

    measurements: Mapping[str, float]
    key_points: Mapping[str, tuple[float, float]]


def measure(mask: Mask, mm_per_pixel: float | None = None) -> Measured:
    """Measures the one region of a mask, (rows, columns). Raises `ValueError` for a mask without a pixel."""
    if not mask.any():
        raise ValueError("there is nothing to measure in an empty mask")
    padded = np.pad(mask, 1)  # the border of the picture is no inside of the region
    path = _longest_path(_skeleton(padded))
    inner = cv2.distanceTransform(padded.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # A pixel's centre is half a pixel from its own edge, so a line of n pixels has n, and not n + 1, as its width.
    widths = 2.0 * inner[tuple(path.T)] - 1.0
    start, end, widest = path[0], path[-1], path[int(widths.argmax())]
    # The skeleton ends where the line's round end begins: about half a width before the line does.
    length = _arc_length(path) + 0.5 * float(widths[0] + widths[-1])
    area = float(mask.sum())
    rows, columns = np.nonzero(padded)
    lengths = {
        "length": length,
        "mean_width": area / length,
        "largest_width": float(widths.max()),
        "equivalent_diameter": math.sqrt(4.0 * area / math.pi),
    }
    found = {f"{name}_px": value for name, value in lengths.items()}
    found |= {"area_px2": area, "angle_deg": _angle(rows, columns)}
    if mm_per_pixel is not None:
        found |= {f"{name}_mm": value * mm_per_pixel for name, value in lengths.items()}
        found["area_mm2"] = area * mm_per_pixel**2
    return Measured(
        found,
        {
            "start": _point(start),
            "end": _point(end),
            "centre": (float(columns.mean()) - 1.0, float(rows.mean()) - 1.0),
            "widest": _point(widest),
        },
    )


def _point(place: npt.NDArray[np.int_]) -> tuple[float, float]:
    """x and y in the mask as it was given."""
    return float(place[1]) - 1.0, float(place[0]) - 1.0


def _skeleton(mask: Mask) -> Points:
    """(points, 2) rows and columns of the region's skeleton."""
    from skimage import morphology

    bones: Mask = morphology.skeletonize(mask)  # type: ignore[no-untyped-call]
    return np.argwhere(bones)


def _longest_path(points: Points) -> Points:
    """The longest of the shortest ways between two points of a skeleton, in order; branches are left out.

    Found by two sweeps: the farthest point from anywhere is one end, the farthest from there the other. Exact on a
    skeleton without loops.
    """
    from scipy.sparse.csgraph import dijkstra
    from scipy.spatial import KDTree

    tree = KDTree(points)
    steps = tree.sparse_distance_matrix(tree, max_distance=1.5, output_type="coo_matrix").tocsr()
    one = _farthest(dijkstra(steps, indices=0))
    distances, before = dijkstra(steps, indices=one, return_predecessors=True)
    path = [_farthest(distances)]
    while path[-1] != one:
        path.append(int(before[path[-1]]))
    return points[path]


def _farthest(distances: npt.NDArray[np.float64]) -> int:
    """The point farthest away that can be reached."""
    return int(np.where(np.isfinite(distances), distances, -1.0).argmax())


def _arc_length(path: Points) -> float:
    """Length along the path; single steps of 1 and the root of 2 overstate a slanted line, so it is smoothed first."""
    if len(path) < 2:
        return 0.0
    reach = min(5, (len(path) - 1) // 2)
    smooth = path.astype(np.float64)
    if reach:
        sums = np.cumsum(np.vstack([np.zeros((1, 2)), smooth]), axis=0)
        width = 2 * reach + 1
        smooth = np.vstack([smooth[:1], (sums[width:] - sums[:-width]) / width, smooth[-1:]])
    return float(np.hypot(*np.diff(smooth, axis=0).T).sum())


def _angle(rows: npt.NDArray[Any], columns: npt.NDArray[Any]) -> float:
    """Inclination of the main axis of all pixels, in degrees; rows grow downwards."""
    if len(rows) < 2:
        return 0.0
    _, vectors = np.linalg.eigh(np.cov(np.vstack([columns, -rows])))
    across, up = vectors[:, -1]
    angle = math.degrees(math.atan2(up, across))
    return angle - 180.0 if angle > 90.0 else angle + 180.0 if angle <= -90.0 else angle

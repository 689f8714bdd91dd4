"""What readers and writers of all formats share: making shapes, and simpler ones where a format cannot hold them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from andon_vision.decode import DEFAULT_LIMITS, inspect_image
from andon_vision.errors import ImageRefused
from andon_vision.opencv import cv2

from dataset_registry.domain import run_lengths
from dataset_registry.domain.annotations import (
    Box,
    Geometry,
    KeyPoints,
    Mask,
    Origin,
    Point,
    Polygon,
    Ring,
    Shape,
)
from dataset_registry.domain.geometry import RASTER_SIDE, Flaw, bounds, rasterised
from dataset_registry.domain.interchange import LabelledImage, Losses, Place, Problem, Unreadable, finite
from dataset_registry.formats.trees import Pictures, Tree, is_picture, read

Pixels = npt.NDArray[np.bool_]
MOST_PIXELS = 100_000_000
"""Of an image whose mask is unpacked."""
MEASURES = ("_px", "_mm", "_px2", "_mm2", "_deg")
"""Ends of the names of measurements."""


class Size(NamedTuple):
    """Of an image, in pixels."""

    width: int
    height: int


class Material:
    """What a reader reads from."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.pictures = Pictures(tree)
        self._stems: dict[str, str] | None = None

    def named(self, stem: str) -> str | None:
        """Path of the picture that is called so but for its suffix."""
        if self._stems is None:
            self._stems = {path.rsplit(".", 1)[0]: path for path in self.tree.names if is_picture(path)}
        return self._stems.get(stem)

    def size(self, name: str) -> Size | None:
        """Of a picture in the tree, from its header; None when it is not there, or cannot be read."""
        path = self.pictures.find(name)
        return picture_size(self.tree, path) if path else None


def picture_size(tree: Tree, path: str) -> Size | None:
    """From the header of a picture; None when it cannot be read, which is said where the picture is taken."""
    try:
        header = inspect_image(read(tree, path, DEFAULT_LIMITS.max_bytes))
    except (ImageRefused, Unreadable):
        return None
    return Size(header.width, header.height)


def marked(
    number: int,
    class_name: str,
    geometry: Geometry,
    instance: int | None = None,
    measurements: Iterable[tuple[str, float]] = (),
) -> Shape:
    """The shape with that number in its image, as an import marks it."""
    if not class_name:
        raise Flaw("class-missing", "It has no class; name one.")
    return Shape(
        f"s{number}", class_name, geometry, instance, Origin.IMPORT, True, tuple(sorted(measurements))
    )


def named(shape: Shape, shape_id: str) -> Shape:
    """The shape under the name that its file gave it."""
    return replace(shape, shape_id=shape_id)


def key_points(places: Mapping[str, Point], joins: Iterable[tuple[str, str]] = ()) -> KeyPoints:
    """Named points, sorted; joins whose ends are both there."""
    return KeyPoints(
        tuple(sorted(places.items())),
        tuple(sorted((start, end) for start, end in joins if start in places and end in places)),
    )


def ring(flat: Iterable[Any]) -> Ring:
    """Points from x, y, x, y, ... Raises Flaw or ValueError."""
    numbers = [finite(value) for value in flat]
    if len(numbers) % 2:
        raise Flaw("odd-coordinates", "A polygon needs pairs of x and y; one of them is missing.")
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def flat(points: Ring) -> list[float]:
    """x, y, x, y, ..."""
    return [value for point in points for value in point]


def measures(attributes: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Those of the attributes that are measurements, by the ends of their names."""
    return [(name, finite(value)) for name, value in attributes.items() if name.endswith(MEASURES)]


def whole(value: object) -> int:
    """A whole number, written as one or as a number or a text. Raises ValueError."""
    number = float(value) if isinstance(value, str) else finite(value)
    if not number.is_integer():
        raise ValueError(f"{value!r} is no whole number")
    return int(number)


def runs(counts: list[int], height: int, width: int) -> Mask:
    """A mask from run lengths that are written as a list. Raises Flaw."""
    lengths = np.array(counts, np.int64)
    if not 0 < height * width <= MOST_PIXELS or (lengths < 0).any() or int(lengths.sum()) != height * width:
        raise Flaw(
            "broken-mask",
            f"Its runs have {int(lengths.sum())} pixels, the image has {height * width}; export it again.",
        )
    ones = np.arange(len(lengths)) % 2 == 1
    return mask(np.repeat(ones, lengths).reshape(width, height).T)


def trouble(place: Place, error: Exception) -> Problem:
    """What is wrong at this place, from what reading it raised."""
    if isinstance(error, Flaw):
        return Problem.at(place, error.reason, error.advice)
    what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
    return Problem.at(
        place, "unreadable-value", f"It cannot be read: {what}. Correct it, or export it again."
    )


UNREADABLE = (Flaw, KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)
"""What reading a value from a stranger's file may raise."""


# --- simpler forms


def boxed(geometry: Geometry, losses: Losses) -> Box | None:
    """As a box; None for key points. What that loses is counted."""
    match geometry:
        case Box():
            return geometry
        case Polygon():
            losses.add("polygon-as-box")
        case Mask():
            losses.add("mask-as-box")
        case KeyPoints():
            losses.add("key-points")
            return None
    return bounds(geometry)


def outlined(geometry: Geometry, image: LabelledImage, losses: Losses) -> list[Ring]:
    """As rings without holes; none for key points. What that loses is counted."""
    match geometry:
        case Box(x, y, width, height):
            losses.add("box-as-polygon")
            return [((x, y), (x + width, y), (x + width, y + height), (x, y + height))]
        case Polygon(rings) if not nested(rings):
            return list(rings)
        case KeyPoints():
            losses.add("key-points")
            return []
        case _:
            losses.add("mask-as-outline" if isinstance(geometry, Mask) else "polygon-with-holes-as-mask")
            return _outlines(pixels(geometry, image.width, image.height))


def nested(rings: tuple[Ring, ...]) -> bool:
    """Whether one ring may lie inside another, so that it matters that it is a hole."""
    boxes = [bounds(Polygon((ring,))) for ring in rings] if len(rings) > 1 else []
    return any(
        left.x < right.x + right.width
        and right.x < left.x + left.width
        and left.y < right.y + right.height
        and right.y < left.y + left.height
        for place, left in enumerate(boxes)
        for right in boxes[place + 1 :]
    )


def pixels(geometry: Box | Polygon | Mask, width: int, height: int) -> Pixels:
    """The pixels whose centres lie inside, shape (height, width)."""
    if isinstance(geometry, Mask):
        return run_lengths.decode(geometry.counts, geometry.height, geometry.width)
    drawn = np.zeros((height, width), bool)
    for top in range(0, height, RASTER_SIDE):
        for left in range(0, width, RASTER_SIDE):
            rows, columns = min(RASTER_SIDE, height - top), min(RASTER_SIDE, width - left)
            part = rasterised(_moved(geometry, -left, -top), columns, rows)
            drawn[top : top + rows, left : left + columns] = part
    return drawn


def _moved(geometry: Box | Polygon, x: int, y: int) -> Box | Polygon:
    if isinstance(geometry, Box):
        return replace(geometry, x=geometry.x + x, y=geometry.y + y)
    return Polygon(tuple(tuple((left + x, top + y) for left, top in points) for points in geometry.rings))


def mask(marked_pixels: Pixels) -> Mask:
    """A mask of these pixels, shape (height, width)."""
    height, width = marked_pixels.shape
    return Mask(height, width, run_lengths.encode(marked_pixels))


def _outlines(marked_pixels: Pixels) -> list[Ring]:
    found, _ = cv2.findContours(marked_pixels.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    rings = []
    for contour in found:
        points = contour[:, 0, :].astype(np.float64) + 0.5
        if len(points) < 3:  # a line of pixels has no inside between their centres
            (left, top), (right, bottom) = points.min(axis=0) - 0.5, points.max(axis=0) + 0.5
            points = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
        rings.append(cast(Ring, tuple((float(x), float(y)) for x, y in points)))
    return rings


def lost(image: LabelledImage, losses: Losses, *, holds: Iterable[str] = ()) -> None:
    """Count what nearly no format holds, but for what this one does."""
    held = set(holds)
    if image.context and "context" not in held:
        losses.add("context")
    if image.classes and "image-class" not in held:
        losses.add("image-class")
    for shape in image.shapes:
        if shape.instance is not None and "instance" not in held:
            losses.add("instance")
        if shape.measurements and "measurements" not in held:
            losses.add("measurements")
        if shape.origin is not Origin.IMPORT:
            losses.add("origin")
        if "shape-id" not in held:
            losses.add("shape-id")

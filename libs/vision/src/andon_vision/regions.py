"""From a release's outputs for one image to regions in pixels of the original image.

A release says in its description, under `regions`, which of its outputs hold them:

    {"from": "heat_map"}                                       the bright part of the heat map; the default
    {"from": "boxes", "score_from": s, "nms_iou": t}           rows of x1, y1, x2, y2, score, class in the graph's input
    {"from": "masks", "threshold": p, "min_area_share": a, "measure": [class, ...], "mm_per_pixel": m or null}
                                                               255 x probability of each class, cell by cell
    {"from": "template", "score_from": s, "nms_iou": t, ...}   boxes as well, found by `template.compare`

Training, Triton and the edge agent read regions with this module alone. It leans on NumPy and OpenCV; the Triton model
carries a copy of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from andon_vision.measurement import measure
from andon_vision.opencv import cv2
from andon_vision.preprocess import Frame
from andon_vision.template import TEMPLATE

HEAT_MAP, BOXES, MASKS = "heat_map", "boxes", "masks"
MOST_REGIONS: Final = 100
# A cell belongs to a region from half of the brightest cell on; below this brightness there is nothing to point at.
FAINTEST: Final = 48
# Corners of an outline that lie closer than this to a straight line are left out, in pixels.
OUTLINE_TOLERANCE: Final = 1.0

Outputs = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Region:
    """Where a model sees what, in pixels of the original image, origin top left.

    Attributes:
        score: 0 to 1.
        outline: The outer ring as x, y, x, y, ...; empty for a plain rectangle.
        measurements: By name, with the unit at the name's end.
        key_points: By name: x and y.
    """

    class_name: str
    x: float
    y: float
    width: float
    height: float
    score: float
    outline: tuple[float, ...] = ()
    measurements: Mapping[str, float] = field(default_factory=dict)
    key_points: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As it travels out of a model server."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Region:
        """Reads what `to_json` wrote."""
        points = {name: (float(x), float(y)) for name, (x, y) in value["key_points"].items()}
        return cls(**{**value, "outline": tuple(value["outline"]), "key_points": points})


def read_regions(
    outputs: Outputs, classes: Sequence[str], spec: Mapping[str, Any], frame: Frame, score: float
) -> list[Region]:
    """The regions of one image, the surest first.

    Args:
        outputs: The graph's outputs for this image, without the axis of the batch.
        classes: The release's classes, in the graph's order.
        spec: The description's `regions`. Raises `ValueError` for a kind that this version cannot read.
        frame: Where the original image lies in the graph's input.
        score: The image's defect score, which stands for the region that a heat map shows.
    """
    kind = spec.get("from", HEAT_MAP)
    if kind not in _READERS:
        raise ValueError(f"this version cannot read regions from {kind!r}")
    found = _READERS[kind](outputs, classes, spec, frame, score)
    return sorted(found, key=lambda region: -region.score)[:MOST_REGIONS]


def _from_heat_map(
    outputs: Outputs, classes: Sequence[str], spec: Mapping[str, Any], frame: Frame, score: float
) -> list[Region]:
    """The bright cells connected to the brightest one."""
    heat = outputs["heat_map"]
    row, column = (int(index) for index in np.unravel_index(int(heat.argmax()), heat.shape))
    peak = int(heat[row, column])
    if peak < FAINTEST:
        return []
    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        (heat >= peak // 2).astype(np.uint8), connectivity=4
    )
    left, top, width, height, _ = stats[labels[row, column]].tolist()
    rows, columns = heat.shape
    across, down = frame.input_width / columns, frame.input_height / rows
    box = (left * across, top * down, (left + width) * across, (top + height) * down)
    likely = classes[int(np.argmax(outputs["class_probabilities"]))]
    return [Region(likely, *_rectangle(frame, box), score)]


def _from_boxes(
    outputs: Outputs, classes: Sequence[str], spec: Mapping[str, Any], frame: Frame, score: float
) -> list[Region]:
    """The rows sure enough, without those that overlap a surer one of their class."""
    rows = outputs["boxes"].astype(np.float64)
    rows = rows[(rows[:, 4] >= max(spec["score_from"], 1e-6))]
    if not len(rows):
        return []
    corners = np.column_stack([rows[:, :2], rows[:, 2:4] - rows[:, :2]])
    kept = cv2.dnn.NMSBoxesBatched(
        corners.tolist(), rows[:, 4].tolist(), rows[:, 5].astype(int).tolist(), 0.0, float(spec["nms_iou"])
    )
    return [
        Region(classes[int(row[5])], *_rectangle(frame, row[:4]), float(row[4]))
        for row in rows[np.array(kept, int).ravel()]
    ]


def _from_masks(
    outputs: Outputs, classes: Sequence[str], spec: Mapping[str, Any], frame: Frame, score: float
) -> list[Region]:
    """Connected parts of each class, where it is sure enough and likelier than any other."""
    likely = class_map(outputs["masks"], frame, float(spec["threshold"]))
    wanted = spec.get("measure", ())
    smallest = float(spec["min_area_share"]) * likely.labels.size
    found = []
    for number, name in enumerate(classes, start=1):
        count, parts, stats, _ = cv2.connectedComponentsWithStats((likely.labels == number).astype(np.uint8))
        for part in range(1, count):
            left, top, width, height, area = stats[part].tolist()
            if area < smallest:
                continue
            window = np.s_[top : top + height, left : left + width]
            inside = parts[window] == part
            measured = _measured(inside, left, top, spec.get("mm_per_pixel")) if name in wanted else ({}, {})
            found.append(
                Region(
                    name,
                    float(left),
                    float(top),
                    float(width),
                    float(height),
                    float(likely.probability[window][inside].mean()),
                    _outline(inside, left, top),
                    *measured,
                )
            )
    return found


_READERS: Final[Mapping[str, Callable[..., list[Region]]]] = {
    HEAT_MAP: _from_heat_map,
    BOXES: _from_boxes,
    MASKS: _from_masks,
    TEMPLATE: _from_boxes,
}


@dataclass(frozen=True, slots=True)
class ClassMap:
    """Of each pixel of the original image: 0 or the number of its class from 1 on, and that class's probability."""

    labels: npt.NDArray[np.uint8]
    probability: npt.NDArray[np.float32]


def class_map(masks: npt.NDArray[np.uint8], frame: Frame, threshold: float) -> ClassMap:
    """The likeliest class of each pixel of the original image, 0 where it is less likely than `threshold`.

    `masks` is (classes, rows, columns), 255 x probability, over the graph's whole input.
    """
    size = (frame.width, frame.height)
    probability = np.zeros((frame.height, frame.width), np.float32)
    labels = np.zeros((frame.height, frame.width), np.uint8)
    # One class after the other: an image of many megapixels times all classes would not fit a small box.
    for number, plane in enumerate(frame.cut(masks), start=1):
        if not plane.any():
            continue
        drawn = cv2.resize(plane.astype(np.float32) / 255.0, size, interpolation=cv2.INTER_LINEAR)
        better = (drawn >= threshold) & (drawn > probability)
        labels[better] = number
        probability[better] = drawn[better]
    return ClassMap(labels, probability)


def _outline(inside: npt.NDArray[np.bool_], left: int, top: int) -> tuple[float, ...]:
    rings, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    ring = cv2.approxPolyDP(max(rings, key=cv2.contourArea), OUTLINE_TOLERANCE, True).reshape(-1, 2)
    return tuple(float(value) for value in (ring + np.array([left, top])).ravel())


def _measured(
    inside: npt.NDArray[np.bool_], left: int, top: int, mm_per_pixel: float | None
) -> tuple[Mapping[str, float], Mapping[str, tuple[float, float]]]:
    found = measure(inside, mm_per_pixel)
    return found.measurements, {name: (x + left, y + top) for name, (x, y) in found.key_points.items()}


def _rectangle(frame: Frame, box: Sequence[float]) -> tuple[float, float, float, float]:
    """Corners in the graph's input as x, y, width, height in the original image, cut at its border."""
    left, top, right, bottom = frame.to_original(*(float(value) for value in box))
    return left, top, right - left, bottom - top

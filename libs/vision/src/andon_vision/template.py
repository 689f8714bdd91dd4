"""Compares a picture of a board with its defect-free template: registers, finds the differences, has them classified.

The release's graph reads numbers that describe each difference; it says which are no defect at all and names the
others. Pieces of one defect are put together and read once more. Training, Triton and the edge agent compare with this
module alone. It leans on NumPy and OpenCV; the Triton model carries a copy of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from andon_vision.decode import Pixels
from andon_vision.difference_parts import components, pieces
from andon_vision.difference_shape import shape_of
from andon_vision.errors import NO_TEMPLATE, ImageRefused
from andon_vision.hashing import grey
from andon_vision.opencv import cv2
from andon_vision.preprocess import to_eight_bit
from andon_vision.registration import Plane, Registered, register

TEMPLATE: Final = "template"
DIFFERENCES, PROBABILITIES = "differences", "difference_probabilities"
"""What the graph is asked of each difference, and what it answers."""
CELL: Final = 8
"""Pixels along a cell's side in a heat map."""
SUREST: Final = 12.0
"""Scores before calibration are cut at this many logits on either side."""
_ROOM: Final = 24
"""Pixels around a difference that are looked at to describe it."""
_FLATTEST: Final = 32.0
"""The least range of brightness that is stretched to black and white; a blank board has only noise."""

Described = npt.NDArray[np.float32]
"""(M, F): the numbers of each difference, see `difference_shape`."""
Classify = Callable[[Described], npt.NDArray[np.float32]]
"""Numbers of differences to probabilities (M, 1 + classes), the first of no defect. Never asked about none."""


@dataclass(frozen=True, slots=True)
class TemplateSpec:
    """How a release compares: the description's `regions`. Lengths are pixels of the release's input.

    Attributes:
        tolerance: An edge may lie this far from where the template has it.
        contrast: Share of the template's range of brightness from which on a pixel differs.
        min_area: Differing pixels of a difference.
        join: Pixels closer than this are one difference.
        gather: Differences of one kind, light or dark, that are likely defects and closer than this are one defect.
        margin: What a person leaves free around a defect when drawing its box: left, top, right, bottom.
        min_correlation: Below it the template is of another board.
        min_covered: Share of the picture that the template must show; else the board lies too far off.
        score_from: The surest class of a box that is shown is at least so probable.
        nms_iou: Of boxes that overlap more than this only the surest is kept.
        slope, offset: Platt's calibration of the surest difference's logit, for the whole image.
    """

    tolerance: int = 1
    contrast: float = 0.45
    min_area: int = 6
    join: int = 3
    gather: float = 8.0
    margin: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    min_correlation: float = 0.8
    min_covered: float = 0.9
    score_from: float = 0.5
    nms_iou: float = 0.3
    slope: float = 1.0
    offset: float = 0.0

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TemplateSpec:
        """Reads the description's `regions`. Raises `ValueError` for what this version cannot do."""
        own = {name: item for name, item in value.items() if name != "from"}
        if value.get("from") != TEMPLATE or set(own) - {item.name for item in fields(cls)}:
            raise ValueError(f"this version cannot compare with a template by {dict(value)}")
        return cls(**{**own, "margin": tuple(own.get("margin", cls().margin))})

    def to_json(self) -> dict[str, Any]:
        """The description's `regions`."""
        return {"from": TEMPLATE, **asdict(self), "margin": list(self.margin)}


@dataclass(frozen=True, slots=True)
class Differences:
    """Where picture and template differ more than an edge may move.

    Attributes:
        registered: The pair they were found in.
        boxes: left, top, right, bottom of each, in pixels of the input, (M, 4).
        parts: 0, or the number from 1 on of the difference that a pixel belongs to, (H, W).
    """

    registered: Registered
    boxes: npt.NDArray[np.float32]
    parts: npt.NDArray[np.int32]

    def described(self) -> Described:
        """The numbers of each."""
        pair = self.registered
        ground = np.where(pair.known, pair.template, pair.picture).astype(np.uint8)
        picture = pair.picture.astype(np.uint8)
        found = []
        for number, (left, top, right, bottom) in enumerate(self.boxes.astype(int).tolist(), start=1):
            window = np.s_[max(0, top - _ROOM) : bottom + _ROOM, max(0, left - _ROOM) : right + _ROOM]
            blob = (self.parts[window] == number).astype(np.uint8)
            found.append(shape_of(blob, ground[window], picture[window]))
        return np.array(found, np.float32)

    def joined(self, owner: npt.NDArray[np.int_]) -> Differences:
        """Those with one number in `owner`, 0 on without a gap, (M,), become one difference."""
        boxes = np.stack(
            [
                np.concatenate([own[:, :2].min(axis=0), own[:, 2:].max(axis=0)])
                for own in (self.boxes[owner == number] for number in range(int(owner.max()) + 1))
            ]
        )
        numbers = np.concatenate([[0], owner + 1]).astype(np.int32)
        return Differences(self.registered, boxes, numbers[self.parts])


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison says of one image, as a graph with boxes would: `outputs` is for `read_regions`.

    Attributes:
        defect_score: The calibrated chance that any difference is a defect.
        class_probabilities: That some difference is a defect of each class, (C,).
        heat_map: (H / 8, W / 8), 255 is a certain defect.
        boxes: Rows x1, y1, x2, y2 in pixels of the input, score, class; by falling score, (K, 6).
    """

    defect_score: float
    class_probabilities: npt.NDArray[np.float32]
    heat_map: npt.NDArray[np.uint8]
    boxes: npt.NDArray[np.float32]

    def outputs(self) -> dict[str, npt.NDArray[Any]]:
        """By the names that the outputs of other tasks' graphs have."""
        return {
            "defect_score": np.asarray(self.defect_score, np.float32),
            "class_probabilities": self.class_probabilities,
            "heat_map": self.heat_map,
            "boxes": self.boxes,
        }


def compare(
    image: Pixels,
    templates: Iterable[Pixels],
    spec: TemplateSpec,
    classes: int,
    classify: Classify,
) -> Comparison:
    """Compares with the first of `templates` that matches.

    Args:
        image: Prepared pixels, (H, W) or (H, W, 3).
        templates: Prepared alike, the likeliest first; they are asked for one by one.
        classes: How many defect classes the graph knows.
        classify: The graph.

    Raises:
        ImageRefused: No template matches.
    """
    found = find_differences(image, templates, spec)
    if not len(found.boxes):
        return judged(found, np.ones((0, 1 + classes), np.float32), spec)
    described = found.described()
    probabilities = classify(described)
    owner = pieces(found.boxes, described[:, 0] > 0, probabilities[:, 0] < 0.5, spec.gather)
    if int(owner.max()) + 1 < len(owner):
        found = found.joined(owner)
        probabilities = classify(found.described())
    return judged(found, probabilities, spec)


def find_differences(image: Pixels, templates: Iterable[Pixels], spec: TemplateSpec) -> Differences:
    """What differs from the first template that matches. Raises `ImageRefused`."""
    registered = _matched(plane_of(image), templates, spec)
    kernel = np.ones((2 * spec.tolerance + 1,) * 2, np.uint8)
    ground = np.where(registered.known, registered.template, registered.picture)
    extra = registered.picture - cv2.dilate(ground, kernel)
    missing = cv2.erode(ground, kernel) - registered.picture
    differs = np.maximum(extra, missing) > spec.contrast * 255.0
    return Differences(registered, *components(differs, spec.join, spec.min_area))


def judged(
    found: Differences,
    probabilities: npt.NDArray[np.float32],
    spec: TemplateSpec,
) -> Comparison:
    """What the graph's answers to the differences mean for the image."""
    height, width = found.parts.shape
    real = 1.0 - probabilities[:, 0]
    brightness = np.concatenate([[0.0], real * 255.0]).astype(np.uint8)[found.parts]
    cells = brightness[: height // CELL * CELL, : width // CELL * CELL]
    heat = cells.reshape(height // CELL, CELL, width // CELL, CELL).max(axis=(1, 3))
    each = probabilities[:, 1:]
    score = 1.0 / (1.0 + np.exp(-np.clip(spec.slope * raw_score(probabilities) + spec.offset, -60.0, 60.0)))
    drawn = found.boxes + np.array(spec.margin) * [-1, -1, 1, 1]
    rows = np.column_stack(
        [
            np.clip(drawn, 0, [width, height, width, height]),
            each.max(axis=1, initial=0.0),
            each.argmax(axis=1) if len(each) else np.zeros(0),
        ]
    ).astype(np.float32)
    return Comparison(
        float(score),
        each.max(axis=0, initial=0.0).astype(np.float32),
        heat,
        _merged(rows, spec.nms_iou),
    )


def raw_score(probabilities: npt.NDArray[np.float32]) -> float:
    """The logit of the surest difference, before calibration; the lowest there is without any difference."""
    sure = np.concatenate([[0.0], 1.0 - probabilities[:, 0].astype(np.float64)]).max()
    least = 1.0 / (1.0 + np.exp(SUREST))
    sure = min(max(float(sure), least), 1.0 - least)
    return float(np.log(sure / (1.0 - sure)))


def plane_of(pixels: Pixels) -> Plane:
    """Grey, stretched so that nearly all of it lies between black and white."""
    plane = cast(Plane, grey(to_eight_bit(pixels)).astype(np.float32))
    # Little things count, single noisy pixels do not.
    low, high = np.percentile(cv2.GaussianBlur(plane, (0, 0), 1.5)[::2, ::2], (0.1, 99.9))
    middle = (low + high) / 2
    reach = max(high - low, _FLATTEST)
    return np.asarray(np.clip((plane - middle) * 255.0 / reach + 127.5, 0, 255), np.float32)


def _matched(picture: Plane, templates: Iterable[Pixels], spec: TemplateSpec) -> Registered:
    """Raises `ImageRefused` with what the likeliest was like."""
    best = -1.0
    seen = "there is none for it"
    for template in templates:
        plane = plane_of(template)
        if plane.shape != picture.shape:
            raise ValueError(
                f"a template of {plane.shape} pixels was prepared for a picture of {picture.shape}"
            )
        found = register(picture, plane)
        covered = float(found.known.mean())
        if found.correlation >= spec.min_correlation and covered >= spec.min_covered:
            return found
        if found.correlation > best:
            best = found.correlation
            seen = f"the likeliest covers {covered:.0%} of the picture and correlates by {best:.2f}"
    raise ImageRefused(
        NO_TEMPLATE,
        f"No template matches this board: {seen}; {spec.min_covered:.0%} and {spec.min_correlation:.2f} are needed. "
        "Check that the board is in place, and add the defect-free picture of its variant.",
    )


def _merged(rows: npt.NDArray[np.float32], most: float) -> npt.NDArray[np.float32]:
    """The rows by falling score, without those that overlap a surer one, of whatever class: a defect is one defect."""
    kept: list[npt.NDArray[np.float32]] = []
    for row in rows[np.argsort(-rows[:, 4], kind="stable")]:
        if all(_overlap(row, other) <= most for other in kept):
            kept.append(row)
    return np.stack(kept) if kept else np.zeros((0, 6), np.float32)


def _overlap(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float:
    """Intersection over union of two boxes."""
    sides = np.clip(np.minimum(first[2:4], second[2:4]) - np.maximum(first[:2], second[:2]), 0, None)
    areas = [float(np.prod(box[2:4] - box[:2])) for box in (first, second)]
    shared = float(np.prod(sides))
    return shared / max(sum(areas) - shared, 1e-9)

"""Reads the original's raw outputs by NumPy alone, and refuses those that cannot mean what their layout says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.adapters.onnx_import.decoding import Scaling
from trainer.adapters.onnx_import.drawing import MASK_CELL
from trainer.adapters.onnx_import.inspection import ImportRefused
from trainer.adapters.onnx_import.layouts import (
    BOXES,
    LABELS,
    MAP,
    MASKS,
    PROTOTYPES,
    ROWS,
    SCORE,
    SCORES,
    YOLO_NMS,
    YOLO_V5,
    YOLO_V8,
    Layout,
)
from trainer.adapters.onnx_import.reference import Outputs, Pixels, Reference
from trainer.adapters.release_graph import CELL

Array = npt.NDArray[np.float32]

SCORE_TOLERANCE = 1e-3
"""How far a score may be from where it should be: rounding, never a mistake."""
SURE = 0.25
"""A box of this score is one that its model means."""


Mask = Callable[[int], Array]
"""Of a find's number: its mask before it is weighed by the score, one value for each cell of `MASK_CELL` pixels."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the original says of one picture, before calibration.

    Attributes:
        best: Best score of each class, (classes).
        finds: Corners in pixels, score, class number, (finds, 6), the surest first; empty for an anomaly model.
        plane: The anomaly map; None for a model that finds things.
        mask: Of a find; None where finds have none.
    """

    best: Array
    finds: Array
    plane: Array | None = None
    mask: Mask | None = None


def read_pictures(
    reference: Reference, layout: Layout, scaling: Scaling, pictures: Mapping[str, Pixels]
) -> Iterator[Decoded]:
    """What the original says of each picture, one after the other: masks of many would not fit into memory.

    Raises `ImportRefused` where it cannot mean what its layout says.
    """
    for name, picture in pictures.items():
        raw = reference.outputs(picture)
        _refuse_unreadable(layout, raw, picture, name)
        found = decode(layout, raw, scaling)
        _refuse_odd_boxes(found.finds, picture, name)
        yield found


def decode(layout: Layout, raw: Outputs, scaling: Scaling) -> Decoded:
    """Reads the original's outputs for one picture."""
    values = {role: np.asarray(raw[output.name], np.float32) for role, output in layout.tensors.items()}
    if MAP in values:
        plane = values[MAP][0, 0]
        score = values[SCORE].ravel()[0] if SCORE in values else plane.max()
        best = np.array([score * scaling.score.slope + scaling.score.offset], np.float32)
        return Decoded(best, np.zeros((0, 6), np.float32), plane * scaling.map.slope + scaling.map.offset)
    count = len(layout.classes)
    if ROWS in values:
        rows = values[ROWS][0].T if layout.kind == YOLO_V8 else values[ROWS][0]
        table, coefficients = np.split(rows, [rows.shape[1] - layout.planes], axis=1)
        finds, best = _rows(layout.kind, table, count)
    else:
        labels = np.clip(values[LABELS].ravel() - 1, 0, count - 1)
        finds = np.column_stack([values[BOXES].reshape(-1, 4), values[SCORES].ravel(), labels])
        best = _best(finds, count)
    order = np.argsort(-finds[:, 4], kind="stable")
    finds = finds[order].astype(np.float32)
    mask: Mask | None = None
    if PROTOTYPES in values:
        mask = _mixed(coefficients[order], values[PROTOTYPES][0], finds)
    elif MASKS in values:
        mask = _pooled(values[MASKS].reshape(-1, *values[MASKS].shape[-2:])[order])
    return Decoded(best, finds, None, mask)


def _rows(kind: str, table: Array, count: int) -> tuple[Array, Array]:
    """Finds in any order, and the best score of each class."""
    if kind == YOLO_NMS:
        finds = table.copy()
        finds[:, 5] = np.clip(finds[:, 5], 0, count - 1)
        return finds, _best(finds, count)
    box = table[:, :4]
    scores = table[:, 5:] * table[:, 4:5] if kind == YOLO_V5 else table[:, 4:]
    corners = np.hstack([box[:, :2] - box[:, 2:] / 2, box[:, :2] + box[:, 2:] / 2])
    return np.column_stack([corners, scores.max(axis=1), scores.argmax(axis=1)]), scores.max(axis=0)


def _best(finds: Array, count: int) -> Array:
    of_class = [finds[finds[:, 5] == number, 4] for number in range(count)]
    return np.array([scores.max(initial=0.0) for scores in of_class], np.float32)


def _pooled(masks: Array) -> Mask:
    """Masks as large as the picture, (finds, H, W)."""

    def mask(number: int) -> Array:
        height, width = masks.shape[1:]
        cells = masks[number].reshape(height // MASK_CELL, MASK_CELL, width // MASK_CELL, MASK_CELL)
        return np.asarray(cells.mean(axis=(1, 3)), np.float32)

    return mask


def _mixed(coefficients: Array, planes: Array, finds: Array) -> Mask:
    """Masks mixed from common planes, (planes, rows, columns), and cut at their box."""

    def mask(number: int) -> Array:
        likely = 1 / (1 + np.exp(-np.tensordot(coefficients[number], planes, axes=1)))
        window = box_window(finds[number], MASK_CELL)
        cut = np.zeros(likely.shape, np.float32)
        cut[window] = likely[window]
        return cut

    return mask


def box_window(find: Array, cell: int) -> tuple[slice, slice]:
    """Rows and columns of the cells that a find's box touches."""
    left, top, right, bottom = (max(0.0, float(value) / cell) for value in find[:4])
    return slice(int(top), int(np.ceil(bottom))), slice(int(left), int(np.ceil(right)))


def _refuse_unreadable(layout: Layout, raw: Outputs, picture: Pixels, name: str) -> None:
    for output in layout.tensors.values():
        if not np.isfinite(np.asarray(raw[output.name], np.float64)).all():
            raise ImportRefused(f"{name}: the model's output {output.name} holds numbers that are not finite")
    if ROWS in layout.tensors:
        _refuse_odd_classes(layout, raw, name)
    if layout.masked:
        _refuse_odd_masks(layout, raw, picture, name)
    if SCORES in layout.tensors:
        _refuse_odd_scores(np.asarray(raw[layout.tensors[SCORES].name], np.float32), name)
    if LABELS in layout.tensors:
        labels = raw[layout.tensors[LABELS].name]
        wrong = sorted({int(label) for label in labels.ravel()} - set(range(1, len(layout.classes) + 1)))
        if wrong:
            raise ImportRefused(
                f"{name}: the model answers with label {wrong[0]}; {len(layout.classes)} classes are named, which "
                "are the labels from 1 on (0 is the background). Name all of them with --classes"
            )


def _refuse_odd_boxes(finds: Array, picture: Pixels, name: str) -> None:
    height, width = picture.shape[:2]
    seen = finds[finds[:, 4] > 0, :4]
    if len(seen) and min(width, height) > 32 and np.abs(seen).max() <= 2:
        raise ImportRefused(
            f"{name}: all coordinates lie between 0 and 2, so they are shares of the picture; "
            "pixels of the input are needed. Export with coordinates in pixels"
        )
    sure = finds[finds[:, 4] >= SURE, :4]
    middle = (sure[:, :2] + sure[:, 2:]) / 2
    outside = ((middle < 0) | (middle > (width, height))).any(axis=1) | (sure[:, 2:] < sure[:, :2]).any(
        axis=1
    )
    if outside.any():
        raise ImportRefused(
            f"{name}: {int(outside.sum())} of {len(sure)} sure boxes lie outside the picture or end before they "
            f"begin, such as {[round(float(value), 1) for value in sure[outside][0]]}; "
            "the size or the layout is not the one of this model: see --size and --layout"
        )


def _refuse_odd_masks(layout: Layout, raw: Outputs, picture: Pixels, name: str) -> None:
    height, width = picture.shape[:2]
    role, cell = (MASKS, 1) if MASKS in layout.tensors else (PROTOTYPES, MASK_CELL)
    rows, columns = raw[layout.tensors[role].name].shape[-2:]
    if (rows * cell, columns * cell) != (height, width):
        raise ImportRefused(
            f"{name}: the model's {role} are {columns} x {rows} cells for a picture of {width} x {height} pixels, "
            f"not one for each {cell} x {cell} pixels; export the whole model with its postprocessing"
        )
    if height % CELL or width % CELL:
        raise ImportRefused(
            f"masks need a picture whose sides are multiples of {CELL}, not {width} x {height}; see --size"
        )


def _refuse_odd_classes(layout: Layout, raw: Outputs, name: str) -> None:
    rows = np.asarray(raw[layout.tensors[ROWS].name][0], np.float32)
    rows = rows.T if layout.kind == YOLO_V8 else rows
    table = rows[:, : rows.shape[1] - layout.planes]
    scores = table[:, 4:5] if layout.kind == YOLO_NMS else table[:, 4:]
    _refuse_odd_scores(scores, name)
    classes = scores[:, 1:] if layout.kind == YOLO_V5 else scores
    if classes.shape[1] > 1 and np.allclose(classes.sum(axis=1), 1, atol=1e-3):
        raise ImportRefused(
            f"{name}: the scores of the classes sum to 1 for every box, so one of them is the background "
            "(softmax), and this import cannot know which; export a head with one sigmoid for each class"
        )


def _refuse_odd_scores(scores: Array, name: str) -> None:
    if scores.size and (scores.min() < -SCORE_TOLERANCE or scores.max() > 1 + SCORE_TOLERANCE):
        raise ImportRefused(
            f"{name}: scores lie between {scores.min():.3g} and {scores.max():.3g} instead of 0 and 1; "
            "export the model with the sigmoid of its head"
        )

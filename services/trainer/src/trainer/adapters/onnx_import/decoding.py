"""Adds to a graph what turns an exported model's raw outputs for one picture into those of a release."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from onnx import TensorProto, helper

from trainer.adapters.backbone import GraphWriter
from trainer.adapters.onnx_import.drawing import (
    MASK_CELL,
    add_box_heat,
    add_class_masks,
    add_plane_heat,
    pasted_masks,
    prototype_masks,
)
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
from trainer.adapters.onnx_import.tensors import Line, on_line, real, split, whole
from trainer.adapters.release_graph import CELL, CLASS_PROBABILITIES, DEFECT_SCORE, HEAT_MAP, HeatScale
from trainer.domain.calibration import Platt

MOST_BOXES: Final = 100
NMS_IOU: Final = 0.45
"""Boxes of one class that overlap a surer one by this much or more are the same find."""
LEAST_SCORE: Final = 1e-3
"""A YOLO's boxes that score less are not looked at: it says something of every place."""

Shapes = dict[str, tuple[int, list[int]]]
"""By output: its ONNX type, and its shape for one picture."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """How raw values become a release's.

    Attributes:
        score: Brings a raw score to 0 to 1, where the model does not do so itself.
        map: The same for an anomaly map.
        platt: From that score to a probability; None takes the score, cut at 0 and 1, for one.
        heat: What is black and white in an anomaly map.
    """

    score: Line = field(default_factory=Line)
    map: Line = field(default_factory=Line)
    platt: Platt | None = None
    heat: HeatScale = field(default_factory=HeatScale)


def add_outputs(
    graph: GraphWriter, layout: Layout, prefix: str, width: int, height: int, scaling: Scaling
) -> Shapes:
    """Adds a release's outputs for one picture of `width` x `height` pixels.

    Args:
        prefix: Stands before the names of the original's outputs.
    """
    raw = {
        role: graph.node("Cast", [prefix + output.name], f"raw.{role}", to=TensorProto.FLOAT)
        for role, output in layout.tensors.items()
    }
    count = len(layout.classes)
    shapes: Shapes = {
        DEFECT_SCORE: (TensorProto.FLOAT, []),
        CLASS_PROBABILITIES: (TensorProto.FLOAT, [count]),
        HEAT_MAP: (TensorProto.UINT8, [height // CELL, width // CELL]),
    }
    if MAP in raw:
        plane = on_line(graph, raw[MAP], scaling.map, "map")
        add_plane_heat(graph, plane, layout.tensors[MAP].shape[2:], width, height, scaling.heat)
        _add_probabilities(graph, _anomaly_score(graph, raw, scaling.score), scaling.platt)
        return shapes
    found = _rows(graph, layout, raw[ROWS]) if ROWS in raw else _lists(graph, raw, count)
    table = _table(graph, found, width, height)
    if layout.kind in (YOLO_V5, YOLO_V8):
        table = _without_repeats(graph, table, found, count)
    table = graph.node("Pad", [table, whole(graph, 0, 0, MOST_BOXES, 0)], "table.padded")
    _add_probabilities(graph, found.best or _best(graph, table, layout), scaling.platt)
    shapes[BOXES] = (TensorProto.FLOAT, [MOST_BOXES, 6])
    boxes, *coefficients = split(
        graph, _surest(graph, table), 6, *((layout.planes,) if layout.planes else ())
    )
    columns = split(graph, graph.node("Identity", [boxes], BOXES), *(1,) * 6)
    if MASKS in raw:
        finds, label = pasted_masks(graph, raw[MASKS], found.score, width, height), found.label
    elif PROTOTYPES in raw:
        planes = layout.tensors[PROTOTYPES].shape
        finds, label = prototype_masks(graph, columns, coefficients[0], raw[PROTOTYPES], planes), columns[5]
    else:
        add_box_heat(graph, columns, width, height)
        return shapes
    add_class_masks(graph, finds, label, count, width, height)
    shapes[MASKS] = (TensorProto.UINT8, [count, height // MASK_CELL, width // MASK_CELL])
    return shapes


@dataclass(frozen=True, slots=True)
class _Found:
    """Tensors of what was found.

    Attributes:
        corners: (finds, 4).
        score: (finds, 1).
        label: Class number, (finds, 1).
        best: Best score of each class, (classes), where the model has one for every find and class.
        coefficients: What a find's mask is mixed by, (finds, planes).
    """

    corners: str
    score: str
    label: str
    best: str | None = None
    coefficients: str | None = None


def _rows(graph: GraphWriter, layout: Layout, raw: str) -> _Found:
    """A YOLO's one table."""
    count, planes = len(layout.classes), (layout.planes,) if layout.planes else ()
    rows = graph.node("Squeeze", [raw, whole(graph, 0)], "rows")
    if layout.kind == YOLO_NMS:
        corners, score, label, *coefficients = split(graph, rows, 4, 1, 1, *planes)
        return _Found(corners, score, _known_label(graph, label, count), None, *coefficients)
    if layout.kind == YOLO_V5:
        box, objectness, conditional, *coefficients = split(graph, rows, 4, 1, count, *planes)
        scores = graph.node("Mul", [conditional, objectness], "rows.scores")
    else:
        rows = graph.node("Transpose", [rows], "rows.turned", perm=[1, 0])
        box, scores, *coefficients = split(graph, rows, 4, count, *planes)
    centre, size = split(graph, box, 2, 2)
    half = graph.node("Mul", [size, real(graph, "half", 0.5)], "rows.half")
    low, high = graph.node("Sub", [centre, half], "rows.low"), graph.node("Add", [centre, half], "rows.high")
    label = graph.node("ArgMax", [scores], "rows.label", axis=1, keepdims=1)
    return _Found(
        graph.node("Concat", [low, high], "rows.corners", axis=1),
        graph.node("ReduceMax", [scores, whole(graph, 1)], "rows.score", keepdims=1),
        graph.node("Cast", [label], "rows.label.float", to=TensorProto.FLOAT),
        graph.node("ReduceMax", [scores, whole(graph, 0)], "rows.best", keepdims=0),
        *coefficients,
    )


def _lists(graph: GraphWriter, raw: dict[str, str], count: int) -> _Found:
    """Torchvision's lists of boxes, labels and scores; its label 0 is the background and never reported."""
    label = graph.node("Reshape", [raw[LABELS], whole(graph, -1, 1)], "lists.label")
    from_zero = graph.node("Sub", [label, real(graph, "background", 1)], "lists.label.from-zero")
    return _Found(
        graph.node("Reshape", [raw[BOXES], whole(graph, -1, 4)], "lists.corners"),
        graph.node("Reshape", [raw[SCORES], whole(graph, -1, 1)], "lists.score"),
        _known_label(graph, from_zero, count),
    )


def _known_label(graph: GraphWriter, label: str, count: int) -> str:
    """A find of a class without a name is still a find: it goes by the nearest number that has one."""
    limits = [real(graph, "label.first", 0), real(graph, "label.last", count - 1)]
    return graph.node("Clip", [label, *limits], "label.known")


def _table(graph: GraphWriter, found: _Found, width: int, height: int) -> str:
    """(finds, 6 or more): corners cut at the picture's border, score, class number, coefficients."""
    inside = graph.node("Max", [found.corners, real(graph, "corner.least", 0)], "corners.positive")
    most = real(graph, "corner.most", [width, height, width, height])
    columns = [graph.node("Min", [inside, most], "corners.inside"), found.score, found.label]
    if found.coefficients is not None:
        columns.append(found.coefficients)
    return graph.node("Concat", columns, "table", axis=1)


def _without_repeats(graph: GraphWriter, table: str, found: _Found, count: int) -> str:
    """The rows that no surer one of their class overlaps: a large find's many boxes must not crowd out a small one."""
    corners = graph.node("Unsqueeze", ["corners.inside", whole(graph, 0)], "nms.corners")
    same = graph.node("Equal", [found.label, real(graph, "nms.numbers", np.arange(count))], "nms.same")
    kept = graph.node("Where", [same, found.score, real(graph, "nms.none", 0)], "nms.scores")
    planes = graph.node("Transpose", [kept], "nms.classes", perm=[1, 0])
    scores = graph.node("Unsqueeze", [planes, whole(graph, 0)], "nms.batch")
    limits = [
        whole(graph, MOST_BOXES),
        real(graph, "nms.iou", [NMS_IOU]),
        real(graph, "nms.least", [LEAST_SCORE]),
    ]
    chosen = graph.node("NonMaxSuppression", [corners, scores, *limits], "nms.chosen")
    rows = graph.node("Gather", [chosen, graph.constant("nms.row", np.int64(2))], "nms.rows", axis=1)
    return graph.node("Gather", [table, rows], "table.distinct", axis=0)


def _surest(graph: GraphWriter, table: str) -> str:
    """The surest rows, `MOST_BOXES` of them."""
    column = graph.constant("table.score", np.int64(4))
    scores = graph.node("Gather", [table, column], "table.scores", axis=1)
    graph.nodes.append(
        helper.make_node(
            "TopK",
            [scores, whole(graph, MOST_BOXES)],
            ["surest.scores", "surest.at"],
            name="surest.top",
            axis=0,
        )
    )
    return graph.node("Gather", [table, "surest.at"], "surest", axis=0)


def _best(graph: GraphWriter, table: str, layout: Layout) -> str:
    """The best score of each class, (classes), 0 for one that was not found."""
    _, score, label, *_ = split(graph, table, 4, 1, 1, *((layout.planes,) if layout.planes else ()))
    numbers = real(graph, "label.numbers", np.arange(len(layout.classes)))
    same = graph.node("Equal", [label, numbers], "best.same")
    kept = graph.node("Where", [same, score, real(graph, "best.none", 0)], "best.kept")
    return graph.node("ReduceMax", [kept, whole(graph, 0)], "best", keepdims=0)


def _anomaly_score(graph: GraphWriter, raw: dict[str, str], line: Line) -> str:
    """(1): the model's own score, or the map's highest value."""
    source = raw[SCORE] if SCORE in raw else graph.node("ReduceMax", [raw[MAP]], "map.highest", keepdims=0)
    return on_line(graph, graph.node("Reshape", [source, whole(graph, 1)], "score.raw"), line, "score")


def _add_probabilities(graph: GraphWriter, best: str, platt: Platt | None) -> None:
    """From scores by class, (classes), to `class_probabilities` and `defect_score`."""
    if platt is None:
        limits = [real(graph, "score.least", 0), real(graph, "score.most", 1)]
        graph.node("Clip", [best, *limits], CLASS_PROBABILITIES)
    else:
        logit = on_line(graph, best, Line(platt.slope, platt.offset), "score.logit")
        graph.node("Sigmoid", [logit], CLASS_PROBABILITIES)
    graph.node("ReduceMax", [CLASS_PROBABILITIES], DEFECT_SCORE, keepdims=0)

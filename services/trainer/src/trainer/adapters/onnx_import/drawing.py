"""Draws what an exported model found: heat maps of boxes, of masks and of anomaly maps, and masks of each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from onnx import TensorProto

from trainer.adapters.backbone import GraphWriter
from trainer.adapters.onnx_import.layouts import MASKS
from trainer.adapters.onnx_import.tensors import crossed, real, touched, whole
from trainer.adapters.release_graph import CELL, HeatScale, add_heat_map

MASK_CELL: Final = 4
"""Masks have one cell for each 4 x 4 pixels of the input."""


def add_box_heat(graph: GraphWriter, columns: Sequence[str], width: int, height: int) -> None:
    """Each cell that a box touches is as bright as the surest of those boxes.

    Args:
        columns: Of the boxes: left, top, right, bottom, score, class number, each (boxes, 1).
    """
    left, top, right, bottom, score, _ = columns
    across = touched(graph, left, right, width // CELL, CELL, "heat.across")
    down = touched(graph, top, bottom, height // CELL, CELL, "heat.down")
    scored = graph.node("Mul", [down, score], "heat.down.scored")
    drawn = crossed(graph, scored, across, "heat.drawn")
    surest = graph.node("ReduceMax", [drawn, whole(graph, 0)], "heat.surest", keepdims=0)
    add_heat_map(graph, surest, HeatScale())


def pasted_masks(graph: GraphWriter, masks: str, score: str, width: int, height: int) -> str:
    """Masks as large as the picture, (finds, 1, H, W), as cells weighed by the find's score, (finds, rows, columns)."""
    planes = graph.node("Reshape", [masks, whole(graph, -1, 1, height, width)], "masks.planes")
    cell = [MASK_CELL, MASK_CELL]
    small = graph.node("AveragePool", [planes], "masks.small", kernel_shape=cell, strides=cell)
    weights = graph.node("Reshape", [score, whole(graph, -1, 1, 1, 1)], "masks.score")
    scored = graph.node("Mul", [small, weights], "masks.scored")
    return graph.node("Squeeze", [scored, whole(graph, 1)], "masks.finds")


def prototype_masks(
    graph: GraphWriter, boxes: Sequence[str], coefficients: str, prototypes: str, shape: Sequence[int]
) -> str:
    """YOLO's masks: mixed from common planes, cut at the box and weighed by its score, (boxes, rows, columns).

    Args:
        boxes: Their columns, as for `add_box_heat`.
        coefficients: (boxes, planes).
        prototypes: (1, planes, rows, columns), whose `shape` this is.
    """
    _, count, rows, columns = shape
    planes = graph.node("Reshape", [prototypes, whole(graph, count, rows * columns)], "masks.planes")
    mixed = graph.node("MatMul", [coefficients, planes], "masks.mixed")
    likely = graph.node("Sigmoid", [mixed], "masks.likely")
    cells = graph.node("Reshape", [likely, whole(graph, -1, rows, columns)], "masks.cells")
    left, top, right, bottom, score, _ = boxes
    across = touched(graph, left, right, columns, MASK_CELL, "masks.across")
    down = touched(graph, top, bottom, rows, MASK_CELL, "masks.down")
    scored = graph.node("Mul", [down, score], "masks.down.scored")
    inside = crossed(graph, scored, across, "masks.inside")
    return graph.node("Mul", [cells, inside], "masks.finds")


def add_class_masks(graph: GraphWriter, finds: str, label: str, count: int, width: int, height: int) -> None:
    """Each cell's surest find of each class, and the surest class as the heat map.

    Args:
        finds: (finds, rows, columns).
        label: Class number of each find, (finds, 1).
    """
    numbers = graph.node("Cast", [label], "masks.label", to=TensorProto.INT64)
    empty = real(graph, "masks.empty", np.zeros((count, height // MASK_CELL, width // MASK_CELL)))
    surest = graph.node("ScatterND", [empty, numbers, finds], "masks.surest", reduction="max")
    bright = graph.node("Mul", [surest, real(graph, "masks.white", 255)], "masks.bright")
    limits = [real(graph, "masks.least", 0), real(graph, "masks.most", 255)]
    clipped = graph.node("Clip", [bright, *limits], "masks.clipped")
    graph.node("Cast", [clipped], MASKS, to=TensorProto.UINT8)
    likeliest = graph.node("ReduceMax", [surest, whole(graph, 0)], "masks.likeliest", keepdims=1)
    plane = graph.node("Unsqueeze", [likeliest, whole(graph, 0)], "masks.plane")
    size = (height // MASK_CELL, width // MASK_CELL)
    add_plane_heat(graph, plane, size, width, height, HeatScale())


def add_plane_heat(
    graph: GraphWriter, plane: str, size: Sequence[int], width: int, height: int, heat: HeatScale
) -> None:
    """A plane (1, 1, *`size`): the highest value of each cell where cells divide it, else resized."""
    rows, columns = height // CELL, width // CELL
    if size[0] % rows == 0 and size[1] % columns == 0:
        cell = [size[0] // rows, size[1] // columns]
        cells = graph.node("MaxPool", [plane], "plane.cells", kernel_shape=cell, strides=cell)
    else:
        cells = graph.node(
            "Resize",
            [plane, "", "", whole(graph, rows, columns)],
            "plane.cells",
            mode="linear",
            axes=[2, 3],
            coordinate_transformation_mode="half_pixel",
        )
    add_heat_map(graph, graph.node("Reshape", [cells, whole(graph, rows, columns)], "plane"), heat)

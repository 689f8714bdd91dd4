"""The release graph of an anomaly model: the same inputs and outputs as a classification release."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper

from trainer.adapters.backbone import GraphWriter, levels_of
from trainer.adapters.maps import even_light
from trainer.adapters.networks import strides_of
from trainer.adapters.release_graph import (
    ATTRIBUTION,
    CELL,
    CLASS_PROBABILITIES,
    DEFECT_SCORE,
    HeatScale,
    add_heat_map,
    set_interface,
)
from trainer.domain.anomaly import (
    AnomalyModel,
    GaussianField,
    PatchMemory,
    PositionModel,
    top_count,
)


def build_anomaly_release(
    backbone: onnx.ModelProto,
    anomaly: AnomalyModel,
    width: int,
    height: int,
    scale: HeatScale,
    *,
    raw: bool = False,
) -> onnx.ModelProto:
    """Outputs: `defect_score` (N), `class_probabilities` (N x 1), `heat_map` (N x H/8 x W/8); as `build_release`."""
    model = even_light(backbone)
    graph = GraphWriter({})
    tensor, rows, columns = _joined(graph, model, anomaly.layers, width, height)
    flat, rows, columns = _distances(graph, tensor, anomaly.positions, rows, columns)
    score = _probability(graph, _top_mean(graph, flat, top_count(rows * columns, anomaly.top_share)), anomaly)
    shape = graph.constant("plane.shape", np.array([-1, 1, rows, columns], np.int64))
    resized = graph.node(
        "Resize",
        [
            graph.node("Reshape", [flat, shape], "plane"),
            "",
            "",
            graph.constant("cells", np.array([height // CELL, width // CELL], np.int64)),
        ],
        "plane.resized",
        mode="linear",
        axes=[2, 3],
        coordinate_transformation_mode="half_pixel",
    )
    axis = graph.constant("axis.columns", np.array([1], np.int64))
    add_heat_map(graph, graph.node("Squeeze", [resized, axis], ATTRIBUTION), scale)
    outputs = [score, graph.node("Unsqueeze", [score, axis], CLASS_PROBABILITIES)]
    model.graph.node.extend(graph.nodes)
    model.graph.initializer.extend(graph.initializers)
    set_interface(model, outputs, 1, width, height, raw)
    _drop_unused(model)
    onnx.checker.check_model(model)
    return model


def _probability(graph: GraphWriter, raw: str, anomaly: AnomalyModel) -> str:
    slope = graph.constant("anomaly.slope", np.float32(anomaly.calibration.slope))
    offset = graph.constant("anomaly.offset", np.float32(anomaly.calibration.offset))
    shifted = graph.node("Add", [graph.node("Mul", [raw, slope], "anomaly.scaled"), offset], "anomaly.logit")
    return graph.node("Sigmoid", [shifted], DEFECT_SCORE)


def _joined(
    graph: GraphWriter, model: onnx.ModelProto, layers: Sequence[str], width: int, height: int
) -> tuple[str, int, int]:
    """The layers side by side on the coarsest one's grid, N x C x rows x columns, with rows and columns."""
    tensors = {level.name: level.map for level, _ in levels_of(model)}
    strides = strides_of(model)
    coarsest = max(strides[name] for name in layers)
    planes = []
    for name in layers:
        factor = coarsest // strides[name]
        planes.append(tensors[name] if factor == 1 else _averaged(graph, tensors[name], name, factor))
    joined = planes[0] if len(planes) == 1 else graph.node("Concat", planes, "joined", axis=1)
    return joined, height // coarsest, width // coarsest


def _averaged(graph: GraphWriter, tensor: str, name: str, factor: int) -> str:
    sides = [factor, factor]
    return graph.node("AveragePool", [tensor], f"{name}.averaged", kernel_shape=sides, strides=sides)


def _distances(
    graph: GraphWriter, tensor: str, positions: PositionModel, rows: int, columns: int
) -> tuple[str, int, int]:
    """N x positions, with the rows and columns that the positions make up."""
    if isinstance(positions, GaussianField):
        found = _gaussian_distances(graph, "gaussian", tensor, positions)
        return found, len(positions.rows), len(positions.columns)
    if isinstance(positions, PatchMemory):
        return _memory_distances(graph, "memory", tensor, positions), rows, columns
    raise TypeError(f"{type(positions).__name__} has no graph")


def _gaussian_distances(graph: GraphWriter, name: str, tensor: str, field: GaussianField) -> str:
    """N x positions."""
    positions, channels = field.mean.shape
    lines = graph.node("MatMul", [graph.constant(f"{name}.down", field.rows), tensor], f"{name}.softer")
    soft = graph.node("MatMul", [lines, graph.constant(f"{name}.across", field.columns.T)], f"{name}.soft")
    shape = graph.constant(f"{name}.flat", np.array([0, channels, positions], np.int64))
    flat = graph.node("Reshape", [soft, shape], f"{name}.columns")
    rows = graph.node("Transpose", [flat], f"{name}.rows", perm=[2, 0, 1])
    centred = graph.node("Sub", [rows, graph.constant(f"{name}.means", field.mean[:, None])], f"{name}.moved")
    white = graph.node(
        "MatMul", [centred, graph.constant(f"{name}.whiten", field.whiten)], f"{name}.whitened"
    )
    axis = graph.constant(f"{name}.channel", np.array([2], np.int64))
    squared = graph.node("Mul", [white, white], f"{name}.whitened.squared")
    mean = graph.node("ReduceMean", [squared, axis], f"{name}.distance.squared", keepdims=0)
    return graph.node(
        "Transpose", [graph.node("Sqrt", [mean], f"{name}.distance.t")], f"{name}.distance", perm=[1, 0]
    )


def _memory_distances(graph: GraphWriter, name: str, tensor: str, memory: PatchMemory) -> str:
    """N x positions: |q|^2 - 2 q.p + |p|^2, the least over all patches p."""
    around = graph.node(
        "AveragePool",
        [tensor],
        f"{name}.around",
        kernel_shape=[3, 3],
        pads=[1, 1, 1, 1],
        strides=[1, 1],
        count_include_pad=0,
    )
    scaled = graph.node(
        "Mul", [around, graph.constant(f"{name}.scale", memory.scale[:, None, None])], f"{name}.query.planes"
    )
    shape = graph.constant(f"{name}.flat", np.array([0, len(memory.scale), -1], np.int64))
    query = graph.node(
        "Transpose",
        [graph.node("Reshape", [scaled, shape], f"{name}.query.columns")],
        f"{name}.query",
        perm=[0, 2, 1],
    )
    axis = graph.constant(f"{name}.last", np.array([2], np.int64))
    twice = graph.constant(f"{name}.patches", (-2 * memory.patches.T).astype(np.float32))
    own = graph.constant(f"{name}.own", (memory.patches**2).sum(axis=1))
    products = graph.node(
        "Add", [graph.node("MatMul", [query, twice], f"{name}.products"), own], f"{name}.partial"
    )
    least = graph.node("ReduceMin", [products, axis], f"{name}.least", keepdims=0)
    length = graph.node(
        "ReduceSum",
        [graph.node("Mul", [query, query], f"{name}.query.squared"), axis],
        f"{name}.length",
        keepdims=0,
    )
    squared = graph.node("Add", [least, length], f"{name}.distance.squared")
    # Rounding may leave a hair below zero.
    floor = graph.constant(f"{name}.floor", np.float32(0))
    return graph.node("Sqrt", [graph.node("Max", [squared, floor], f"{name}.positive")], f"{name}.distance")


def _top_mean(graph: GraphWriter, flat: str, count: int) -> str:
    """Mean of the `count` largest distances of each image, (N)."""
    wanted = graph.constant("top.count", np.array([count], np.int64))
    graph.nodes.append(helper.make_node("TopK", [flat, wanted], ["top", "top.at"], name="top", axis=1))
    return graph.node(
        "ReduceMean", ["top", graph.constant("top.axis", np.array([1], np.int64))], "top.mean", keepdims=0
    )


def _drop_unused(model: onnx.ModelProto) -> None:
    """Removes what no output needs, such as the classification's pooling, so that it is neither stored nor run."""
    needed = {item.name for item in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    weights = [item for item in model.graph.initializer if item.name in needed]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(reversed(kept))
    model.graph.initializer.extend(weights)

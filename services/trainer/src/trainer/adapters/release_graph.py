"""Joins backbone, head, calibration and heat map into the one ONNX graph of a release.

The heat map of a linear head is exact, not a guess: the head is linear in the mean and in the spread of each channel,
so its score is a mean over image positions, and each position's share can be drawn. `kernel_graph.py` tells of the
other kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from trainer.adapters.backbone import FEATURES, GraphWriter, Level, levels_of
from trainer.adapters.kernel_graph import add_kernel, add_shares
from trainer.adapters.maxima import with_maxima
from trainer.domain.calibration import Platt
from trainer.domain.head import Head, Kernel, Linear

DEFECT_SCORE, CLASS_PROBABILITIES, HEAT_MAP = "defect_score", "class_probabilities", "heat_map"
ATTRIBUTION = "attribution"
CELL = 8  # The heat map has one cell for each 8 x 8 pixels of the model's input.


@dataclass(frozen=True, slots=True)
class HeatScale:
    """Attribution `base` is drawn black and `base` + `span` white, so that maps of different images compare."""

    base: float = 0.0
    span: float = 1.0


def build_release(
    backbone: onnx.ModelProto, head: Head, width: int, height: int, scale: HeatScale, *, raw: bool = False
) -> onnx.ModelProto:
    """The release's graph. Outputs: `defect_score` (N), `class_probabilities` (N x K), `heat_map` (N x H/8 x W/8).

    With `raw` the attributions themselves come out beside (float), to choose the heat map's scale.
    """
    model = onnx.ModelProto()
    model.CopyFrom(with_maxima(backbone) if isinstance(head.defect, Kernel) else backbone)
    graph = GraphWriter({})
    score = _defect_score(graph, head)
    probabilities = _class_probabilities(graph, head, score)
    attribution = _attribution(graph, model, head, width // CELL, height // CELL)
    add_heat_map(graph, attribution, scale)
    model.graph.node.extend(graph.nodes)
    model.graph.initializer.extend(graph.initializers)
    set_interface(model, [score, probabilities], len(head.classes), width, height, raw)
    onnx.checker.check_model(model)
    return model


def set_interface(
    model: onnx.ModelProto, outputs: list[str], classes: int, width: int, height: int, raw: bool
) -> None:
    cells: list[str | int | None] = ["batch", height // CELL, width // CELL]
    del model.graph.input[:], model.graph.output[:]
    model.graph.name = "andonloop-release"
    model.graph.input.append(
        helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", height, width, 3])
    )
    model.graph.output.extend(
        [
            helper.make_tensor_value_info(DEFECT_SCORE, TensorProto.FLOAT, ["batch"]),
            helper.make_tensor_value_info(CLASS_PROBABILITIES, TensorProto.FLOAT, ["batch", classes]),
            helper.make_tensor_value_info(HEAT_MAP, TensorProto.UINT8, cells),
        ]
    )
    if raw:
        model.graph.output.append(helper.make_tensor_value_info(ATTRIBUTION, TensorProto.FLOAT, cells))


def _scores(graph: GraphWriter, linear: Linear, name: str) -> str:
    weights = graph.constant(f"{name}.weights", linear.weights)
    return graph.node(
        "Gemm", [FEATURES, weights, graph.constant(f"{name}.bias", linear.bias)], name, transB=1
    )


def _calibrated(graph: GraphWriter, scores: str, platts: tuple[Platt, ...], name: str) -> str:
    slope = graph.constant(f"{name}.slope", np.array([platt.slope for platt in platts], np.float32))
    offset = graph.constant(f"{name}.offset", np.array([platt.offset for platt in platts], np.float32))
    scaled = graph.node("Mul", [scores, slope], f"{name}.scaled")
    return graph.node("Add", [scaled, offset], f"{name}.shifted")


def _defect_score(graph: GraphWriter, head: Head) -> str:
    if head.defect is None or head.calibration is None:
        size = graph.node("Shape", ["image"], "batch.shape", start=0, end=1)
        one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
        return graph.node("ConstantOfShape", [size], DEFECT_SCORE, value=one)
    defect = head.defect
    raw = add_kernel(graph, defect) if isinstance(defect, Kernel) else _scores(graph, defect, "defect")
    probability = graph.node(
        "Sigmoid", [_calibrated(graph, raw, (head.calibration,), "defect")], "defect.probability"
    )
    flat = graph.constant("flat", np.array([-1], np.int64))
    return graph.node("Reshape", [probability, flat], DEFECT_SCORE)


def _class_probabilities(graph: GraphWriter, head: Head, score: str) -> str:
    column = graph.node(
        "Unsqueeze", [score, graph.constant("axis1", np.array([1], np.int64))], "defect.column"
    )
    if head.classes_head is None:
        return graph.node("Identity", [column], CLASS_PROBABILITIES)
    raw = _scores(graph, head.classes_head.linear, "classes")
    calibrated = _calibrated(graph, raw, head.classes_head.calibration, "classes")
    if head.classes_head.mode == "softmax":
        given_defect = graph.node("Softmax", [calibrated], "classes.given-defect", axis=1)
    else:
        given_defect = graph.node("Sigmoid", [calibrated], "classes.given-defect")
    return graph.node("Mul", [given_defect, column], CLASS_PROBABILITIES)


def _attribution(graph: GraphWriter, model: onnx.ModelProto, head: Head, width: int, height: int) -> str:
    """Each position's share of the defect score, or of the most likely class's score where nothing was good."""
    size = graph.constant("cells", np.array([height, width], np.int64))
    if isinstance(head.defect, Kernel):
        parts = add_shares(graph, model, head.defect, size)
    else:
        linear = head.defect if head.defect is not None else _required(head).linear
        parts = _linear_shares(graph, levels_of(model), linear, size)
    total = graph.node("Sum", parts, "attribution.columns") if len(parts) > 1 else parts[0]
    if head.defect is None:
        total = _most_likely(graph, total, len(head.classes))
    return graph.node(
        "Squeeze", [total, graph.constant("axis.columns", np.array([1], np.int64))], ATTRIBUTION
    )


def _linear_shares(
    graph: GraphWriter, levels: list[tuple[Level, int]], linear: Linear, size: str
) -> list[str]:
    """N x columns x H/8 x W/8, one for each mean and each spread, all to be summed."""
    parts: list[str] = []
    at = 0
    for level, channels in levels:
        for tensor in (level.map, level.squared):
            if tensor is None:
                continue
            weights = linear.weights[:, at : at + channels]
            at += channels
            parts.append(_level_share(graph, level, tensor, weights, size))
    return parts


def _required(head: Head) -> Any:
    if head.classes_head is None:
        raise ValueError("nothing to learn: the images are all defective and of one class")
    return head.classes_head


def _level_share(
    graph: GraphWriter, level: Level, tensor: str, weights: npt.NDArray[np.float32], size: str
) -> str:
    name = f"share.{tensor}"
    source = tensor
    if tensor == level.squared and level.std is not None:
        # The mean of (x - mean)^2 / std over all positions is the std itself.
        source = graph.node("Div", [tensor, level.std], f"{name}.spread")
    kernel = graph.constant(f"{name}.weights", weights[:, :, None, None])
    share = graph.node("Conv", [source, kernel], name, kernel_shape=[1, 1])
    return graph.node(
        "Resize",
        [share, "", "", size],
        f"{name}.resized",
        mode="linear",
        axes=[2, 3],
        coordinate_transformation_mode="half_pixel",
    )


def _most_likely(graph: GraphWriter, columns: str, count: int) -> str:
    """Of one map for each class, the map of the class that the release names."""
    best = graph.node("ArgMax", [CLASS_PROBABILITIES], "classes.best", axis=1, keepdims=1)
    numbers = graph.constant("classes.numbers", np.arange(count, dtype=np.int64))
    chosen = graph.node("Equal", [best, numbers], "classes.chosen")
    mask = graph.node("Cast", [chosen], "classes.mask", to=TensorProto.FLOAT)
    planes = graph.node(
        "Unsqueeze", [mask, graph.constant("axes23", np.array([2, 3], np.int64))], "classes.planes"
    )
    kept = graph.node("Mul", [columns, planes], "attribution.kept")
    return graph.node(
        "ReduceSum",
        [kept, graph.constant("axis.classes", np.array([1], np.int64))],
        "attribution.best",
        keepdims=1,
    )


def add_heat_map(graph: GraphWriter, attribution: str, scale: HeatScale) -> None:
    raised = graph.node(
        "Sub", [attribution, graph.constant("heat.base", np.float32(scale.base))], "heat.raised"
    )
    span = graph.constant("heat.span", np.float32(255.0 / scale.span))
    scaled = graph.node("Mul", [raised, span], "heat.scaled")
    limits = [graph.constant("heat.black", np.float32(0)), graph.constant("heat.white", np.float32(255))]
    clipped = graph.node("Clip", [scaled, *limits], "heat.clipped")
    graph.node("Cast", [clipped], HEAT_MAP, to=TensorProto.UINT8)


def choose_scale(attributions: npt.NDArray[np.float32], is_defect: npt.NDArray[np.bool_]) -> HeatScale:
    """Black is what good parts look like on the whole, white what only the clearest defects reach."""
    normal = attributions[~is_defect] if not is_defect.all() else attributions
    base = float(np.quantile(normal, 0.75))
    top = float(np.quantile(attributions[is_defect], 0.995)) if is_defect.any() else float(normal.max())
    return HeatScale(base, max(top - base, 1e-6))

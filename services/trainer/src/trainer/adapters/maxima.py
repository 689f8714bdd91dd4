"""A backbone read in more places: the largest value of each channel beside its mean and spread.

A defect fills a small part of a picture; a mean over positions thins it out, a maximum does not.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from trainer.adapters.backbone import FEATURES, GraphWriter, levels_of

RICH = "features.rich"
"""The plain features, and behind them the maxima in the order of `maxima_of`."""


def maxima_of(backbone: onnx.ModelProto) -> list[tuple[str, int]]:
    """Tensors whose channels' maxima are read, with their channels.

    Each level's own map, and its block's depthwise layer, which is several times wider.
    """
    channels = {
        node.output[0]: next(
            item.dims[0] for item in backbone.graph.initializer if item.name == node.input[1]
        )
        for node in backbone.graph.node
        if node.op_type == "Conv"
    }
    found: list[tuple[str, int]] = []
    for level, width in levels_of(backbone):
        found.append((level.map, width))
        wide = f"block{level.name.removeprefix('level')}.depthwise"
        if wide in channels:
            found.append((f"{wide}.relu6", int(channels[wide])))
    return found


def with_maxima(backbone: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that has `RICH` as a second output."""
    model = onnx.ModelProto()
    model.CopyFrom(backbone)
    graph = GraphWriter({})
    pooled = [graph.node("GlobalMaxPool", [name], f"{name}.max") for name, _ in maxima_of(backbone)]
    stacked = graph.node("Concat", pooled, "maxima.stacked", axis=1)
    flat = graph.node("Flatten", [stacked], "maxima", axis=1)
    graph.node("Concat", [FEATURES, flat], RICH, axis=1)
    model.graph.node.extend(graph.nodes)
    model.graph.output.append(helper.make_tensor_value_info(RICH, TensorProto.FLOAT, ["batch", None]))
    onnx.checker.check_model(model)
    return model


def write_with_maxima(backbone: Path, folder: Path) -> Path:
    """Writes the copy of a backbone's file into `folder`; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "backbone-with-maxima.onnx"
    partial = target.with_suffix(".partial")
    partial.write_bytes(with_maxima(onnx.load(str(backbone))).SerializeToString(deterministic=True))
    partial.replace(target)
    return target

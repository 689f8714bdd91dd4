"""Builds a release's graph around an exported model: bytes in, the outputs of any release out.

The exporter may have fixed a batch of one, or know none at all, so the model runs inside a `Scan`, picture by picture.
On the CPU that costs nothing; the outer graph takes any batch, and a picture's answer never depends on its neighbours.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, compose, helper

from trainer.adapters.backbone import GraphWriter
from trainer.adapters.onnx_import.decoding import Scaling, add_outputs
from trainer.adapters.onnx_import.inspection import Original
from trainer.adapters.onnx_import.layouts import Layout
from trainer.adapters.onnx_import.reference import Numbers

GIVEN = "given/"
"""Stands before every name of the original, so that none meets one of a release's."""


def wrap(
    original: Original, layout: Layout, numbers: Numbers, width: int, height: int, scaling: Scaling
) -> onnx.ModelProto:
    """The release's graph, for pictures of `width` x `height` pixels."""
    given = compose.add_prefix(original.model, GIVEN).graph
    graph = GraphWriter({})
    _add_picture(graph, original, numbers)
    graph.nodes.extend(given.node)
    graph.initializers.extend(given.initializer)
    outputs = add_outputs(graph, layout, GIVEN, width, height, scaling)
    body = helper.make_graph(
        graph.nodes,
        "one-picture",
        [helper.make_tensor_value_info("picture", TensorProto.UINT8, [height, width, 3])],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
        graph.initializers,
        sparse_initializer=given.sparse_initializer,
    )
    scan = helper.make_node(
        "Scan",
        ["image"],
        list(outputs),
        name="pictures",
        num_scan_inputs=1,
        body=compose.add_prefix_graph(body, "one/"),
    )
    model = helper.make_model(
        helper.make_graph(
            [scan],
            "andonloop-release",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", height, width, 3])],
            [
                helper.make_tensor_value_info(name, kind, ["batch", *shape])
                for name, (kind, shape) in outputs.items()
            ],
        ),
        opset_imports=original.model.opset_import,
        ir_version=original.model.ir_version,
        producer_name="andonloop-trainer",
    )
    helper.set_model_props(model, dict(original.metadata))
    onnx.checker.check_model(model)
    return model


def _add_picture(graph: GraphWriter, original: Original, numbers: Numbers) -> None:
    """From the bytes of one picture, (H, W, 3), to the original's input under its own name."""
    picture, current, axis = original.picture, "picture", 2
    if picture.channels_first:
        # Bytes are the smallest to turn, and whole planes the fastest to reckon with.
        current, axis = graph.node("Transpose", [current], "picture.planes", perm=[2, 0, 1]), 0
    if numbers.colour == "bgr":
        order = graph.constant("picture.order", np.array([2, 1, 0], np.int64))
        current = graph.node("Gather", [current, order], "picture.ordered", axis=axis)
    current = graph.node("Cast", [current], "picture.float", to=TensorProto.FLOAT)
    shape = (3, 1, 1) if picture.channels_first else (3,)
    none = Numbers()
    for kind, value, nothing in (
        ("Mul", numbers.scale, none.scale),
        ("Sub", numbers.mean, none.mean),
        ("Div", numbers.std, none.std),
    ):
        if value != nothing:
            constant = np.broadcast_to(np.array(value, np.float32), 3).reshape(shape)
            name = f"picture.{kind.lower()}"
            current = graph.node(kind, [current, graph.constant(f"{name}.by", constant)], name)
    if picture.batched:
        first = graph.constant("picture.first", np.array([0], np.int64))
        current = graph.node("Unsqueeze", [current, first], "picture.batch")
    graph.node("Cast", [current], GIVEN + picture.name, to=picture.type)

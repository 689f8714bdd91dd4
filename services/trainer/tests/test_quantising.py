"""Smaller forms of a network: nearly the same answers, the same interface, a head that is left alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from trainer.adapters.features import open_session
from trainer.adapters.quantising import to_dynamic_int8, to_float16, to_int8

SIDE = 16
RANDOM = np.random.default_rng(5)
PIXELS = [RANDOM.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for _ in range(24)]

Form = Callable[[onnx.ModelProto], onnx.ModelProto]


@pytest.fixture(scope="module")
def network() -> onnx.ModelProto:
    """Two convolutions as a backbone, one that draws the heat map from them, and a score."""
    random = np.random.default_rng(3)
    weights = {
        "scale": np.array(1 / 255, np.float32),
        "axes": np.array([2, 3], np.int64),
        "flat": np.array([-1], np.int64),
        "lift": random.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32),
        "mix": random.normal(0, 0.3, (8, 8, 1, 1)).astype(np.float32),
        "draw": random.normal(0, 0.3, (1, 8, 1, 1)).astype(np.float32),
        "weigh": random.normal(0, 1.0, (8, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["planes"], "planes", perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["planes", "scale"], ["scaled"], "scaled"),
        helper.make_node("Conv", ["scaled", "lift"], ["lifted"], "lift", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["lifted"], ["kept"], "kept"),
        helper.make_node("Conv", ["kept", "mix"], ["mixed"], "mix"),
        helper.make_node("Conv", ["mixed", "draw"], ["heat"], "draw"),
        helper.make_node("ReduceMean", ["mixed", "axes"], ["means"], "means", keepdims=0),
        helper.make_node("MatMul", ["means", "weigh"], ["column"], "weigh"),
        helper.make_node("Sigmoid", ["column"], ["probability"], "probability"),
        helper.make_node("Reshape", ["probability", "flat"], ["defect_score"], "score"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])],
        [
            helper.make_tensor_value_info("defect_score", TensorProto.FLOAT, ["batch"]),
            helper.make_tensor_value_info("heat", TensorProto.FLOAT, ["batch", 1, SIDE, SIDE]),
        ],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model


@pytest.mark.parametrize(
    ("form", "most"),
    [
        pytest.param(lambda model: to_int8(model, PIXELS), 0.03, id="int8"),
        pytest.param(to_dynamic_int8, 0.03, id="dynamic-int8"),
        pytest.param(to_float16, 0.002, id="float16"),
    ],
)
def test_a_smaller_form_answers_nearly_the_same(network: onnx.ModelProto, form: Form, most: float) -> None:
    batch = np.stack(PIXELS)
    (exact,) = open_session(network.SerializeToString(), 1).run(["defect_score"], {"image": batch})
    small = form(network)
    (scores,) = open_session(small.SerializeToString(), 1).run(["defect_score"], {"image": batch})
    assert scores.dtype == np.float32 and scores.shape == exact.shape
    assert np.abs(scores - exact).max() < most
    assert not np.array_equal(scores, exact), "it is another network"


def test_the_head_is_left_as_it_is(network: onnx.ModelProto) -> None:
    kinds = {item.name: item.data_type for item in to_int8(network, PIXELS).graph.initializer}
    assert kinds["draw"] == TensorProto.FLOAT
    assert TensorProto.INT8 in {kinds["lift_quantized"], kinds["mix_quantized"]}
    assert "lift" not in kinds and "mix" not in kinds

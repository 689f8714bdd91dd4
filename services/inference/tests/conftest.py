"""A release whose network shows its own input, and a stub for Triton."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from andon_vision.release_bundle import (
    load_private_key,
    load_public_key,
    make_keys,
    read_bundle,
    write_bundle,
)
from inference.testing import SignedRelease, StubServer
from onnx import TensorProto, helper, numpy_helper

SIDE = 16
PIXELS = SIDE * SIDE * 3


def echo_network() -> bytes:
    """A network that answers with what it was shown: its class probabilities are the very pixels.

    An image of nothing but white breaks it: its brightness is looked up in a table that ends before 255.
    """
    flat = numpy_helper.from_array(np.array([0, PIXELS], np.int64), "flat")
    axes = numpy_helper.from_array(np.array([1], np.int64), "axes")
    full = numpy_helper.from_array(np.array(255.0, np.float32), "full")
    cells = numpy_helper.from_array(np.array([0, 2, 8, 2, 8, 3], np.int64), "cells")
    table = numpy_helper.from_array(np.zeros(255, np.float32), "table")
    within = numpy_helper.from_array(np.array([2, 4, 5], np.int64), "within")
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["floats", "flat"], ["class_probabilities"]),
        helper.make_node("ReduceMean", ["class_probabilities", "axes"], ["mean"], keepdims=0),
        helper.make_node("Cast", ["mean"], ["brightness"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "brightness"], ["nothing"]),
        helper.make_node("Add", ["mean", "nothing"], ["checked"]),
        helper.make_node("Div", ["checked", "full"], ["defect_score"]),
        helper.make_node("Reshape", ["floats", "cells"], ["blocks"]),
        helper.make_node("ReduceMax", ["blocks", "within"], ["brightest"], keepdims=0),
        helper.make_node("Cast", ["brightest"], ["heat_map"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "echo",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])],
        [
            helper.make_tensor_value_info("defect_score", TensorProto.FLOAT, ["batch"]),
            helper.make_tensor_value_info("class_probabilities", TensorProto.FLOAT, ["batch", PIXELS]),
            helper.make_tensor_value_info("heat_map", TensorProto.UINT8, ["batch", 2, 2]),
        ],
        [flat, axes, full, cells, within, table],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


@pytest.fixture(scope="session")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], SignedRelease]:
    """Makes an echo release with the given name, signed by one key for the whole session."""
    home = tmp_path_factory.mktemp("releases")
    private, public = make_keys(home / "keys")

    def make(name: str) -> SignedRelease:
        description: dict[str, Any] = {
            "task": "classification",
            "classes": [f"pixel-{number}" for number in range(PIXELS)],
            "preprocessing": {"width": SIDE, "height": SIDE, "fit": "stretch", "interpolation": "area"},
            "thresholds": {"pass_below": 0.25, "reject_from": 0.75},
            "trained_at": "2026-01-01T00:00:00+00:00",
        }
        folder = home / name
        write_bundle(folder, name, description, {"model.onnx": echo_network()}, load_private_key(private))
        return SignedRelease(folder, public, read_bundle(folder, load_public_key(public)))

    return make


@pytest.fixture
def server() -> StubServer:
    return StubServer()

"""A release is run by one piece of code: batches, refusals, regions, and networks that are none."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from andon_vision import Preprocessing
from andon_vision.release_bundle import ReleaseBundle
from andon_vision.runner import ModelUnusable, ReleaseRunner
from onnx import TensorProto, helper, numpy_helper

SIDE = 16


def network(*, fixed_batch: int | None = None) -> bytes:
    """The score is the mean brightness, 0 to 1; a box around the middle half has the same score."""
    box = np.array([4, 4, 12, 12, 0, 0], np.float32)
    pick = np.array([0, 0, 0, 0, 1, 0], np.float32)
    constants = {
        "over": np.array([1, 2, 3], np.int64),
        "full": np.array(255.0, np.float32),
        "column": np.array([1], np.int64),
        "row": np.array([1, 2], np.int64),
        "heat": np.full((1, 2, 2), 255.0, np.float32),
        "box": box.reshape(1, 1, 6),
        "pick": pick.reshape(1, 1, 6),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "over"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "full"], ["defect_score"]),
        helper.make_node("Unsqueeze", ["defect_score", "column"], ["class_probabilities"]),
        helper.make_node("Unsqueeze", ["defect_score", "row"], ["score"]),
        helper.make_node("Mul", ["score", "heat"], ["warm"]),
        helper.make_node("Cast", ["warm"], ["heat_map"], to=TensorProto.UINT8),
        helper.make_node("Mul", ["score", "pick"], ["scored"]),
        helper.make_node("Add", ["scored", "box"], ["boxes"]),
    ]
    size: Any = fixed_batch or "batch"
    outputs = {
        "defect_score": (TensorProto.FLOAT, [size]),
        "class_probabilities": (TensorProto.FLOAT, [size, 1]),
        "heat_map": (TensorProto.UINT8, [size, 2, 2]),
        "boxes": (TensorProto.FLOAT, [size, 1, 6]),
    }
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [size, SIDE, SIDE, 3])],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def bundle(**description: Any) -> ReleaseBundle:
    regions = {"from": "boxes", "score_from": 0.0, "nms_iou": 0.5}
    return ReleaseBundle(
        "r-1", Preprocessing(SIDE, SIDE), ("dent",), 0.3, 0.8, {"regions": regions, **description}
    )


def picture(brightness: int, width: int = 40, height: int = 20) -> bytes:
    return bytes(cv2.imencode(".png", np.full((height, width), brightness, np.uint8))[1].tobytes())


def test_a_bad_image_spoils_nothing() -> None:
    runner = ReleaseRunner(bundle(), {"model.onnx": network()})
    bright, broken, dark = runner.read([picture(204), picture(204)[:40], picture(51)])
    assert bright.defect_score == pytest.approx(0.8) and dark.defect_score == pytest.approx(0.2)
    assert broken.refused == "truncated" and broken.heat_map is None
    (region,) = bright.regions
    assert (region.class_name, region.score) == ("dent", pytest.approx(0.8))
    # A quarter of the input to three quarters of it, in an image of 40 x 20 pixels.
    assert (region.x, region.y, region.width, region.height) == (10, 5, 20, 10)


def test_regions_of_a_part_that_passes_are_for_evaluations_only() -> None:
    files = {"model.onnx": network()}
    assert ReleaseRunner(bundle(), files).read([picture(51)])[0].regions == ()
    assert len(ReleaseRunner(bundle(), files, all_regions=True).read([picture(51)])[0].regions) == 1


def test_a_network_of_one_image_at_a_time_gets_one_at_a_time() -> None:
    runner = ReleaseRunner(bundle(max_batch=1), {"model.onnx": network(fixed_batch=1)})
    scores = [reading.defect_score for reading in runner.read([picture(51), picture(102), picture(153)])]
    assert scores == pytest.approx([0.2, 0.4, 0.6])


def test_nothing_to_read_is_no_reading() -> None:
    assert ReleaseRunner(bundle(), {"model.onnx": network()}).read([]) == []


def test_what_is_no_network_is_refused_before_a_part_comes() -> None:
    with pytest.raises(ModelUnusable, match="cannot run the network"):
        ReleaseRunner(bundle(), {"model.onnx": b"no network"})
    small = bundle()
    wrong = ReleaseRunner(
        ReleaseBundle("r-2", Preprocessing(8, 8), small.classes, 0.3, 0.8, small.description),
        {"model.onnx": network()},
    )
    with pytest.raises(ModelUnusable, match="cannot run the network"):
        wrong.warm_up()


def test_a_network_without_a_score_is_refused() -> None:
    model = onnx.load_from_string(network())
    kept = [item for item in model.graph.output if item.name != "defect_score"]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    with pytest.raises(ModelUnusable, match="no output defect_score"):
        ReleaseRunner(bundle(), {"model.onnx": model.SerializeToString()})

"""Exported models in little: the outputs of the real exporters, as functions of the picture that can be done by hand.

All of them weigh their scores by the picture's brightness, so an answer also shows how bytes became numbers: with a
scale of 1/255, a white picture is 1 and one of 51 everywhere is 0.2.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from andon_vision.release_bundle import ReleaseBundle, load_public_key, make_keys, read_bundle
from onnx import TensorProto, helper, numpy_helper
from trainer.commands.import_onnx import add_arguments, run

SIDE = 64


@dataclass
class Exported:
    """A graph in the making; each method adds a node and gives the name of its tensor."""

    opset: int = 17
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    functions: list[onnx.FunctionProto] = field(default_factory=list)

    def constant(self, name: str, value: Any, kind: Any = np.float32) -> str:
        self.weights.append(numpy_helper.from_array(np.array(value, kind), name))
        return name

    def node(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def brightness(self, picture: str, axes: Sequence[int]) -> str:
        """The picture's mean over these axes, which stay as 1."""
        return self.node("ReduceMean", [picture], "brightness", axes=list(axes), keepdims=1)

    def save(
        self,
        path: Path,
        picture: tuple[str, Sequence[int | str], int],
        outputs: Sequence[tuple[str, Sequence[int | str], int]],
    ) -> Path:
        name, shape, kind = picture
        graph = helper.make_graph(
            self.nodes,
            "exported",
            [helper.make_tensor_value_info(name, kind, shape)],
            [helper.make_tensor_value_info(name, kind, shape) for name, shape, kind in outputs],
            self.weights,
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", self.opset), helper.make_opsetid("plug.in", 1)],
            ir_version=9,
            producer_name="pytorch",
            producer_version="2.3.0",
            functions=self.functions,
        )
        helper.set_model_props(model, self.metadata)
        onnx.save(model, path)
        return path


# Centre and size in pixels, objectness, and two classes: scratch and dent.
V5_ROWS = [
    [16, 24, 16, 16, 0.9, 0.8, 0.1],
    [40, 40, 8, 8, 0.5, 0.2, 0.6],
    [60, 8, 16, 8, 0.01, 0.5, 0.5],
]


def yolo_v5(path: Path, rows: Any = V5_ROWS, **metadata: str) -> Path:
    """(1, boxes, 5 + C), a batch of one and a size that are fixed, and the raw grids that old exports carry beside."""
    made = Exported(opset=12, metadata=metadata)
    width = len(rows[0])
    weight = np.zeros(width)
    weight[4] = 1  # the objectness alone depends on the picture
    made.brightness("images", (1, 2, 3))
    light = made.node("Reshape", ["brightness", made.constant("one", [1, 1, 1], np.int64)], "light")
    share = made.node("Mul", [light, made.constant("weight", weight)], "share")
    factor = made.node("Add", [share, made.constant("rest", 1 - weight)], "factor")
    made.node("Mul", [factor, made.constant("rows", [rows])], "output0")
    made.node("Identity", [made.constant("grid", np.zeros((1, 3, 2, 2, width)))], "331")
    outputs = [
        ("output0", (1, len(rows), width), TensorProto.FLOAT),
        ("331", (1, 3, 2, 2, width), TensorProto.FLOAT),
    ]
    return made.save(path, ("images", (1, 3, SIDE, SIDE), TensorProto.FLOAT), outputs)


def yolo_v8(
    path: Path,
    scores: Any = ((0.9, 0.2), (0.6, 0.7)),
    boxes: Any = ((16, 24, 16, 16), (40, 40, 8, 8)),
    **metadata: str,
) -> Path:
    """(N, 4 + C, boxes), batch and size left open, as Ultralytics exports with dynamic=True.

    Args:
        scores: Each class's scores of all boxes.
    """
    made = Exported(metadata=metadata)
    made.brightness("images", (1, 2, 3))
    light = made.node("Squeeze", ["brightness", made.constant("last", [3], np.int64)], "light")
    scored = made.node("Mul", [light, made.constant("scores", [scores])], "scored")
    ones = made.node("Sub", [light, light], "nothing")
    placed = made.node("Add", [ones, made.constant("boxes", [np.transpose(boxes)])], "placed")
    made.node("Concat", [placed, scored], "output0", axis=1)
    shape = ("batch", 4 + len(scores), "anchors")
    return made.save(
        path,
        ("images", ("batch", 3, "height", "width"), TensorProto.FLOAT),
        [("output0", shape, TensorProto.FLOAT)],
    )


def yolo_seg(path: Path) -> Path:
    """(1, 4 + C + M, boxes) and planes (1, M, H / 4, W / 4): the first is bright left of 16, the second right of it.

    Its one find, at 8 to 24 across and 16 to 32 down, is of the second class.
    """
    known = {"task": "segment", "stride": "32", "names": "{0: 'scratch', 1: 'dent'}"}
    made = Exported(metadata=known)
    made.brightness("images", (1, 2, 3))
    light = made.node("Squeeze", ["brightness", made.constant("last", [3], np.int64)], "light")
    share = made.node(
        "Mul", [light, made.constant("weight", [[[0], [0], [0], [0], [1], [1], [0], [0]]])], "share"
    )
    factor = made.node(
        "Add", [share, made.constant("rest", [[[1], [1], [1], [1], [0], [0], [1], [1]]])], "factor"
    )
    made.node(
        "Mul", [factor, made.constant("rows", [[[16], [24], [16], [16], [0.1], [0.8], [2], [-1]]])], "output0"
    )
    planes = np.zeros((1, 2, SIDE // 4, SIDE // 4))
    planes[0, 0, :, :4] = planes[0, 1, :, 4:] = 3
    made.node("Identity", [made.constant("planes", planes)], "output1")
    outputs = [("output0", (1, 8, 1), TensorProto.FLOAT), ("output1", planes.shape, TensorProto.FLOAT)]
    return made.save(path, ("images", (1, 3, SIDE, SIDE), TensorProto.FLOAT), outputs)


def yolo_nms(path: Path, rows: Any, **metadata: str) -> Path:
    """(1, boxes, 6): corners, score, class, as Ultralytics exports with nms=True."""
    made = Exported(metadata=metadata)
    made.brightness("images", (1, 2, 3))
    light = made.node("Squeeze", ["brightness", made.constant("last", [3], np.int64)], "light")
    share = made.node("Mul", [light, made.constant("weight", [0, 0, 0, 0, 1, 0])], "share")
    factor = made.node("Add", [share, made.constant("rest", [1, 1, 1, 1, 0, 1])], "factor")
    made.node("Mul", [factor, made.constant("rows", [rows])], "output0")
    return made.save(
        path,
        ("images", (1, 3, SIDE, SIDE), TensorProto.FLOAT),
        [("output0", (1, len(rows), 6), TensorProto.FLOAT)],
    )


def mask_rcnn(
    path: Path, *, masked: bool = True, labels: Sequence[int] = (2, 1), pasted: bool = True
) -> Path:
    """Lists for one picture without a batch, of any length: a find dimmer than 0.05 is left out.

    A find of score 0.8 at 8 to 24 across and down, the left half of whose box is its mask; one of 0.4 at 32 to 48.
    """
    made = Exported(opset=11)
    planes = np.zeros((2, 1, SIDE, SIDE) if pasted else (2, 1, 28, 28))
    planes[0, 0, 8:24, 8:16], planes[1, 0, 32:48, 32:48] = 1.0, 0.5
    made.brightness("images_tensors", (0, 1, 2))
    light = made.node("Reshape", ["brightness", made.constant("one", [1], np.int64)], "light")
    scored = made.node("Mul", [light, made.constant("all.scores", [0.8, 0.4])], "scored")
    seen = made.node("Greater", [scored, made.constant("least", 0.05)], "seen")
    lists = {
        "boxes": (
            made.constant("all.boxes", [[8, 8, 24, 24], [32, 32, 48, 48]]),
            ("D", 4),
            TensorProto.FLOAT,
        ),
        "labels": (made.constant("all.labels", labels, np.int64), ("D",), TensorProto.INT64),
        "scores": (scored, ("D",), TensorProto.FLOAT),
    }
    if masked:
        lists["masks"] = (made.constant("all.masks", planes), ("D", 1, "H", "W"), TensorProto.FLOAT)
    for name, (source, _, _) in lists.items():
        made.node("Compress", [source, seen], name, axis=0)
    return made.save(
        path,
        ("images_tensors", (3, "height", "width"), TensorProto.FLOAT),
        [(name, shape, kind) for name, (_, shape, kind) in lists.items()],
    )


def anomalib_2(path: Path) -> Path:
    """Normalised: the map is the picture's own brightness, the score its highest value; labels and masks beside."""
    made = Exported(opset=14)
    made.node("ReduceMean", ["input"], "anomaly_map", axes=[1], keepdims=1)
    highest = made.node("ReduceMax", ["anomaly_map"], "highest", axes=[2, 3], keepdims=0)
    made.node("Identity", [highest], "pred_score")
    half = made.constant("half", 0.5)
    made.node("Greater", ["pred_score", half], "pred_label")
    made.node("Greater", ["anomaly_map", half], "pred_mask")
    batch = "batch_size"
    return made.save(
        path,
        ("input", (batch, 3, SIDE, SIDE), TensorProto.FLOAT),
        [
            ("pred_score", (batch, 1), TensorProto.FLOAT),
            ("pred_label", (batch, 1), TensorProto.BOOL),
            ("anomaly_map", (batch, 1, SIDE, SIDE), TensorProto.FLOAT),
            ("pred_mask", (batch, 1, SIDE, SIDE), TensorProto.BOOL),
        ],
    )


def anomalib_1(path: Path, *, factor: float = 40.0, scored: bool = False) -> Path:
    """One output named `output`, the map on a scale of its own; some models have a nameless score behind it."""
    made = Exported(opset=11)
    made.node("ReduceMean", ["input"], "mean", axes=[1], keepdims=1)
    made.node("Mul", ["mean", made.constant("factor", factor)], "output")
    outputs = [("output", ("batch_size", 1, SIDE, SIDE), TensorProto.FLOAT)]
    if scored:
        made.node("ReduceMean", ["output"], "512", axes=[1, 2, 3], keepdims=0)
        outputs.append(("512", ("batch_size",), TensorProto.FLOAT))
    return made.save(path, ("input", ("batch_size", 3, SIDE, SIDE), TensorProto.FLOAT), outputs)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Signing and verifying key."""
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def exported() -> SimpleNamespace:
    """The exporters by name."""
    makers = (Exported, yolo_v5, yolo_v8, yolo_seg, yolo_nms, mask_rcnn, anomalib_1, anomalib_2)
    return SimpleNamespace(SIDE=SIDE, V5_ROWS=V5_ROWS, **{maker.__name__: maker for maker in makers})


@dataclass(frozen=True)
class Imported:
    """A release that the command wrote."""

    folder: Path
    bundle: ReleaseBundle
    summary: dict[str, Any]

    def answers(self, *pictures: np.ndarray) -> dict[str, np.ndarray]:
        """The graph's outputs by name for pictures of its input's size."""
        session = onnxruntime.InferenceSession(self.folder / "model.onnx")
        names = [item.name for item in session.get_outputs()]
        return dict(zip(names, session.run(names, {"image": np.stack(pictures)}), strict=True))


@pytest.fixture
def imports(
    tmp_path: Path, keys: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> Callable[..., Imported]:
    """Runs `import-onnx` on a model with these words behind it."""

    def run_it(model: Path, *words: str, licence: str | None = "MIT") -> Imported:
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        always = [
            "--model",
            str(model),
            "--out",
            str(tmp_path / "out"),
            "--release",
            "bought",
            "--key",
            str(keys[0]),
        ]
        said = [] if licence is None else ["--licence", licence]
        run(parser.parse_args([*always, *said, *words]))
        summary = json.loads(capsys.readouterr().out)
        folder = Path(summary["folder"])
        return Imported(folder, read_bundle(folder, load_public_key(keys[1])), summary)

    return run_it

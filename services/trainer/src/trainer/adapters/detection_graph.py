"""Builds a detection release, the frozen backbone and the head in one graph, and asks it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from andon_vision import Preprocessing, decode_image, frame_of
from andon_vision.regions import Region, read_regions
from jax2onnx import to_onnx
from onnx import TensorProto, helper

from trainer.adapters.backbone import OPSET, levels_of
from trainer.adapters.detection_head import LEVELS, MOST_ROWS, Calibrations, Detector, answers_of
from trainer.adapters.detection_turns import turned
from trainer.adapters.features import BATCH, open_session
from trainer.adapters.heads import Pixels, behind
from trainer.adapters.maps import STRIDES, even_light
from trainer.adapters.release_graph import CELL, CLASS_PROBABILITIES, DEFECT_SCORE, HEAT_MAP
from trainer.domain.calibration import Platt

BOXES: Final = "boxes"
NMS_IOU: Final = 0.45
PLAIN: Final = Platt(1.0, 0.0)

Outputs = Mapping[str, npt.NDArray[Any]]


def build_detection_release(
    backbone: onnx.ModelProto, detector: Detector, calibrations: Calibrations
) -> onnx.ModelProto:
    """The release's graph. Beside the outputs of any release `boxes`, (N, rows, 6): x1, y1, x2, y2, score, class."""
    width, height, classes = detector.width, detector.height, detector.head.classes
    channels = {level.name: count for level, count in levels_of(backbone)}
    inputs = {
        f"map.{name}": (height // STRIDES[name], width // STRIDES[name], channels[name]) for name in LEVELS
    }
    rows = min(MOST_ROWS, len(detector.points.at) * classes)
    cells: list[str | int] = ["batch", height // CELL, width // CELL]
    outputs = [
        helper.make_tensor_value_info(DEFECT_SCORE, TensorProto.FLOAT, ["batch"]),
        helper.make_tensor_value_info(CLASS_PROBABILITIES, TensorProto.FLOAT, ["batch", classes]),
        helper.make_tensor_value_info(HEAT_MAP, TensorProto.UINT8, cells),
        helper.make_tensor_value_info(BOXES, TensorProto.FLOAT, ["batch", rows, 6]),
    ]
    taps = {f"map.{name}": name for name in LEVELS}
    head = _exported(detector, calibrations, inputs, [item.name for item in outputs])
    return behind(even_light(turned(backbone, detector.turns)), head, taps, width, height, outputs)


def _exported(
    detector: Detector,
    calibrations: Calibrations,
    inputs: Mapping[str, tuple[int, int, int]],
    outputs: Sequence[str],
) -> onnx.ModelProto:
    """The head as a graph of maps of N images in each turn, N x C x h x w."""
    model = to_onnx(
        answers_of(detector, calibrations),
        [(f"{len(detector.turns)}*N", *shape) for shape in inputs.values()],
        model_name="head",
        opset=OPSET,
        inputs_as_nchw=list(range(len(inputs))),
        input_names=list(inputs),
        output_names=list(outputs),
    )
    if not isinstance(model, onnx.ModelProto):
        raise TypeError(f"the exporter gave a {type(model).__name__}")
    return model


def ask(graph: onnx.ModelProto, pictures: Iterable[Pixels]) -> Outputs:
    """All outputs of a release for prepared pictures, (H, W, 3), by name."""
    session = open_session(graph.SerializeToString(), threads=2)
    names = [item.name for item in session.get_outputs()]
    found = [session.run(names, {"image": np.stack(batch)}) for batch in _batches(pictures)]
    return {name: np.concatenate([answers[at] for answers in found]) for at, name in enumerate(names)}


def uncalibrated(classes: Sequence[str]) -> Calibrations:
    """Class probabilities that are the surest point's own scores."""
    return Calibrations((PLAIN,) * len(classes), None)


def read_from(score: float) -> dict[str, Any]:
    """What the description's `regions` says: boxes from this score on."""
    return {"from": BOXES, "score_from": score, "nms_iou": NMS_IOU}


def regions_of(
    outputs: Outputs,
    images: Sequence[bytes],
    classes: Sequence[str],
    regions: Mapping[str, Any],
    spec: Preprocessing,
) -> list[list[Region]]:
    """What a reader makes of a release's answers, by the description's `regions`."""
    found = []
    for at, data in enumerate(images):
        height, width = decode_image(data).pixels.shape[:2]
        own = {name: values[at] for name, values in outputs.items()}
        score = float(own[DEFECT_SCORE])
        found.append(read_regions(own, classes, regions, frame_of(width, height, spec), score))
    return found


def _batches(pictures: Iterable[Pixels]) -> Iterator[list[Pixels]]:
    rest = iter(pictures)
    while batch := list(islice(rest, BATCH)):
        yield batch

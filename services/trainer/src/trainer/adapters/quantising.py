"""Makes smaller networks of a finished one: 8-bit integers, calibrated on images or not, and 16-bit floats.

What the head computes is left as it is: it costs next to nothing, and its calibration would not survive the rounding.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

Images = Sequence[npt.NDArray[np.uint8]]
"""Pixels as the release's graph wants them, each H x W x 3."""

IMAGE: Final = "image"
HEAVY: Final = ("Conv",)
"""Operators that are worth it: nearly all of the time is spent in them."""
BATCH: Final = 8


class _Shown(CalibrationDataReader):  # type: ignore[misc]
    """Shows the calibration images to the network."""

    def __init__(self, images: Images) -> None:
        self._batches: Iterator[npt.NDArray[np.uint8]] = (
            np.stack(images[start : start + BATCH]) for start in range(0, len(images), BATCH)
        )

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        return None if batch is None else {IMAGE: batch}


def to_int8(model: onnx.ModelProto, images: Images) -> onnx.ModelProto:
    """Weights and activations of the convolutions in 8 bits (QDQ), by the ranges that `images` give them.

    The images must be of the training side: what is measured later may not have shaped the network.
    """
    with tempfile.TemporaryDirectory() as folder:
        plain, small = Path(folder) / "plain.onnx", Path(folder) / "int8.onnx"
        _prepared(model, plain)
        quantize_static(
            plain,
            small,
            _Shown(images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(HEAVY),
            nodes_to_exclude=_head_of(onnx.load(plain)),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        return onnx.load(small)


def to_dynamic_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """Weights in 8 bits; the range of the activations is looked up anew for each image."""
    with tempfile.TemporaryDirectory() as folder:
        plain, small = Path(folder) / "plain.onnx", Path(folder) / "int8.onnx"
        _prepared(model, plain)
        quantize_dynamic(
            plain,
            small,
            op_types_to_quantize=list(HEAVY),
            nodes_to_exclude=_head_of(onnx.load(plain)),
            per_channel=True,
            weight_type=QuantType.QUInt8,
        )
        return onnx.load(small)


def to_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """All floats in 16 bits; what goes in and comes out keeps its type."""
    half: onnx.ModelProto = convert_float_to_float16(model, keep_io_types=True)
    return half


def _prepared(model: onnx.ModelProto, path: Path) -> None:
    """The network with its shapes worked out and its normalisations folded, as quantisation wants it."""
    source = path.with_suffix(".source.onnx")
    onnx.save(model, source)
    quant_pre_process(source, path, skip_symbolic_shape=True)


def _head_of(model: onnx.ModelProto) -> list[str]:
    """The operators behind the backbone: those that no other heavy operator builds on."""
    feeds: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            feeds.setdefault(name, []).append(node)
    leads_on: set[str] = set()
    for node in reversed(model.graph.node):
        after = [other for name in node.output for other in feeds.get(name, [])]
        if any(other.op_type in HEAVY or other.name in leads_on for other in after):
            leads_on.add(node.name)
    return [node.name for node in model.graph.node if node.op_type in HEAVY and node.name not in leads_on]

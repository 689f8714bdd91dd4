"""Builds a segmentation release: the frozen backbone, the picture itself and the decoder in one graph."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from trainer.adapters.heads import behind, exported
from trainer.adapters.release_graph import CELL
from trainer.adapters.segmentation_head import LEVELS, PLANES, STRIDE, answers_of
from trainer.adapters.segmentation_learning import Segmenter
from trainer.domain.calibration import Platt

STRIDES = {"level4": 8, "level7": 16, "level10": 16, "level14": 32, "level15": 32, PLANES: 1}


def build_segmentation_release(
    backbone: onnx.ModelProto, segmenter: Segmenter, platt: Platt, width: int, height: int, classes: int
) -> onnx.ModelProto:
    """The release's graph; `masks` are (N, classes, height / 4, width / 4) of 8 bits."""
    channels = _channels(backbone)
    taps = {f"map.{name}": name for name in (*LEVELS, PLANES)}
    inputs = {
        tap: (height // STRIDES[name], width // STRIDES[name], channels[name]) for tap, name in taps.items()
    }
    outputs = [
        helper.make_tensor_value_info("defect_score", TensorProto.FLOAT, ["batch"]),
        helper.make_tensor_value_info("class_probabilities", TensorProto.FLOAT, ["batch", classes]),
        helper.make_tensor_value_info(
            "heat_map", TensorProto.UINT8, ["batch", height // CELL, width // CELL]
        ),
        helper.make_tensor_value_info(
            "masks", TensorProto.UINT8, ["batch", classes, height // STRIDE, width // STRIDE]
        ),
    ]
    head = exported(
        answers_of(segmenter.decoder, segmenter.parameters, platt), inputs, [item.name for item in outputs]
    )
    return behind(backbone, head, taps, width, height, outputs)


def _channels(backbone: onnx.ModelProto) -> dict[str, int]:
    kernels = {item.name: item for item in backbone.graph.initializer}
    found = {
        name: int(kernels[f"block{name.removeprefix('level')}.project.kernel"].dims[0]) for name in LEVELS
    }
    return found | {PLANES: 3}

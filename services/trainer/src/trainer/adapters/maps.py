"""Runs the backbone for its maps instead of its pooled features, on images brought to one brightness and contrast."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from andon_vision import Preprocessing, decode_image, prepare_pixels
from onnx import TensorProto, helper

from trainer.adapters.backbone import GraphWriter, levels_of
from trainer.adapters.features import BATCH, open_session

MIDDLE, CONTRAST = 127.0, 45.0
_LIT = "image.lit"
STRIDES = {"level4": 8, "level7": 16, "level10": 16, "level14": 32, "level15": 32}
"""Pixels of the input from one position of a layer to the next."""


def even_light(backbone: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the backbone that first brings each image to mean 127 and standard deviation 45 of 255.

    The same part under another exposure must not be an anomaly.
    """
    model = onnx.ModelProto()
    model.CopyFrom(backbone)
    graph = GraphWriter({})
    axes = graph.constant("lit.axes", np.array([1, 2, 3], np.int64))
    mean = graph.node("ReduceMean", ["image.float", axes], "lit.mean")
    centred = graph.node("Sub", ["image.float", mean], "lit.centred")
    squared = graph.node("Mul", [centred, centred], "lit.squared")
    spread = graph.node("Sqrt", [graph.node("ReduceMean", [squared, axes], "lit.variance")], "lit.std")
    # An even image has no contrast to stretch.
    safe = graph.node("Add", [spread, graph.constant("lit.one", np.float32(1))], "lit.safe")
    even = graph.node("Div", [centred, safe], "lit.even")
    stretched = graph.node("Mul", [even, graph.constant("lit.contrast", np.float32(CONTRAST))], "lit.wide")
    raised = graph.node("Add", [stretched, graph.constant("lit.middle", np.float32(MIDDLE))], "lit.raised")
    limits = [graph.constant("lit.black", np.float32(0)), graph.constant("lit.white", np.float32(255))]
    graph.node("Clip", [raised, *limits], _LIT)
    nodes = list(model.graph.node)
    first = next(at for at, node in enumerate(nodes) if node.output[0] == "image.float")
    for node in nodes[first + 1 :]:
        node.input[:] = [_LIT if name == "image.float" else name for name in node.input]
    ordered = [*nodes[: first + 1], *graph.nodes, *nodes[first + 1 :]]
    del model.graph.node[:]
    model.graph.node.extend(ordered)
    model.graph.initializer.extend(graph.initializers)
    return model


class MapExtractor:
    """Maps of some levels of a backbone (see `even_light`)."""

    def __init__(self, backbone: Path, levels: Sequence[str], *, threads: int = 2) -> None:
        model = even_light(onnx.load(str(backbone)))
        maps = {level.name: level.map for level, _ in levels_of(model)}
        self._names = list(levels)
        self._tensors = [maps[name] for name in levels]
        del model.graph.output[:]
        model.graph.output.extend(
            helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None) for tensor in self._tensors
        )
        self._session = open_session(model.SerializeToString(), threads)

    def maps(
        self, images: Sequence[bytes], preprocessing: Preprocessing
    ) -> dict[str, npt.NDArray[np.float16]]:
        """(images, height, width, channels) of each level; 16 bits, because a set's maps are gigabytes otherwise."""
        parts: dict[str, list[npt.NDArray[np.float16]]] = {name: [] for name in self._names}
        for start in range(0, len(images), BATCH):
            batch = [
                prepare_pixels(decode_image(data).pixels, preprocessing)
                for data in images[start : start + BATCH]
            ]
            found = self._session.run(self._tensors, {"image": np.stack(batch)})
            for name, result in zip(self._names, found, strict=True):
                parts[name].append(result.transpose(0, 2, 3, 1).astype(np.float16))
        return {name: np.concatenate(chunks) for name, chunks in parts.items()}

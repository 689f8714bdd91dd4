"""A kernel machine's score and heat map in the release's graph.

Its score is no mean over positions, so the heat map is of first order: near this image the machine is a linear head,
whose weights are the gradient of the score. Means and spreads share out over positions as they do for a linear head; a
maximum's share goes to the positions where it was reached. All shares together are the gradient times how far the
features are from what they are on average.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from trainer.adapters.backbone import GraphWriter, levels_of
from trainer.adapters.maxima import RICH, maxima_of
from trainer.domain.head import LIMIT, Kernel

GRADIENT = "defect.gradient"


def add_kernel(graph: GraphWriter, kernel: Kernel) -> str:
    """The raw scores, N x 1; leaves the gradient by the features (N x features) as `GRADIENT`."""
    size = np.float32(kernel.support.shape[1])
    last, low, high = (
        graph.constant("kernel.last", np.array([1], np.int64)),
        graph.constant("kernel.low", np.float32(-LIMIT)),
        graph.constant("kernel.high", np.float32(LIMIT)),
    )
    scale = graph.constant("kernel.scale", kernel.scale)
    moved = graph.node("Sub", [RICH, graph.constant("kernel.mean", kernel.mean)], "kernel.moved")
    wide = graph.node("Mul", [moved, scale], "kernel.wide")
    asked = graph.node("Clip", [wide, low, high], "kernel.asked")
    # 16 bits halve the release; `fit_kernel` has rounded the vectors to them.
    stored = graph.constant("kernel.stored", kernel.support.astype(np.float16))
    support = graph.node("Cast", [stored], "kernel.support", to=TensorProto.FLOAT)
    own = graph.constant("kernel.own", (kernel.support**2).sum(axis=1))
    products = graph.node("Gemm", [asked, support, own], "kernel.products", transB=1, alpha=-2.0)
    squares = graph.node("Mul", [asked, asked], "kernel.squares")
    length = graph.node("ReduceSum", [squares, last], "kernel.length", keepdims=1)
    squared = graph.node("Add", [products, length], "kernel.squared")
    apart = graph.node("Max", [squared, graph.constant("kernel.floor", np.float32(0))], "kernel.apart")
    width = graph.constant("kernel.width", np.float32(-kernel.width) / size)
    near = graph.node("Exp", [graph.node("Mul", [apart, width], "kernel.exponent")], "kernel.near")
    weighted = graph.node("Mul", [near, graph.constant("kernel.weights", kernel.weights)], "kernel.weighted")
    total = graph.node("ReduceSum", [weighted, last], "kernel.total", keepdims=1)
    pull = graph.node("MatMul", [weighted, support], "kernel.pull")
    own_pull = graph.node("Mul", [asked, total], "kernel.own-pull")
    slope = graph.node("Sub", [pull, own_pull], "kernel.slope")
    inside = graph.node("Cast", [graph.node("Equal", [wide, asked], "kernel.free")], "kernel.inside", to=1)
    factor = graph.constant("kernel.factor", kernel.scale * np.float32(2 * kernel.width) / size)
    free = graph.node("Mul", [slope, inside], "kernel.slope.inside")
    graph.node("Mul", [free, factor], GRADIENT)
    return graph.node("Add", [total, graph.constant("kernel.bias", kernel.bias)], "kernel.score")


def add_shares(graph: GraphWriter, backbone: onnx.ModelProto, kernel: Kernel, cells: str) -> list[str]:
    """Each tensor's share of the score by position, N x 1 x H/8 x W/8, all to be summed."""
    sources = []
    for level, channels in levels_of(backbone):
        sources.append((level.map, channels))
        if level.squared is not None and level.std is not None:
            # The mean of (x - mean)^2 / std over all positions is the std itself.
            sources.append((graph.node("Div", [level.squared, level.std], f"{level.name}.spread"), channels))
    plain = len(sources)
    sources += [(name, channels) for name, channels in maxima_of(backbone)]
    shares, at = [], 0
    for number, (tensor, channels) in enumerate(sources):
        part = _Part(graph, f"kernel.share{number}", at, channels, kernel)
        share = part.of_mean(tensor) if number < plain else part.of_maximum(tensor)
        shares.append(
            graph.node(
                "Resize",
                [share, "", "", cells],
                f"{part.name}.resized",
                mode="linear",
                axes=[2, 3],
                coordinate_transformation_mode="half_pixel",
            )
        )
        at += channels
    return shares


class _Part:
    """The features from `at` on: their gradient as (N, channels, 1, 1), and what they are on average."""

    def __init__(self, graph: GraphWriter, name: str, at: int, channels: int, kernel: Kernel) -> None:
        self._graph, self.name = graph, name
        bounds = [
            graph.constant(f"{name}.{end}", np.array([value], np.int64))
            for end, value in (("from", at), ("to", at + channels), ("axis", 1))
        ]
        sliced = graph.node("Slice", [GRADIENT, *bounds], f"{name}.gradient")
        planes = graph.constant(f"{name}.planes", np.array([2, 3], np.int64))
        self._gradient = graph.node("Unsqueeze", [sliced, planes], f"{name}.slope")
        self._axes = planes
        self._channel = graph.constant(f"{name}.channel", np.array([1], np.int64))
        usual = kernel.mean[at : at + channels][:, None, None]
        self._usual = graph.constant(f"{name}.usual", usual)

    def of_mean(self, tensor: str) -> str:
        """A mean of `tensor` over positions."""
        moved = self._graph.node("Sub", [tensor, self._usual], f"{self.name}.moved")
        return self._weighed(moved)

    def of_maximum(self, tensor: str) -> str:
        """Its maximum: shared by the positions that reached it."""
        graph, name = self._graph, self.name
        best = graph.node("ReduceMax", [tensor, self._axes], f"{name}.best", keepdims=1)
        reached = graph.node(
            "Cast", [graph.node("Equal", [tensor, best], f"{name}.at")], f"{name}.mask", to=1
        )
        share = graph.node("ReduceMean", [reached, self._axes], f"{name}.spread", keepdims=1)
        gain = graph.node("Sub", [best, self._usual], f"{name}.gain")
        each = graph.node("Div", [gain, share], f"{name}.each")
        return self._weighed(graph.node("Mul", [reached, each], f"{name}.placed"))

    def _weighed(self, tensor: str) -> str:
        weighed = self._graph.node("Mul", [tensor, self._gradient], f"{self.name}.weighed")
        return self._graph.node("ReduceSum", [weighed, self._channel], self.name, keepdims=1)

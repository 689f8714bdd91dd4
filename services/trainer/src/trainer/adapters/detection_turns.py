"""The detector looks at an image in each of its quarter turns, and what it says is averaged.

A surface has no upright, but the backbone's view of it has: each turn is a second opinion. Where the input is not
square only half a turn fits into it.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import onnx
from jax import Array

from trainer.adapters.backbone import GraphWriter
from trainer.domain.detection import Level, turned_points

IMAGE, VIEWS = "image", "image.views"


def turns_of(width: int, height: int) -> tuple[int, ...]:
    """The quarter turns, counter-clockwise, that leave the size of an input as it is; the first is none."""
    return (0, 1, 2, 3) if width == height else (0, 2)


def turned(backbone: onnx.ModelProto, turns: Sequence[int]) -> onnx.ModelProto:
    """A copy whose batch behind the input holds N images in the first turn, then in the second, and so on."""
    model = onnx.ModelProto()
    model.CopyFrom(backbone)
    graph = GraphWriter({})
    back, end, rows, columns = (
        graph.constant(f"turn.number{at}", np.array([at])) for at in (-1, -(2**31), 1, 2)
    )

    def flipped(source: str, axis: str, name: str) -> str:
        return graph.node("Slice", [source, back, end, axis, back], name)

    def view(turn: int) -> str:
        source, name = IMAGE, f"{IMAGE}.turn{turn}"
        if turn % 2:
            source = graph.node("Transpose", [source], f"{name}.across", perm=[0, 2, 1, 3])
        if turn in (1, 2):
            source = flipped(source, rows, f"{name}.rows")
        return flipped(source, columns, f"{name}.columns") if turn in (2, 3) else source

    views = [view(turn) for turn in turns]
    for node in model.graph.node:
        node.input[:] = [VIEWS if name == IMAGE else name for name in node.input]
    graph.node("Concat", views, VIEWS, axis=0)
    nodes = [*graph.nodes, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(graph.initializers)
    return model


def upright(
    logits: Array, corners: Array, turns: Sequence[int], levels: Sequence[Level], width: int, height: int
) -> tuple[Array, Array]:
    """Means over the turns, as seen upright: (N, points, classes) and (N, points, 4) of (turns x N, points, ...)."""
    count = len(turns)
    by_turn = [values.reshape(count, -1, *values.shape[1:]) for values in (logits, corners)]
    found: list[list[Array]] = [[], []]
    for at, turn in enumerate(turns):
        order = turned_points(levels, width, height, turn)
        found[0].append(jnp.take(by_turn[0][at], order, axis=1))
        found[1].append(_turned_back(jnp.take(by_turn[1][at], order, axis=1), turn, width, height))
    return sum(found[0][1:], found[0][0]) / count, sum(found[1][1:], found[1][0]) / count


def _turned_back(corners: Array, turn: int, width: int, height: int) -> Array:
    """Boxes x1, y1, x2, y2 of a turned image in pixels of the upright one."""
    for left in range(turn, 0, -1):
        across = width if left % 2 else height  # of the image that is turned once less
        x1, y1, x2, y2 = (corners[..., at] for at in range(4))
        corners = jnp.stack([across - y2, x1, across - y1, x2], axis=-1)
    return corners

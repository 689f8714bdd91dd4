"""Small pieces of a graph that decoding and drawing share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto, helper

from trainer.adapters.backbone import GraphWriter


@dataclass(frozen=True, slots=True)
class Line:
    """slope x value + offset"""

    slope: float = 1.0
    offset: float = 0.0


def whole(graph: GraphWriter, *values: int) -> str:
    """A constant list of whole numbers, such as axes or a shape; each is stored once."""
    name = f"whole{''.join(f'.{value}' for value in values)}"
    if all(item.name != name for item in graph.initializers):
        graph.constant(name, np.array(values, np.int64))
    return name


def real(graph: GraphWriter, name: str, value: object) -> str:
    """A constant of 32-bit floats."""
    return graph.constant(name, np.array(value, np.float32))


def split(graph: GraphWriter, source: str, *sizes: int) -> list[str]:
    """Columns of a table, in groups of `sizes`."""
    names = [f"{source}.part{number}" for number in range(len(sizes))]
    graph.nodes.append(
        helper.make_node("Split", [source, whole(graph, *sizes)], names, name=f"{source}.split", axis=1)
    )
    return names


def on_line(graph: GraphWriter, source: str, line: Line, name: str) -> str:
    """The value of a line, element by element."""
    scaled = graph.node("Mul", [source, real(graph, f"{name}.slope", line.slope)], f"{name}.scaled")
    return graph.node("Add", [scaled, real(graph, f"{name}.offset", line.offset)], name)


def touched(graph: GraphWriter, low: str, high: str, cells: int, cell: int, name: str) -> str:
    """(boxes, cells) of 0 and 1: whether a box reaches into a cell of `cell` pixels along one axis."""
    edges = np.arange(cells, dtype=np.float32) * cell
    begun = graph.node("Less", [low, real(graph, f"{name}.ends", edges + cell)], f"{name}.begun")
    lasting = graph.node("Greater", [high, real(graph, f"{name}.starts", edges)], f"{name}.lasting")
    both = graph.node("And", [begun, lasting], f"{name}.both")
    return graph.node("Cast", [both], name, to=TensorProto.FLOAT)


def crossed(graph: GraphWriter, down: str, across: str, name: str) -> str:
    """(boxes, rows) and (boxes, columns) to their products, (boxes, rows, columns)."""
    rows = graph.node("Unsqueeze", [down, whole(graph, 2)], f"{name}.rows")
    columns = graph.node("Unsqueeze", [across, whole(graph, 1)], f"{name}.columns")
    return graph.node("Mul", [rows, columns], name)

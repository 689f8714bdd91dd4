"""The flow of the images as an inline SVG: bands as wide as the number of images that went that way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True, slots=True)
class Flow:
    """So many images went from one node to another; a node is (column, name)."""

    source: tuple[int, str]
    target: tuple[int, str]
    count: int


GREY = "#94a3b8"

_WIDTH, _HEIGHT, _BAR, _GAP, _TOP = 980, 360, 12, 22, 26


def draw(flows: Sequence[Flow], colours: dict[str, str]) -> str:
    """An SVG of the flows. Node colours by name; unknown names are grey."""
    flows = [flow for flow in flows if flow.count > 0]
    if not flows:
        return ""
    into: dict[tuple[int, str], int] = defaultdict(int)
    out: dict[tuple[int, str], int] = defaultdict(int)
    for flow in flows:
        out[flow.source] += flow.count
        into[flow.target] += flow.count
    size = {node: max(into[node], out[node]) for node in [*out, *into]}
    columns: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for node in size:
        columns[node[0]].append(node)
    most = max(sum(size[n] for n in nodes) for nodes in columns.values())
    tallest = max(len(nodes) for nodes in columns.values())
    scale = (_HEIGHT - _TOP - _GAP * (tallest - 1)) / most
    last = max(columns)
    place: dict[tuple[int, str], tuple[float, float]] = {}
    for column, nodes in columns.items():
        y = float(_TOP)
        x = column * (_WIDTH - 150 - _BAR) / max(1, last)
        for node in sorted(nodes, key=lambda n: (_order(n[1], colours), n[1])):
            place[node] = (x, y)
            y += size[node] * scale + _GAP
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + 20}" role="img" aria-label="Flow of the images" class="flow">'
    ]
    left: dict[tuple[int, str], float] = defaultdict(float)
    right: dict[tuple[int, str], float] = defaultdict(float)
    for flow in sorted(flows, key=lambda f: (place[f.source][1], place[f.target][1])):
        thick = flow.count * scale
        x0, y0 = place[flow.source][0] + _BAR, place[flow.source][1] + right[flow.source]
        x1, y1 = place[flow.target][0], place[flow.target][1] + left[flow.target]
        right[flow.source] += thick
        left[flow.target] += thick
        middle = (x0 + x1) / 2
        parts.append(
            f'<path d="M{x0:.1f},{y0:.1f} C{middle:.1f},{y0:.1f} {middle:.1f},{y1:.1f} {x1:.1f},{y1:.1f} '
            f"L{x1:.1f},{y1 + thick:.1f} C{middle:.1f},{y1 + thick:.1f} {middle:.1f},{y0 + thick:.1f} "
            f'{x0:.1f},{y0 + thick:.1f} Z" fill="{colours.get(flow.target[1], GREY)}" fill-opacity=".28">'
            f"<title>{escape(flow.source[1])} to {escape(flow.target[1])}: {flow.count}</title></path>"
        )
    for node, (x, y) in place.items():
        tall = max(2.0, size[node] * scale)
        colour = colours.get(node[1], GREY)
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{_BAR}" height="{tall:.1f}" rx="2" fill="{colour}"/>'
        )
        parts.append(
            f'<text x="{x + _BAR + 6:.1f}" y="{y + min(tall / 2, 40) + 4:.1f}">'
            f'<tspan class="n">{size[node]:,}</tspan> {escape(node[1])}</text>'
        )
    parts.append("</svg>")
    return "".join(parts)


def _order(name: str, colours: dict[str, str]) -> int:
    names = list(colours)
    return names.index(name) if name in names else len(names)

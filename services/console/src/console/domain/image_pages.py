"""Images as people look them up: by what they are, with all that was said of them, and what that means today."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from console.domain.regions import COLOURS, SCREEN, Overlay, Point, Shown, measures
from console.domain.words import sentence

SEGMENTS = {
    "normal": "Normal",
    "known-defect": "Known defect",
    "rare-defect": "Rare defect",
    "edge-case": "Edge case",
    "holdout": "Holdout",
}
"""What an image can be there for."""

EDGES = {
    "lighting": "Lighting",
    "angle": "Angle",
    "occlusion": "Something before it",
    "material": "Material",
    "hard-negative": "Looks like a defect, is none",
}
"""Kinds of edge cases."""

ORIGINS = {"person": "by hand", "model": "proposed by a model", "import": "imported"}
DECISIONS = {
    "approved": ("Approved", "pass"),
    "sent-back": ("Sent back", "rework"),
    "superseded": ("Replaced", "pending"),
}
"""What became of an annotation, in words, and its tone."""


def said(annotation: Mapping[str, Any]) -> str:
    """An annotation in a few words."""
    if annotation["verdict"] != "labeled":
        return sentence(annotation["verdict"])
    names = dict.fromkeys([*annotation["classes"], *(shape["class_name"] for shape in annotation["shapes"])])
    return ", ".join(map(sentence, names)) or "Nothing named"


def standing(item: Mapping[str, Any]) -> tuple[str, str]:
    """What holds of an annotation: its last decision, in words, and its tone."""
    if not item["decisions"]:
        return ("Proposal", "pending") if item["origin"] == "model" else ("Not decided", "route-to-reviewer")
    last = item["decisions"][-1]["decision"]
    return DECISIONS.get(last, (sentence(last), "pending"))


def chosen(image: Mapping[str, Any], annotation_id: str) -> Mapping[str, Any] | None:
    """The annotation whose marks are shown: the one asked for, else the label in force, else the last one."""
    label, history = image["label"], image["history"]
    asked = next((one for one in history if one["annotation_id"] == annotation_id), None)
    return asked or label or (history[-1] if history else None)


def overlay(annotation: Mapping[str, Any] | None, width: int, height: int) -> Overlay | None:
    """Its marks, ready to be drawn; None where nothing is marked."""
    shapes = annotation["shapes"] if annotation else []
    if not shapes:
        return None
    names = sorted({shape["class_name"] for shape in shapes})
    found = [_shown(number, shape, names) for number, shape in enumerate(shapes, 1)]
    return Overlay(width, height, round(max(width, height) / SCREEN, 3), found)


def _shown(number: int, shape: Mapping[str, Any], names: Sequence[str]) -> Shown:
    corners, path = _drawn(shape)
    xs, ys = [x for x, _ in corners] or [0.0], [y for _, y in corners] or [0.0]
    x, y = round(min(xs), 1), round(min(ys), 1)
    width, height = round(max(xs) - x, 1), round(max(ys) - y, 1)
    points = shape.get("points") or {}
    return Shown(
        number,
        sentence(shape["class_name"]),
        "",
        names.index(shape["class_name"]) % COLOURS,
        path,
        x,
        y,
        width,
        height,
        [Point(sentence(name), round(at[0], 1), round(at[1], 1)) for name, at in points.items()],
        measures(shape.get("measurements") or {}),
        f"{sentence(shape['kind'])}, {width:.0f} × {height:.0f} px at {x:.0f}, {y:.0f}",
    )


def _drawn(shape: Mapping[str, Any]) -> tuple[list[tuple[float, float]], str]:
    """Corners of a mark, and its SVG path."""
    kind = shape["kind"]
    if kind == "box":
        x, y, width, height = shape["box"]
        return [(x, y), (x + width, y + height)], f"M{x:g} {y:g}h{width:g}v{height:g}h{-width:g}Z"
    if kind == "polygon":
        rings = [[(x, y) for x, y in ring] for ring in shape["rings"]]
        path = "".join("M" + "L".join(f"{x:g} {y:g}" for x, y in ring) + "Z" for ring in rings if ring)
        return [corner for ring in rings for corner in ring], path
    if kind == "mask":
        runs = list(_columns(shape["counts"], shape["size"][0]))
        path = "".join(f"M{x} {y}h1v{length}h-1Z" for x, y, length in runs)
        return [place for x, y, length in runs for place in ((x, y), (x + 1, y + length))], path
    places = {name: (x, y) for name, (x, y) in shape["points"].items()}
    lines = [(places[a], places[b]) for a, b in shape.get("joins") or () if a in places and b in places]
    return list(places.values()), "".join(f"M{a[0]:g} {a[1]:g}L{b[0]:g} {b[1]:g}" for a, b in lines)


def _columns(counts: str, height: int) -> Iterator[tuple[int, int, int]]:
    """Column, first row and length of each run of a mask, from COCO's compressed run lengths."""
    ends = [0]
    for length in _lengths(counts):
        ends.append(ends[-1] + length)
    for start, end in list(pairwise(ends))[1::2]:
        while start < end and height:
            column, row = divmod(start, height)
            length = min(end - start, height - row)
            yield column, row, length
            start += length


def _lengths(counts: str) -> list[int]:
    """Six bits a sign, the lowest first; from the fourth on, each is the difference to the one before the last."""
    found: list[int] = []
    value = shift = 0
    for sign in counts:
        bits = ord(sign) - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        found.append(value + found[-2] if len(found) > 2 else value)
        value = shift = 0
    return found


def meanings(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each class of a label, and its definition in the version under which it was made."""
    known = {entry["name"]: entry["definition"] for entry in found["entries"]}
    return [(name, known.get(name, "")) for name in found["classes"]]

"""CVAT for images, XML 1.1: https://docs.cvat.ai/docs/manual/advanced/xml_format/.

`group_id` says which shapes are one thing, tags are classes of the image, key points are skeletons.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from dataset_registry.domain.annotations import Box, Geometry, KeyPoints, Mask, Polygon, Ring, Shape
from dataset_registry.domain.geometry import Flaw, bounds
from dataset_registry.domain.interchange import LabelledImage, Losses, Place, Problem, Read, Vocabulary
from dataset_registry.formats import marks
from dataset_registry.formats.marks import Material
from dataset_registry.formats.writing import Part, plain
from dataset_registry.formats.xml_stream import Node, number, records

NAME = "cvat"
FILE = "annotations.xml"


def read(material: Material, files: Sequence[str]) -> Read:
    """Images of these files, one at a time. Raises Unreadable."""
    for name in files:
        with material.tree.open(name) as file:
            for node in records(file, name, ("image",)):
                yield from _image(name, node)


def _image(file: str, node: Node) -> Read:
    place = Place(file, node.line, f"image {node.attributes.get('id', '')}".strip())
    try:
        name = node.attribute("name")
        width, height = marks.whole(node.attribute("width")), marks.whole(node.attribute("height"))
    except ValueError as error:
        yield marks.trouble(place, error)
        return
    classes: list[str] = []
    shapes: list[Shape] = []
    places: list[Place] = []
    problems: list[Problem] = []
    for child in node.children:
        here = Place(file, child.line, f"{place.where} {child.tag}")
        try:
            label = child.attribute("label")
            if child.tag == "tag":
                classes.append(label)
                continue
            group = marks.whole(child.attributes.get("group_id") or "0")
            geometry = _geometry(child, width, height)
            shapes.append(marks.marked(len(shapes) + 1, label, geometry, group or None))
            places.append(here)
        except marks.UNREADABLE as error:
            problems.append(marks.trouble(here, error))
    if problems:
        yield from problems
    else:
        yield LabelledImage(
            name, width, height, tuple(classes), tuple(shapes), place=place, shape_places=tuple(places)
        )


def _geometry(node: Node, width: int, height: int) -> Geometry:
    match node.tag:
        case "box":
            left, top, right, bottom = (number(node.attribute(edge)) for edge in ("xtl", "ytl", "xbr", "ybr"))
            box = Box(left, top, right - left, bottom - top)
            angle = number(node.attributes.get("rotation") or "0")
            return turned(box, angle, left + box.width / 2, top + box.height / 2) if angle else box
        case "polygon":
            return Polygon((_points(node.attribute("points")),))
        case "mask":
            return _mask(node, width, height)
        case "points":
            places = _points(node.attribute("points"))
            return marks.key_points({str(at): point for at, point in enumerate(places, 1)})
        case "skeleton":
            named = {
                part.attribute("label"): _points(part.attribute("points"))[0]
                for part in node.all("points")
                if part.attributes.get("outside", "0") != "1"
            }
            return marks.key_points(named)
    raise Flaw(
        "unsupported-shape",
        f"A {node.tag} has no place here; convert it to a box, polygon, mask or skeleton.",
    )


def turned(box: Box, degrees: float, x: float, y: float) -> Polygon:
    """The box, turned clockwise around a point."""
    angle = math.radians(degrees)
    corners = (
        (box.x, box.y),
        (box.x + box.width, box.y),
        (box.x + box.width, box.y + box.height),
        (box.x, box.y + box.height),
    )
    around = [(left - x, top - y) for left, top in corners]
    return Polygon(
        (
            tuple(
                (
                    x + right * math.cos(angle) - down * math.sin(angle),
                    y + right * math.sin(angle) + down * math.cos(angle),
                )
                for right, down in around
            ),
        )
    )


def _points(text: str) -> Ring:
    pairs = [pair.split(",") for pair in text.split(";")]
    return tuple((number(x), number(y)) for x, y in pairs)


def _mask(node: Node, width: int, height: int) -> Mask:
    left, top, across, down = (
        marks.whole(node.attribute(side)) for side in ("left", "top", "width", "height")
    )
    if min(left, top) < 0 or min(across, down) < 1 or left + across > width or top + down > height:
        raise Flaw(
            "mask-of-another-size",
            f"The mask reaches out of the image of {width} x {height}; export it again.",
        )
    if width * height > marks.MOST_PIXELS:
        raise Flaw("size-of-image", f"{width} x {height} are too many pixels for a mask.")
    lengths = np.array([int(word) for word in node.attribute("rle").split(",")], np.int64)
    if (lengths < 0).any() or int(lengths.sum()) != across * down:
        raise Flaw("broken-mask", f"Its runs have {int(lengths.sum())} pixels, its box {across * down}.")
    whole = np.zeros((height, width), bool)
    whole[top : top + down, left : left + across] = np.repeat(
        np.arange(len(lengths)) % 2 == 1, lengths
    ).reshape(down, across)
    return marks.mask(whole)


# --- out


def write(images: Iterable[LabelledImage], words: Vocabulary, losses: Losses) -> Iterator[Part]:
    """One file with all images."""
    labels = "".join(_label(name, words) for name in words.classes)
    head = f"<annotations>\n<version>1.1</version>\n<meta><task><labels>{labels}</labels></task></meta>\n"
    yield Part(FILE, f'<?xml version="1.0" encoding="utf-8"?>\n{head}'.encode())
    for number_, image in enumerate(images):
        marks.lost(image, losses, holds=("image-class", "instance"))
        inner = [f"<tag label={quoteattr(name)}/>\n" for name in image.classes]
        inner += [_shape(shape, image, losses) for shape in image.shapes]
        opening = f'<image id="{number_}" name={quoteattr(image.name)} width="{image.width}" height="{image.height}">\n'
        yield Part(FILE, (opening + "".join(inner) + "</image>\n").encode())
    yield Part(FILE, b"</annotations>\n")


def _label(name: str, words: Vocabulary) -> str:
    if not (points := words.points.get(name)):
        return f"<label><name>{escape(name)}</name><type>any</type></label>"
    parts = "".join(
        f"<label><name>{escape(point)}</name><type>points</type><parent>{escape(name)}</parent></label>"
        for point in points
    )
    return f"<label><name>{escape(name)}</name><type>skeleton</type></label>{parts}"


def _shape(shape: Shape, image: LabelledImage, losses: Losses) -> str:
    geometry = shape.geometry
    group = f' group_id="{shape.instance}"' if shape.instance is not None else ""
    common = f'label={quoteattr(shape.class_name)} occluded="0" z_order="0"{group}'
    if isinstance(geometry, Polygon) and len(geometry.rings) > 1:
        losses.add("polygon-with-holes-as-mask")
        geometry = marks.mask(marks.pixels(geometry, image.width, image.height))
    match geometry:
        case Box(x, y, width, height):
            edges = zip(("xtl", "ytl", "xbr", "ybr"), (x, y, x + width, y + height), strict=True)
            written = " ".join(f'{name}="{plain(value)}"' for name, value in edges)
            return f"<box {common} {written}/>\n"
        case Polygon(rings):
            return f'<polygon {common} points="{_text(rings[0])}"/>\n'
        case Mask():
            return f"<mask {common} {_runs(geometry)}/>\n"
        case KeyPoints(points, joins):
            losses.add("joins", int(bool(joins)))
            parts = "".join(
                f'<points label={quoteattr(name)} outside="0" occluded="0" points="{_text((point,))}"/>'
                for name, point in points
            )
            return f"<skeleton {common}>{parts}</skeleton>\n"


def _text(points: Ring) -> str:
    return ";".join(f"{plain(x)},{plain(y)}" for x, y in points)


def _runs(mask: Mask) -> str:
    around = bounds(mask)
    left, top, width, height = (int(side) for side in (around.x, around.y, around.width, around.height))
    inside = (
        marks.pixels(mask, mask.width, mask.height)[top : top + height, left : left + width].ravel().tolist()
    )
    runs = [len(list(group)) for _, group in groupby(inside)]
    text = ", ".join(str(run) for run in ([0, *runs] if inside[0] else runs))
    return f'rle="{text}" left="{left}" top="{top}" width="{width}" height="{height}"'

"""PASCAL VOC: an XML file with boxes for each image, `Annotations/<name>.xml` beside `JPEGImages/<name>.jpg`.

Box edges are taken as they stand, as LabelImg, CVAT and Datumaro write them: `xmax - xmin` is the width. The
challenge's own files count pixels from 1 and include the last one; of these, boxes come out a pixel small.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from dataset_registry.domain.annotations import Box
from dataset_registry.domain.interchange import (
    LabelledImage,
    Losses,
    Place,
    Problem,
    Read,
    Vocabulary,
    unreadable,
)
from dataset_registry.formats import marks
from dataset_registry.formats.marks import Material
from dataset_registry.formats.writing import Part, plain, stem
from dataset_registry.formats.xml_stream import Node, number, records

NAME = "voc"
_FOLDER = re.compile(r"^(?:.*/)?annotations/", re.IGNORECASE)


def read(material: Material, files: Sequence[str]) -> Read:
    """One image for each file. Raises Unreadable."""
    for name in files:
        with material.tree.open(name) as file:
            found = list(records(file, name, ("annotation",)))
        if len(found) != 1:
            raise unreadable(
                Place(name), "not-voc", "A VOC file holds one <annotation>; name the format it has."
            )
        yield from _image(material, name, found[0])


def _image(material: Material, file: str, root: Node) -> Read:
    place, problems = Place(file, root.line), list[Problem]()
    # Files are found by the name of the XML file: <filename> is often left from an earlier name of the picture.
    own = _FOLDER.split(stem(file))[-1]
    name = _called(material, own) or root.said("filename")
    try:
        size = root.child("size")
        width, height = marks.whole(size.child("width").text), marks.whole(size.child("height").text)
    except ValueError as error:
        yield marks.trouble(place, error)
        return
    shapes, places = [], list[Place]()
    for at, node in enumerate(root.all("object"), 1):
        try:
            edges = node.child("bndbox")
            left, top, right, bottom = (
                number(edges.child(edge).text) for edge in ("xmin", "ymin", "xmax", "ymax")
            )
            places.append(Place(file, node.line, f"object {at}"))
            shapes.append(marks.marked(at, node.said("name"), Box(left, top, right - left, bottom - top)))
        except marks.UNREADABLE as error:
            problems.append(marks.trouble(Place(file, node.line, f"object {at}"), error))
    if not name:
        problems.append(
            Problem.at(place, "name-missing", "It has no <filename>, and no picture is named like it.")
        )
    if problems:
        yield from problems
    else:
        yield LabelledImage(name, width, height, (), tuple(shapes), place=place, shape_places=tuple(places))


def _called(material: Material, own: str) -> str | None:
    for suffix in (".jpg", ".png", ".jpeg", ".bmp", ".tif", ".tiff"):
        if (path := material.pictures.find(own + suffix)) is not None:
            return own + Path(path).suffix
    return None


def write(images: Iterable[LabelledImage], words: Vocabulary, losses: Losses) -> Iterator[Part]:
    """A file for each image, and the lists of images and classes; every shape as its box."""
    declared = ["# label:color_rgb:parts:actions\n", *(f"{name}:::\n" for name in words.classes)]
    yield Part("labelmap.txt", "".join(declared).encode())
    names = []
    for image in images:
        names.append(f"{stem(image.name)}\n")
        marks.lost(image, losses)
        text = [
            f"<annotation>\n  <filename>{escape(image.name)}</filename>\n"
            f"  <size><width>{image.width}</width><height>{image.height}</height><depth>3</depth></size>\n"
            "  <segmented>0</segmented>\n"
        ]
        for shape in image.shapes:
            box = marks.boxed(shape.geometry, losses)
            if box is not None:
                edges = (box.x, box.y, box.x + box.width, box.y + box.height)
                text.append(_object(shape.class_name, edges))
        yield Part(f"Annotations/{stem(image.name)}.xml", "".join([*text, "</annotation>\n"]).encode())
    yield Part("ImageSets/Main/default.txt", "".join(names).encode())


def _object(class_name: str, edges: tuple[float, ...]) -> str:
    inner = "".join(
        f"<{edge}>{plain(value)}</{edge}>"
        for edge, value in zip(("xmin", "ymin", "xmax", "ymax"), edges, strict=True)
    )
    return (
        f"  <object><name>{escape(class_name)}</name><pose>Unspecified</pose><truncated>0</truncated>"
        f"<difficult>0</difficult><bndbox>{inner}</bndbox></object>\n"
    )

"""DeepPCB's own text format: beside `<name>_test.jpg` a file `<name>.txt` with `x1 y1 x2 y2 type` on each line.

Read only. The templates (`<name>_temp.jpg`) show nothing to be labelled and are left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from dataset_registry.domain.annotations import Box, Shape
from dataset_registry.domain.geometry import Flaw
from dataset_registry.domain.interchange import LabelledImage, Place, Problem, Read
from dataset_registry.formats import marks
from dataset_registry.formats.marks import Material
from dataset_registry.formats.text import lines
from dataset_registry.formats.xml_stream import number

NAME = "deeppcb"
TEST, TEMPLATE = "_test.jpg", "_temp.jpg"
CLASSES = {"1": "open", "2": "short", "3": "mousebite", "4": "spur", "5": "spurious-copper", "6": "pin-hole"}
_BETWEEN = re.compile(r"[,\s]+")


def read(material: Material, files: Sequence[str]) -> Read:
    """An image for each tested board. Raises Unreadable."""
    texts = {path.rsplit("/", 1)[-1]: path for path in material.tree.names if path.endswith(".txt")}
    for path in material.tree.names:
        if not path.endswith(TEST):
            continue
        # The set keeps texts in a folder beside that of the pictures.
        file, size = texts.get(f"{path.removesuffix(TEST).rsplit('/', 1)[-1]}.txt"), material.size(path)
        if file is None or size is None:
            what = (
                "No text file of that name says what is on it"
                if file is None
                else "The picture cannot be read"
            )
            yield Problem(path, None, "", "file-missing", f"{what}; add it, or remove the picture.")
            continue
        shapes, places, problems = list[Shape](), list[Place](), list[Problem]()
        for at, line in lines(material.tree, file):
            try:
                left, top, right, bottom, kind = _BETWEEN.split(line)
                if kind not in CLASSES:
                    raise Flaw("unknown-class", f"Type {kind} is none of 1 to 6; correct it.")
                x, y = number(left), number(top)
                box = Box(x, y, number(right) - x, number(bottom) - y)
                shapes.append(marks.marked(len(shapes) + 1, CLASSES[kind], box))
                places.append(Place(file, at))
            except marks.UNREADABLE as error:
                problems.append(marks.trouble(Place(file, at), error))
        if problems:
            yield from problems
        else:
            yield LabelledImage(path, *size, (), tuple(shapes), place=Place(file), shape_places=tuple(places))

"""Masks as PNG, three ways.

- One for each class: `masks/<class>/<name>.png`; what is above half of white, or above 0 in a file of zeros and ones,
  is marked.
- Indexed: `masks/<name>.png` whose values are those of `classes.csv` (`index,name`); 0 is nothing.
- Beside the picture: `<class>/<name>.png` next to `<class>/<name>.jpg`; an empty one says that the class is that of the
  image as a whole.

Pictures lie in `images/`, or anywhere under the same name. A mask says nothing of instances.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt
from andon_vision.decode import DEFAULT_LIMITS, Pixels, decode_image
from andon_vision.errors import ImageRefused
from andon_vision.opencv import cv2

from dataset_registry.domain.annotations import KeyPoints, Mask, Shape
from dataset_registry.domain.geometry import Flaw
from dataset_registry.domain.interchange import (
    LabelledImage,
    Losses,
    Place,
    Problem,
    Read,
    Vocabulary,
    unreadable,
)
from dataset_registry.domain.refusals import invalid
from dataset_registry.formats import marks
from dataset_registry.formats.marks import Material
from dataset_registry.formats.text import lines
from dataset_registry.formats.trees import Tree, is_picture
from dataset_registry.formats.trees import read as read_file
from dataset_registry.formats.writing import Part, stem

EACH_CLASS, INDEXED, BESIDE = "masks", "masks-indexed", "masks-beside"
FOLDER, LIST = "masks", "classes.csv"
_MOST_INDEXED = 255


def read_each_class(material: Material, files: Sequence[str]) -> Read:
    """Images of all masks under `masks/<class>/`. Raises Unreadable."""
    found = []
    for path in _under(material.tree, FOLDER):
        class_name, _, rest = path.split(f"{FOLDER}/", 1)[1].partition("/")
        if rest:
            found.append((stem(rest), class_name, path))
    for key, group in groupby(sorted(found), lambda one: one[0]):
        yield from _image(material, key, [(path, {None: class_name}) for _, class_name, path in group])


def read_indexed(material: Material, files: Sequence[str]) -> Read:
    """Images of all masks under `masks/`, by the values of `classes.csv`. Raises Unreadable."""
    names = _names(material.tree)
    for path in _under(material.tree, FOLDER):
        yield from _image(material, stem(path.split(f"{FOLDER}/", 1)[1]), [(path, names)])


def read_beside(material: Material, files: Sequence[str]) -> Read:
    """Pictures in folders named like their class, each with its mask. Raises Unreadable."""
    there = set(material.tree.names)
    for path in material.tree.names:
        if is_picture(path) and not path.endswith(".png") and "/" in path:
            mask = f"{stem(path)}.png"
            if mask not in there:
                yield Problem(
                    path, None, "", "mask-missing", f"{mask} is not there; add it, or remove the picture."
                )
                continue
            class_name = path.split("/")[-2]
            for item in _image(material, path, [(mask, {None: class_name})]):
                if isinstance(item, LabelledImage) and not item.shapes:
                    yield LabelledImage(item.name, item.width, item.height, (class_name,), place=item.place)
                else:
                    yield item


def _image(material: Material, key: str, masks: list[tuple[str, dict[int | None, str]]]) -> Read:
    name = key if is_picture(key) else _picture(material, key)
    size = material.size(name)
    shapes, problems = list[Shape](), list[Problem]()
    for path, names in masks:
        try:
            values = _decoded(material.tree, path)
            height, width = values.shape
            if size is not None and (size.width, size.height) != (width, height):
                raise Flaw(
                    "mask-of-another-size",
                    f"The mask is {width} x {height}, the picture {name} {size.width} x {size.height}.",
                )
            size = size or marks.Size(width, height)
            for class_name, pixels in _marked(values, names):
                shapes.append(marks.marked(len(shapes) + 1, class_name, marks.mask(pixels)))
        except (*marks.UNREADABLE, ImageRefused) as error:
            problems.append(marks.trouble(Place(path), error))
    if problems or size is None:
        yield from problems
    else:
        called = name.split("images/", 1)[-1]
        yield LabelledImage(called, *size, (), tuple(shapes), place=Place(masks[0][0]))


def _picture(material: Material, key: str) -> str:
    for prefix in ("images/", ""):
        if found := material.named(prefix + key):
            return found
    return f"{key}.png"


def _decoded(tree: Tree, path: str) -> npt.NDArray[np.uint16]:
    pixels: Pixels = decode_image(read_file(tree, path, DEFAULT_LIMITS.max_bytes)).pixels
    if pixels.ndim == 3:
        if not (pixels == pixels[:, :, :1]).all():
            raise Flaw(
                "coloured-mask",
                "A mask in colours does not say which class a colour is; write one for each class.",
            )
        pixels = pixels[:, :, 0]
    return pixels.astype(np.uint16)


def _marked(
    values: npt.NDArray[np.uint16], names: dict[int | None, str]
) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    if None in names:
        pixels = values > (0 if values.max() <= 1 else 127)
        if pixels.any():
            yield names[None], pixels
        return
    for value in np.unique(values).tolist():
        if value:
            if value not in names:
                raise Flaw(
                    "unknown-class", f"The value {value} is not in {LIST}; add it, or correct the mask."
                )
            yield names[value], values == value


def _under(tree: Tree, folder: str) -> Iterator[str]:
    return (path for path in tree.names if path.endswith(".png") and folder in path.split("/")[:-1])


def _names(tree: Tree) -> dict[int | None, str]:
    for path in tree.names:
        if path.rsplit("/", 1)[-1] == LIST:
            names: dict[int | None, str] = {}
            for at, line in lines(tree, path):
                index, _, name = line.partition(",")
                if at == 1 and index == "index":
                    continue
                if not index.isdecimal() or not name:
                    raise unreadable(
                        Place(path, at), "unreadable-classes", "A line is a number, a comma and a name."
                    )
                names[int(index)] = name
            return names
    raise unreadable(Place(LIST), "classes-missing", f"No {LIST} says which value is which class; add one.")


# --- out


def write_each_class(images: Iterable[LabelledImage], words: Vocabulary, losses: Losses) -> Iterator[Part]:
    """A file for each image and class on it."""
    for image in images:
        drawn = _drawn(image, losses)
        for class_name in sorted(drawn):
            yield Part(
                f"{FOLDER}/{class_name}/{stem(image.name)}.png", _png(drawn[class_name] * np.uint8(255))
            )


def write_indexed(images: Iterable[LabelledImage], words: Vocabulary, losses: Losses) -> Iterator[Part]:
    """A file for each image, and the list of values. Raises Refused for more classes than a byte has values."""
    if len(words.classes) > _MOST_INDEXED:
        raise invalid(
            "too-many-classes",
            f"{len(words.classes)} classes do not fit in a byte; take {EACH_CLASS} instead.",
        )
    numbers = {name: at + 1 for name, at in words.number().items()}
    yield Part(LIST, "".join(["index,name\n", *(f"{at},{name}\n" for name, at in numbers.items())]).encode())
    for image in images:
        values = np.zeros((image.height, image.width), np.uint8)
        for class_name, pixels in _drawn(image, losses).items():
            losses.add("later-shape-covers", int((values[pixels] != 0).any()))
            values[pixels] = numbers[class_name]
        yield Part(f"{FOLDER}/{stem(image.name)}.png", _png(values))


def _drawn(image: LabelledImage, losses: Losses) -> dict[str, npt.NDArray[np.bool_]]:
    """Pixels by class, in the order of the shapes."""
    marks.lost(image, losses)
    drawn: dict[str, npt.NDArray[np.bool_]] = {}
    for shape in image.shapes:
        if isinstance(shape.geometry, KeyPoints):
            losses.add("key-points")
            continue
        if not isinstance(shape.geometry, Mask):
            losses.add("shape-as-mask")
        pixels = marks.pixels(shape.geometry, image.width, image.height)
        if shape.class_name in drawn:
            losses.add("shapes-of-a-class-merged")
            pixels = pixels | drawn[shape.class_name]
        drawn[shape.class_name] = pixels
    return drawn


def _png(values: npt.NDArray[np.uint8]) -> bytes:
    done, encoded = cv2.imencode(".png", values, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if not done:
        raise RuntimeError("OpenCV could not write a PNG")
    return bytes(encoded)

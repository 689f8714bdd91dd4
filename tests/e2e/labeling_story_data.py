"""What the labeling story is told with: a part of each public data set in its own format, with what its files say.

Where the folder of public sets is absent, solar cells stand in for them: `elpv-dataset`, which the demo uses too. They
have classes and no marks, so there the played people mark a place of their own.
"""

from __future__ import annotations

import csv
import io
import os
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
from andon_local import layout
from andon_vision.sources import ELPV, SourceImage, load_source

FOLDER = "ANDON_PUBLIC_DATA"
"""Names the folder of public sets; by default the one beside the checkout."""
Rectangle = tuple[float, float, float, float]
"""Left, top, width, height in pixels of the original."""


@dataclass(frozen=True)
class Picture:
    """An image as its set describes it; `mark` is where a defect is, None where the set does not say."""

    name: str
    class_name: str
    size: tuple[int, int]
    mark: Rectangle | None

    def place(self, least: float) -> Rectangle:
        """Where its defect is, not too small for a hand; the middle of the image where its set does not say."""
        across, down = self.size
        x, y, width, height = self.mark or (across / 3, down / 3, across / 3, down / 3)
        wide, high = min(max(width, least), across - 2), min(max(height, least), down - 2)
        left = min(max(1.0, x + width / 2 - wide / 2), across - 1 - wide)
        top = min(max(1.0, y + height / 2 - high / 2), down - 1 - high)
        return left, top, wide, high


@dataclass(frozen=True)
class ImageSet:
    """One import: an archive with pictures and labels.

    Attributes:
        mapping: Class names of the archive to those of the taxonomy.
    """

    source: str
    format: str
    part_number: str
    archive: bytes
    pictures: tuple[Picture, ...]
    mapping: dict[str, str] = field(default_factory=dict)

    def of(self, class_name: str) -> list[Picture]:
        """Its pictures of one class, in order."""
        return [picture for picture in self.pictures if picture.class_name == class_name]


@dataclass(frozen=True)
class Material:
    """Everything the story needs to know beforehand.

    Attributes:
        classes: The first taxonomy, the defects in the order of their keys; the good class is the first.
        split: The class that the second taxonomy divides.
        parts: What it is divided into, with a definition each.
    """

    blind: ImageSet
    single: ImageSet
    more: ImageSet
    classes: list[dict[str, Any]]
    split: str
    parts: dict[str, str]

    @property
    def sets(self) -> tuple[ImageSet, ImageSet, ImageSet]:
        return self.blind, self.single, self.more

    def defects(self, of: ImageSet) -> list[str]:
        """The defect classes of a set, in the order of their keys."""
        there = {picture.class_name for picture in of.pictures}
        return [one["name"] for one in self.classes if one["is_defect"] and one["name"] in there]


def material() -> Material:
    """The public sets, or what stands in for them, which is said in the test's output."""
    folder = Path(os.environ.get(FOLDER, layout.root().parent / "shared" / "data"))
    if folder.is_dir():
        return _public(folder)
    warnings.warn(
        f"{folder} is absent: the labeling story is told with the solar cells of elpv-dataset, not with the three"
        f" public sets. {FOLDER} names another folder.",
        stacklevel=2,
    )
    return _cells()


def _zipped(files: Iterator[tuple[str, bytes]]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in files:
            archive.writestr(name, data)
    return made.getvalue()


def _class(name: str, severity: str = "major", rule: str | None = None, **texts: str) -> dict[str, Any]:
    return {"name": name, "is_defect": True, "severity": severity, "region_rule": rule, **texts}


def _good(definition: str) -> dict[str, Any]:
    return {"name": "good", "is_defect": False, "severity": "minor", "definition": definition}


# --- the public sets

_STEEL_CLASSES = ("inclusion", "patches", "rolled-in-scale", "scratches")
_BOARD = {"1": "open", "2": "short", "3": "mousebite", "4": "spur", "5": "spurious-copper", "6": "pin-hole"}


def _public(folder: Path) -> Material:
    tiles, steel, boards = (folder / name for name in ("magnetic_tile", "neu_det", "deeppcb"))
    classes = [
        _good("Nothing that one of the defects describes."),
        _class(
            "crack",
            "critical",
            "segment",
            definition="A dark line with sharp ends that runs through the surface.",
            boundary_rule="To the last pixel that is darker than the ground around it.",
            acceptable_variation="Grinding marks: parallel, light, across the whole tile.",
            ambiguous_rule="A line that fades into a grinding mark is ambiguous: boundary.",
            escalation_path="The QA owner of the line.",
        ),
        _class(
            "blowhole",
            "major",
            "segment",
            definition="A round hole where gas came out.",
            boundary_rule="Its rim.",
        ),
        _class("break", "critical", "segment", definition="Material is missing at an edge."),
        _class("fray", "minor", "segment", definition="A rough edge from cutting."),
        _class(
            "inclusion", "major", "box", definition="Foreign matter that was rolled in, dark and drawn out."
        ),
        _class("patches", "minor", "box", definition="Areas of another brightness with a soft edge."),
        _class("rolled-in-scale", "major", "box", definition="Scale that was pressed into the strip."),
        _class("scratches", "minor", "box", definition="Bright straight lines along the strip."),
        _class("open", "critical", "box", definition="A trace is interrupted."),
        _class("short", "critical", "box", definition="Copper joins two traces."),
        _class("mousebite", "major", "box", definition="A bite out of the edge of a trace."),
        _class("spur", "minor", "box", definition="Copper sticks out of a trace."),
        _class("spurious-copper", "minor", "box", definition="Copper where none belongs."),
        _class("pin-hole", "major", "box", definition="A hole in copper."),
    ]
    return Material(
        blind=_tiles(tiles),
        single=_steel(steel),
        more=_boards(boards),
        classes=classes,
        split="crack",
        parts={
            "edge-crack": "A crack that begins at an edge of the tile.",
            "inner-crack": "A crack with both ends inside the tile.",
        },
    )


def _first(images: Sequence[SourceImage], class_name: str, count: int) -> list[SourceImage]:
    return [image for image in images if (image.classes or ("good",))[0] == class_name][:count]


def _tiles(folder: Path) -> ImageSet:
    """A mask PNG lies beside each picture; that of a good one is empty."""
    images = load_source(folder)
    wanted = {"good": 8, "crack": 4, "blowhole": 4, "break": 4, "fray": 4}
    chosen = [image for name, count in wanted.items() for image in _first(images, name, count)]

    def files() -> Iterator[tuple[str, bytes]]:
        for image in chosen:
            for path in (image.path, image.path.with_suffix(".png")):
                yield path.relative_to(folder).as_posix(), path.read_bytes()

    def pictures() -> Iterator[Picture]:
        for image in chosen:
            mask = cv2.imread(str(image.path.with_suffix(".png")), cv2.IMREAD_GRAYSCALE)
            assert mask is not None
            x, y, width, height = cv2.boundingRect((mask > 127).astype("uint8"))
            name = image.path.relative_to(folder).as_posix()
            size = (mask.shape[1], mask.shape[0])
            mark = (float(x), float(y), float(width), float(height)) if width else None
            yield Picture(name, (image.classes or ("good",))[0], size, mark)

    return ImageSet(
        "magnetic-tile",
        "masks-beside",
        "magnetic-tile",
        _zipped(files()),
        tuple(pictures()),
        {"free": "good"},
    )


def _steel(folder: Path) -> ImageSet:
    """A VOC file of each picture. Only pictures of one class are taken: people are to agree on what is on them."""
    pictures, files = list[Picture](), list[tuple[str, bytes]]()
    for class_name in _STEEL_CLASSES:
        there = [image for image in load_source(folder) if image.classes == (class_name,)]
        for image in there[:6]:
            assert image.annotation is not None
            root = ElementTree.parse(image.annotation).getroot()
            edges = [
                float(root.findtext(f"object/bndbox/{edge}", "")) for edge in ("xmin", "ymin", "xmax", "ymax")
            ]
            mark = (edges[0], edges[1], edges[2] - edges[0], edges[3] - edges[1])
            pictures.append(Picture(image.path.name, class_name, (200, 200), mark))
            files += [
                (path.relative_to(folder).as_posix(), path.read_bytes())
                for path in (image.path, image.annotation)
            ]
    return ImageSet(
        "neu-det",
        "voc",
        "hot-rolled-steel-strip",
        _zipped(iter(files)),
        tuple(pictures),
        {"rolled-in_scale": "rolled-in-scale"},
    )


def _boards(folder: Path) -> ImageSet:
    """DeepPCB's own text beside each board, several defects on each; the first one counts here."""
    with (folder / "index.csv").open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["product"] == "pcb-12000"][:12]
    pictures, files = list[Picture](), list[tuple[str, bytes]]()
    for row in rows:
        text = (folder / row["annotation_file"]).read_text()
        left, top, right, bottom, kind = text.split("\n", 1)[0].replace(",", " ").split()
        mark = (float(left), float(top), float(right) - float(left), float(bottom) - float(top))
        pictures.append(Picture(row["image"], _BOARD[kind], (640, 640), mark))
        files += [(name, (folder / name).read_bytes()) for name in (row["image"], row["annotation_file"])]
    return ImageSet("deeppcb", "deeppcb", "pcb-12000", _zipped(iter(files)), tuple(pictures))


# --- what stands in for them


def _cells() -> Material:
    classes = [
        _good("The cell glows evenly."),
        _class("dead-cell", "critical", definition="All four experts saw a defect."),
        _class("doubtful-cell", "major", definition="Most experts saw a defect, some did not."),
    ]
    by_doubt = {1.0: "dead-cell", 0.0: "good"}
    kinds: dict[str, list[SourceImage]] = {"good": [], "dead-cell": [], "doubtful-cell": []}
    for image in load_source(ELPV):
        if image.defect_probability in (0.0, 1.0) or image.is_defect:
            kinds[by_doubt.get(image.defect_probability, "doubtful-cell")].append(image)
    return Material(
        blind=_some_cells("cells-a", {name: images[:8] for name, images in kinds.items()}),
        single=_some_cells(
            "cells-b", {name: images[8:20] for name, images in kinds.items() if name != "good"}
        ),
        more=_some_cells(
            "cells-c", {name: images[20:26] for name, images in kinds.items() if name != "good"}
        ),
        classes=classes,
        split="dead-cell",
        parts={
            "broken-cell": "A part of the cell is cut off by a crack and dark.",
            "dark-cell": "The cell is dark without a crack.",
        },
    )


def _some_cells(source: str, chosen: dict[str, list[SourceImage]]) -> ImageSet:
    """A CSV with the class of each cell, 300 pixels square, beside the pictures."""
    pictures = [
        Picture(image.path.name, class_name, (300, 300), None)
        for class_name, images in chosen.items()
        for image in images
    ]
    lines = ["image,width,height,class,kind", *(f"{one.name},300,300,{one.class_name}," for one in pictures)]

    def files() -> Iterator[tuple[str, bytes]]:
        yield "annotations.csv", "\n".join([*lines, ""]).encode()
        for images in chosen.values():
            for image in images:
                yield f"images/{image.path.name}", image.read()

    return ImageSet(source, "csv", source, _zipped(files()), tuple(pictures))

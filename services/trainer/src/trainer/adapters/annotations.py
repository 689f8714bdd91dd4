"""Reads the annotation files that public data sets carry: PASCAL VOC XML, and DeepPCB's `x1 y1 x2 y2 type` lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse

from trainer.domain.snapshot import LabelledBox, SnapshotError

DEEPPCB_TYPES: Final = ("open", "short", "mousebite", "spur", "spurious-copper", "pin-hole")


def _voc(file: Path) -> Iterator[LabelledBox]:
    """Corners are pixels counted from 1, both inside the box."""
    try:
        root: Element = parse(file).getroot()
        for item in root.iter("object"):
            box = item.find("bndbox")
            if box is None:
                raise ValueError("an object without a bndbox")
            left, top, right, bottom = (
                float(box.findtext(name, "nan")) for name in ("xmin", "ymin", "xmax", "ymax")
            )
            name = (item.findtext("name") or "").strip()
            yield LabelledBox(name, left - 1, top - 1, right - left + 1, bottom - top + 1)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise SnapshotError(f"{file.name} is not a PASCAL VOC annotation: {error}") from error


def _deeppcb(file: Path) -> Iterator[LabelledBox]:
    for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1):
        try:
            left, top, right, bottom, kind = (int(part) for part in line.split())
            name = DEEPPCB_TYPES[kind - 1] if kind > 0 else ""
        except (ValueError, IndexError) as error:
            raise SnapshotError(
                f"{file.name}, line {number}: expected x1 y1 x2 y2 and a type of 1 to 6, got {line!r}"
            ) from error
        yield LabelledBox(name, left, top, right - left, bottom - top)


_READERS: Final = {".xml": _voc, ".txt": _deeppcb}
BOX_FILES: Final = frozenset(_READERS)
"""Endings of files that hold boxes; any other annotation is a mask."""


def read_boxes(file: Path) -> tuple[LabelledBox, ...]:
    """The boxes of one image. Raises `SnapshotError` for a file that is not what its ending says."""
    boxes = tuple(_READERS[file.suffix.lower()](file))
    for box in boxes:
        if not box.class_name or not (box.width > 0 and box.height > 0):
            raise SnapshotError(f"{file.name} holds a box without a class or without an area: {box}")
    return boxes

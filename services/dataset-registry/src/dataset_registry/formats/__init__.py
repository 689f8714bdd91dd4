"""File formats in and out: readers that stream an archive, writers that stream one, and which is which."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from dataset_registry.domain.interchange import (
    LabelledImage,
    Losses,
    Place,
    Read,
    Unreadable,
    Vocabulary,
    unreadable,
)
from dataset_registry.formats import (
    coco,
    coco_out,
    cvat,
    datumaro,
    deeppcb,
    label_studio,
    masks,
    table,
    voc,
    yolo,
)
from dataset_registry.formats.marks import Material
from dataset_registry.formats.trees import DAMAGED, Tree, is_picture, truncated
from dataset_registry.formats.writing import Part, stem

Reader = Callable[[Material, Sequence[str]], Read]
Writer = Callable[[Iterable[LabelledImage], Vocabulary, Losses], Iterator[Part]]


@dataclass(frozen=True, slots=True)
class Format:
    """Attributes:
    suffix: Of its annotation files; empty where the reader goes by folders.
    write: None where it is read only.
    """

    name: str
    suffix: str
    read: Reader
    write: Writer | None


FORMATS = {
    made.name: made
    for made in (
        Format(coco.NAME, ".json", coco.read, coco_out.write),
        Format(yolo.DETECTION, "", yolo.read, yolo.write_boxes),
        Format(yolo.SEGMENTATION, "", yolo.read, yolo.write_polygons),
        Format(voc.NAME, ".xml", voc.read, voc.write),
        Format(cvat.NAME, ".xml", cvat.read, cvat.write),
        Format(label_studio.NAME, ".json", label_studio.read, label_studio.write),
        Format(datumaro.NAME, ".json", datumaro.read, datumaro.write),
        Format(table.NAME, ".csv", table.read, table.write),
        Format(masks.EACH_CLASS, "", masks.read_each_class, masks.write_each_class),
        Format(masks.INDEXED, "", masks.read_indexed, masks.write_indexed),
        Format(masks.BESIDE, "", masks.read_beside, None),
        Format(deeppcb.NAME, "", deeppcb.read, None),
    )
}
PICTURES_IN = {voc.NAME: "JPEGImages"}
"""Where a format keeps its pictures, if not in `images`."""
WRITTEN = tuple(name for name, made in FORMATS.items() if made.write is not None)
_HEAD = 1 << 16
_TEXTS = (".json", ".xml", ".csv")


def read(material: Material, format_name: str | None) -> Read:
    """Everything in the tree; `None` finds the format out. What cannot be read on ends with a problem."""
    try:
        found = FORMATS[format_name or detected(material.tree)]
        names = material.tree.names
        alone = len(names) == 1  # then it is the one, whatever it is called
        files = [name for name in names if found.suffix and (alone or name.lower().endswith(found.suffix))]
        if found.suffix and not files:
            raise unreadable(
                Place(""),
                "nothing-to-read",
                f"No {found.suffix} file is in the archive; name the format that it has.",
            )
        yield from found.read(material, files)
    except Unreadable as error:
        yield error.problem
    except DAMAGED as error:
        yield truncated("", error).problem


def write(
    format_name: str, images: Iterable[LabelledImage], words: Vocabulary, losses: Losses
) -> Iterator[Part]:
    """Files of a format, in pieces. Raises KeyError for one that is read only."""
    writer = FORMATS[format_name].write
    if writer is None:
        raise KeyError(format_name)
    return writer(images, words, losses)


def detected(tree: Tree) -> str:
    """Name of the format that the tree has. Raises Unreadable when it looks like none."""
    names = tree.names
    for name in names:
        last = name.rsplit("/", 1)[-1].lower()
        if last.endswith(deeppcb.TEMPLATE):
            return deeppcb.NAME
        if last in ("data.yaml", "data.yml", "dataset.yaml", "obj.names"):
            return yolo.DETECTION
        if (len(names) == 1 or last.endswith(_TEXTS)) and (found := _by_head(_head(tree, name))):
            return found
    if any(masks.FOLDER in name.split("/")[:-1] for name in names):
        return masks.INDEXED if any(name.endswith(masks.LIST) for name in names) else masks.EACH_CLASS
    there = set(names)
    if any(is_picture(name) and not name.endswith(".png") and f"{stem(name)}.png" in there for name in names):
        return masks.BESIDE
    raise unreadable(
        Place(""),
        "unknown-format",
        f"It looks like none of {', '.join(FORMATS)}; name the format that it has.",
    )


def _head(tree: Tree, name: str) -> bytes:
    with tree.open(name) as file:
        return file.read(_HEAD)


def _by_head(head: bytes) -> str | None:
    """What a JSON, XML or CSV file is, by how it begins."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"<"):
        root = re.search(rb"<(annotations?)[\s>]", text)
        return None if root is None else cvat.NAME if root[1] == b"annotations" else voc.NAME
    if text.startswith(b"["):
        return label_studio.NAME
    if text.startswith(b"{"):
        if re.search(rb'"items"\s*:\s*\[', text):
            return datumaro.NAME
        found = re.search(rb'"(images|annotations|categories)"\s*:\s*([\[{])', text)
        return None if found is None else datumaro.NAME if found[2] == b"{" else coco.NAME
    columns = text.split(b"\n", 1)[0].decode(errors="replace").strip().split(",")
    return table.NAME if set(table.NEEDED) <= set(columns) else None

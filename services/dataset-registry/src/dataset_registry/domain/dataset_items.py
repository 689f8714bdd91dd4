"""An image and the label in force on it, as a dataset version holds them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from dataset_registry.domain.samples import Sample

Item = dict[str, Any]
_ALL_BITS = (1 << 64) - 1
_FILTERS = (
    ("lines", "line"),
    ("stations", "station"),
    ("product_variants", "product_variant"),
    ("batches", "batch"),
    ("origins", "origin"),
)


def items(
    rows: Iterable[Mapping[str, Any]], image_class: Callable[[str | None, set[str]], tuple[str, bool]]
) -> list[Item]:
    """The items of images whose last word is a label.

    Args:
        rows: Image, its last label of image class and its last approved annotation, either of them null.
        image_class: The class of a whole image, and whether it is a defect, by taxonomy version and all classes on it.

    Returns:
        Those whose last word is unusable or ambiguous are left out: there is nothing to learn from them.
    """
    made = []
    for row in rows:
        annotated = row["approved_at"] is not None and (
            row["labelled_at"] is None or row["approved_at"] >= row["labelled_at"]
        )
        if not annotated:
            made.append(_item(row, row["class_name"], row["is_defect"]))
        elif row["verdict"] == "labeled":
            classes = {*row["classes"], *(shape["class_name"] for shape in row["shapes"])}
            name, is_defect = image_class(row["annotation_version"], classes)
            said = {
                "label_id": row["annotation_id"],
                "classes": sorted(classes | {name}),
                "taxonomy_version": row["annotation_version"],
                "shapes": row["shapes"],
            }
            made.append(_item(row, name, is_defect) | said)
    return made


def _item(row: Mapping[str, Any], class_name: str, is_defect: bool) -> Item:
    return {
        "capture_id": row["capture_id"],
        "label_id": row["label_id"],
        "class_name": class_name,
        "classes": [class_name],
        "is_defect": is_defect,
        "taxonomy_version": row["taxonomy_version"],
        "image": row["image"],
        "context": row["context"],
        "captured_at": row["captured_at"] and utc(row["captured_at"]),
        "perceptual_hash": None if row["perceptual_hash"] is None else hex_of(row["perceptual_hash"]),
        "part_id": row["part_id"],
        "synthetic": bool(row["synthetic"]),
        "shapes": [],
    }


def hex_of(bits: int) -> str:
    """A hash that a database holds as a signed number, as 16 hexadecimal digits."""
    return f"{bits & _ALL_BITS:016x}"


def utc(moment: datetime) -> str:
    """The same text wherever it is written: the bytes of a manifest must not depend on a server's time zone."""
    return moment.astimezone(UTC).isoformat()


def passes(item: Item, wanted: Mapping[str, Any]) -> bool:
    """Whether an item is what was asked for; an empty list lets everything through."""
    context = item["context"]
    named = all(not wanted.get(name) or context.get(field) in wanted[name] for name, field in _FILTERS)
    return named and (not wanted.get("classes") or item["class_name"] in wanted["classes"])


def sample(item: Mapping[str, Any], kept: str | None = None) -> Sample:
    """What splitting needs to know of an item, of either format of a manifest."""
    context = item["context"]
    part = item.get("part_id") or context.get("part_id")
    bits, at = item.get("perceptual_hash"), item.get("captured_at")
    return Sample(
        id=item["capture_id"],
        content=item["image"]["object"]["sha256"],
        classes=tuple(item.get("classes") or (item["class_name"],)),
        is_defect=item["is_defect"],
        station=f"{context.get('line')}/{context['station']}" if context.get("station") else None,
        captured_at=datetime.fromisoformat(at) if at else None,
        batch=context.get("batch"),
        part=f"{context.get('part_number') or ''}/{part}" if part else None,
        product=context.get("product_variant"),
        camera=context.get("camera"),
        perceptual_hash=int(bits, 16) if bits else None,
        synthetic=bool(item.get("synthetic")),
        kept=kept,
    )

"""A dataset snapshot: which images, what they show, and which of them must stay together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

SCHEMA: Final = "andonloop.dataset-snapshot/1"
TRAIN, VALIDATION, HOLDOUT = "train", "validation", "holdout"


class SnapshotError(ValueError):
    """A snapshot cannot be used; the text says which row and why."""


@dataclass(frozen=True, slots=True)
class ImagePlace:
    """Where an image's bytes are: a file (`path`), or an object of the store with the fields of its claim check."""

    path: str | None = None
    bucket: str | None = None
    key: str | None = None
    sha256: str | None = None
    media_type: str | None = None
    size_bytes: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class LabelledBox:
    """Where a person saw a defect: a rectangle in pixels of the image, origin top left."""

    class_name: str
    x: float
    y: float
    width: float
    height: float


Ring = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class LabelledArea:
    """Which pixels of an image a person marked.

    Attributes:
        rings: Of a polygon, in pixels: a point is inside where an odd number of these closed lines surround it.
        counts: Of a mask: the run lengths of the whole image, in COCO's compressed form.
    """

    class_name: str
    rings: tuple[Ring, ...] = ()
    counts: str = ""


@dataclass(frozen=True, slots=True)
class DrawnMask:
    """A mask that is not stored as a picture but drawn from areas, which may overlap: the smaller one lies on top.

    Attributes:
        classes: Those of the row, in its order; each has an area.
    """

    width: int
    height: int
    classes: tuple[str, ...]
    areas: tuple[LabelledArea, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DrawnMask:
        """Raises `KeyError` or `TypeError` for what `to_json` has not written."""
        areas = tuple(
            LabelledArea(
                area["class_name"],
                tuple(tuple((x, y) for x, y in ring) for ring in area.get("rings", ())),
                area.get("counts", ""),
            )
            for area in value["areas"]
        )
        return cls(value["width"], value["height"], tuple(value["classes"]), areas)


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled image.

    Attributes:
        weight: 1 for a sure label and less where people disagreed.
        group: The physical part or batch that may not be split ("" when unknown).
        split: Given by the registry or None, and then the trainer splits.
        boxes: Where the defects are, for detection and template comparison.
        mask: A PNG of the image's size in which 0 is good. Of an image with one class every other value is this class;
            with several, the value k is `classes[k - 1]`. Or the areas that such a PNG is drawn from.
        template: A picture of the same place without a defect.
    """

    id: str
    image: ImagePlace
    classes: tuple[str, ...]
    is_defect: bool
    weight: float = 1.0
    group: str = ""
    variant: str = ""
    station: str = ""
    split: str | None = None
    boxes: tuple[LabelledBox, ...] = ()
    mask: ImagePlace | DrawnMask | None = None
    template: ImagePlace | None = None
    shift: str = ""

    def to_json(self) -> dict[str, Any]:
        """What it says; what only some tasks need stands there only where it is known."""
        known: dict[str, Any] = {}
        if self.boxes:
            known["boxes"] = [asdict(box) for box in self.boxes]
        if self.mask:
            known["mask"] = self.mask.to_json()
        if self.template:
            known["template"] = self.template.to_json()
        if self.shift:
            known["shift"] = self.shift
        return known | {
            "id": self.id,
            "image": self.image.to_json(),
            "classes": list(self.classes),
            "is_defect": self.is_defect,
            "weight": self.weight,
            "group": self.group,
            "product_variant": self.variant,
            "station": self.station,
            "split": self.split,
        }


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An immutable dataset version; `hash` is a function of its rows alone.

    `version` is the name that the dataset registry gave it: the hash of the manifest's own bytes.
    """

    name: str
    rows: tuple[Row, ...]
    licence: str = ""
    version: str | None = None

    @property
    def hash(self) -> str:
        """The registry's name, or the SHA-256 of the rows, independent of where files lie on this machine."""
        if self.version is not None:
            return self.version
        digest = hashlib.sha256()
        for row in self.rows:
            entry = row.to_json()
            for name, place in (("image", row.image), ("mask", row.mask), ("template", row.template)):
                if isinstance(place, ImagePlace) and place.sha256 is not None:
                    entry[name] = place.sha256
            digest.update(json.dumps(entry, sort_keys=True, separators=(",", ":")).encode())
        return digest.hexdigest()

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "name": self.name,
            "licence": self.licence,
            "hash": self.hash,
            "rows": [row.to_json() for row in self.rows],
        }


def parse_snapshot(value: Mapping[str, Any]) -> Snapshot:
    """Reads a manifest and checks its hash. Raises `SnapshotError`."""
    if value.get("schema") != SCHEMA:
        raise SnapshotError(f"the manifest's schema is {value.get('schema')!r}, this trainer reads {SCHEMA}")
    rows = tuple(parse_row(number, entry) for number, entry in enumerate(value.get("rows", ())))
    if len({row.id for row in rows}) != len(rows):
        raise SnapshotError("two rows have the same id")
    snapshot = Snapshot(str(value.get("name") or "snapshot"), rows, str(value.get("licence") or ""))
    if value.get("hash") not in (None, snapshot.hash):
        raise SnapshotError("the rows do not have the hash that the manifest claims; it was altered")
    return snapshot


def parse_row(number: int, entry: Mapping[str, Any]) -> Row:
    """Reads a row as `Row.to_json` writes it. Raises `SnapshotError`, which names it by its number."""
    try:
        row = Row(
            id=str(entry["id"]),
            image=ImagePlace(**entry["image"]),
            classes=tuple(entry.get("classes", ())),
            is_defect=bool(entry["is_defect"]),
            weight=float(entry.get("weight", 1.0)),
            group=str(entry.get("group") or ""),
            variant=str(entry.get("product_variant") or ""),
            station=str(entry.get("station") or ""),
            split=entry.get("split"),
            boxes=tuple(LabelledBox(**box) for box in entry.get("boxes", ())),
            mask=_parse_mask(entry["mask"]) if entry.get("mask") else None,
            template=ImagePlace(**entry["template"]) if entry.get("template") else None,
            shift=str(entry.get("shift") or ""),
        )
    except (KeyError, TypeError) as error:
        raise SnapshotError(f"row {number} of the manifest is incomplete: {error}") from error
    if row.split not in (None, TRAIN, VALIDATION, HOLDOUT) or row.weight < 0:
        raise SnapshotError(f"row {number} has an unknown split or a negative weight")
    if row.is_defect and not row.classes:
        raise SnapshotError(f"row {number} is a defect without a class")
    for place in (row.image, row.mask, row.template):
        if isinstance(place, ImagePlace) and (place.path is None) == (
            place.bucket is None or place.key is None
        ):
            raise SnapshotError(f"row {number} needs either a path, or a bucket and a key")
    if any(box.width <= 0 or box.height <= 0 for box in row.boxes):
        raise SnapshotError(f"row {number} has a box without an area")
    return row


def _parse_mask(entry: Mapping[str, Any]) -> ImagePlace | DrawnMask:
    return DrawnMask.from_json(entry) if "areas" in entry else ImagePlace(**entry)


def check_masks(rows: Sequence[Row]) -> None:
    """Raises `SnapshotError` where a defect has no mask: to learn its pixels as good ones would be worse than none."""
    bare = [row.id for row in rows if row.is_defect and row.mask is None]
    if bare:
        some = ", ".join(bare[:5]) + (", ..." if len(bare) > 5 else "")
        raise SnapshotError(
            f"defects without a mask: {len(bare)} ({some}); segmentation needs the pixels of each class on an image, "
            "as polygons or painted masks in the labeling room, or as a PNG"
        )


def defect_classes(rows: Sequence[Row]) -> tuple[str, ...]:
    """All defect classes, sorted, so that a column means the same in every run."""
    return tuple(sorted({name for row in rows if row.is_defect for name in row.classes}))

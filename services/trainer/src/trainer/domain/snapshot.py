"""A dataset snapshot: which images, what they show, and which of them must stay together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

SCHEMA: Final = "andonloop.dataset-snapshot/1"
REGISTRY_FORMAT: Final = "andonloop.dataset/1"
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
class Row:
    """One labelled image.

    `weight` is 1 for a sure label and less where people disagreed; `group` names the physical part or batch that may
    not be split ("" when unknown); `split` is given by the registry or None, and then the trainer splits.
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

    def to_json(self) -> dict[str, Any]:
        return {
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
            if row.image.sha256 is not None:
                entry["image"] = row.image.sha256
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
    rows = tuple(_parse_row(number, entry) for number, entry in enumerate(value.get("rows", ())))
    if len({row.id for row in rows}) != len(rows):
        raise SnapshotError("two rows have the same id")
    snapshot = Snapshot(str(value.get("name") or "snapshot"), rows, str(value.get("licence") or ""))
    if value.get("hash") not in (None, snapshot.hash):
        raise SnapshotError("the rows do not have the hash that the manifest claims; it was altered")
    return snapshot


def parse_manifest(content: bytes) -> Snapshot:
    """Reads either kind of manifest: a snapshot, or a version of the dataset registry. Raises `SnapshotError`."""
    try:
        value = json.loads(content)
    except ValueError as error:
        raise SnapshotError(f"the manifest is not JSON: {error}") from error
    if value.get("format") != REGISTRY_FORMAT:
        return parse_snapshot(value)
    version = hashlib.sha256(content).hexdigest()
    try:
        entries = [_registry_row(item) for item in value["items"]]
    except (KeyError, TypeError) as error:
        raise SnapshotError(f"the registry's manifest is incomplete: {error}") from error
    rows = tuple(_parse_row(number, entry) for number, entry in enumerate(entries))
    return Snapshot(f"registry-{version[:12]}", rows, "the plant's own images", version)


def _registry_row(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item of the registry as a row; images of one part, known by its serial number, stay together."""
    context = item["context"]
    part = context.get("part_id")
    return {
        "id": item["capture_id"],
        "image": item["image"]["object"],
        "classes": [item["class_name"]] if item["is_defect"] else [],
        "is_defect": item["is_defect"],
        "group": f"{context.get('part_number') or ''}/{part}" if part else "",
        "product_variant": context.get("product_variant"),
        "station": f"{context['line']}/{context['station']}",
    }


def _parse_row(number: int, entry: Mapping[str, Any]) -> Row:
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
        )
    except (KeyError, TypeError) as error:
        raise SnapshotError(f"row {number} of the manifest is incomplete: {error}") from error
    if row.split not in (None, TRAIN, VALIDATION, HOLDOUT) or row.weight < 0:
        raise SnapshotError(f"row {number} has an unknown split or a negative weight")
    if row.is_defect and not row.classes:
        raise SnapshotError(f"row {number} is a defect without a class")
    if (row.image.path is None) == (row.image.bucket is None or row.image.key is None):
        raise SnapshotError(f"row {number} needs either a path, or a bucket and a key")
    return row


def defect_classes(rows: Sequence[Row]) -> tuple[str, ...]:
    """All defect classes, sorted, so that a column means the same in every run."""
    return tuple(sorted({name for row in rows if row.is_defect for name in row.classes}))

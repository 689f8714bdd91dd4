"""A dataset version: an immutable list of labelled images, named by the hash of its content.

The manifest holds nothing but its content - no time of making, no author - so the same labels give the same
bytes and the same name, whoever asks and whenever.

There are two formats. The first lists labels of image class. The second also says how the images are divided and what
is marked on them; its holdout is a manifest of its own, of which the version names only the size and the hash.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dataset_registry.domain.samples import HOLDOUT

FORMAT = "andonloop.dataset/1"
FORMAT_PARTED = "andonloop.dataset/2"
FORMAT_HOLDOUT = "andonloop.dataset-holdout/2"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Attributes:
    content: Canonical JSON, UTF-8.
    hash: SHA-256 of the content, lower-case hex: the version's name.
    items: Number of labelled images.
    classes: Items by class.
    """

    content: bytes
    hash: str
    items: int
    classes: dict[str, int]


def manifest(labels: Iterable[Mapping[str, Any]]) -> Manifest:
    """Build the manifest of these labels (one for each capture, in any order)."""
    return _manifest(FORMAT, ({name: label[name] for name in _ITEM} for label in labels))


def parted(
    items: Sequence[Mapping[str, Any]], plan: Mapping[str, Any] | None
) -> tuple[Manifest, Manifest | None]:
    """The manifest of these items without the holdout, and that of the holdout where there is one.

    Args:
        items: In any order, each with its `split`.
        plan: How they were divided; None when they were not.
    """
    held = [item for item in items if item["split"] == HOLDOUT]
    holdout = _manifest(FORMAT_HOLDOUT, held) if held else None
    named = {"items": holdout.items, "sha256": holdout.hash} if holdout else None
    rest = (item for item in items if item["split"] != HOLDOUT)
    return _manifest(FORMAT_PARTED, rest, holdout=named, plan=plan), holdout


def _manifest(format_: str, items: Iterable[Mapping[str, Any]], **more: Any) -> Manifest:
    ordered = sorted(items, key=lambda item: str(item["capture_id"]))
    classes = Counter(item["class_name"] for item in ordered)
    content = json.dumps(
        {"format": format_, "classes": sorted(classes), "items": ordered, **more},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    ).encode()
    return Manifest(content, hashlib.sha256(content).hexdigest(), len(ordered), dict(sorted(classes.items())))


_ITEM = ("capture_id", "label_id", "class_name", "is_defect", "taxonomy_version", "image", "context")

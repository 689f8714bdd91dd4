"""A dataset version: an immutable list of labelled images, named by the hash of its content.

The manifest holds nothing but its content - no time of making, no author - so the same labels give the same
bytes and the same name, whoever asks and whenever.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

FORMAT = "andonloop.dataset/1"


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
    items = sorted(
        ({name: label[name] for name in _ITEM} for label in labels), key=lambda item: str(item["capture_id"])
    )
    classes = Counter(item["class_name"] for item in items)
    content = json.dumps(
        {"format": FORMAT, "classes": sorted(classes), "items": items},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    ).encode()
    return Manifest(content, hashlib.sha256(content).hexdigest(), len(items), dict(sorted(classes.items())))


_ITEM = ("capture_id", "label_id", "class_name", "is_defect", "taxonomy_version", "image", "context")

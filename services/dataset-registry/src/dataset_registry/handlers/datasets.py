"""Dataset versions: an immutable manifest of labelled images, stored by its content hash."""

from __future__ import annotations

from datetime import datetime

from andon_chassis.objects import DATASETS, ObjectStore
from andon_events.records import ObjectRef

from dataset_registry.domain.manifests import Manifest, manifest
from dataset_registry.domain.refusals import invalid
from dataset_registry.ports import Datasets, Row

MEDIA_TYPE = "application/json"


def build(labels: list[Row], objects: ObjectStore) -> tuple[Manifest, ObjectRef]:
    """Make the manifest and store it; nothing points at it before `register`. Raises Refused or
    Unavailable."""
    if not labels:
        raise invalid("empty-dataset", "No label passes this filter; widen it, or approve labels first.")
    made = manifest(labels)
    return made, objects.put(DATASETS, made.content, MEDIA_TYPE)


def register(
    store: Datasets, made: Manifest, ref: ObjectRef, wanted: Row, purpose: str, by: str, now: datetime
) -> bool:
    """Make the version known; False when it was."""
    return store.add_snapshot(
        {
            "hash": made.hash,
            "purpose": purpose,
            "filter": wanted,
            "manifest": ref.to_avro(),
            "items": made.items,
            "classes": made.classes,
            "created_by": by,
            "created_at": now,
        }
    )

"""Hands a finished release to the plant: the bundle into the object store, then `model.trained` onto the bus."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from andon_chassis.bus.ports import Producer
from andon_chassis.codec import Codec
from andon_chassis.events import event
from andon_chassis.objects import MODELS, ObjectStore
from andon_events.records import ModelTrained
from andon_vision.release_bundle import MEDIA_TYPE, ReleaseBundle, pack_bundle


def publish(
    bundle: ReleaseBundle, folder: Path, objects: ObjectStore, codec: Codec, producer: Producer
) -> ModelTrained:
    """Stores the bundle, announces it, and returns what was announced. Raises `Unavailable`; safe to repeat."""
    description = bundle.description
    trained_at = datetime.fromisoformat(description["trained_at"])
    record = ModelTrained(
        release=bundle.release,
        bundle=objects.put(MODELS, pack_bundle(folder), MEDIA_TYPE),
        task=description["task"],
        classes=list(bundle.classes),
        dataset_hash=description["dataset"]["hash"],
        metrics={name: figure["value"] for name, figure in description["metrics"].items()},
        pass_below=bundle.pass_below,
        reject_from=bundle.reject_from,
        trained_at=trained_at,
    )
    announced = event(record, source="trainer", key=bundle.release, time=trained_at, cause=bundle.release)
    producer.send([codec.encode(announced)])
    return record

"""Hands a finished release to the plant: bundle, description and pages into the object store, then `model.trained`
onto the bus."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from andon_chassis.bus.ports import Producer
from andon_chassis.codec import Codec
from andon_chassis.errors import Invalid
from andon_chassis.events import event
from andon_chassis.objects import MODELS, ObjectStore
from andon_events.records import ModelTrained, ReleaseReport
from andon_vision.release_bundle import DESCRIPTION, MEDIA_TYPE, ReleaseBundle, pack_bundle


def publish(
    bundle: ReleaseBundle,
    folder: Path,
    objects: ObjectStore,
    codec: Codec,
    producer: Producer,
    pages: Sequence[Path] = (),
) -> ModelTrained:
    """Stores the bundle and what tells of it, announces it, and returns what was announced; safe to repeat.

    Args:
        pages: HTML files for people; each is called by its file's name without the ending. A page may follow later:
            publish the bundle again with it.

    Raises:
        Invalid: Two pages of one name, or a file that is no HTML.
        Unavailable: The object store or the bus does not answer.
    """
    description = bundle.description
    trained_at = datetime.fromisoformat(description["trained_at"])
    reports = _stored(pages, objects)
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
        card=objects.put(MODELS, (folder / DESCRIPTION).read_bytes(), "application/json"),
        reports=reports,
    )
    told = " ".join([bundle.release, *(report.object.sha256 for report in reports)])
    announced = event(record, source="trainer", key=bundle.release, time=trained_at, cause=told)
    producer.send([codec.encode(announced)])
    return record


def _stored(pages: Sequence[Path], objects: ObjectStore) -> list[ReleaseReport]:
    if len({page.stem for page in pages}) < len(pages):
        raise Invalid("page-twice", "two pages have one name; rename a file, its name is the page's.")
    for page in pages:
        if page.suffix.lower() not in (".html", ".htm"):
            raise Invalid("no-html", f"{page} is no HTML file; give a page that people can read.")
    return [
        ReleaseReport(name=page.stem, object=objects.put(MODELS, page.read_bytes(), "text/html"))
        for page in pages
    ]

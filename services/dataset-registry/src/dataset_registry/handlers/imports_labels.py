"""Labels of captures that came in from files: as those that people give here, they are events too."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from andon_chassis.events import deterministic_id
from andon_events import records as r

from dataset_registry.domain.labeling_checks import Guide
from dataset_registry.domain.tallies import Tallies
from dataset_registry.handlers.reviews import label_event, label_row
from dataset_registry.ports import Row, Session
from dataset_registry.ports_imports import Job, Label, Prepared


def label_captures(session: Session, job: Job, prepared: Sequence[Prepared], now: datetime) -> None:
    """The label of each capture among these: the most severe class of what is said of it."""
    said = {one.image_id: one.label for one in prepared if one.label and one.label.image_class}
    captures = session.store.captures(list(said)) if said else {}
    if not captures:
        return
    good = (session.labeling.guide(job.taxonomy_version) or Guide()).good_class
    labels = [
        _label(said[capture_id], capture_id, capture, good, job, now)
        for capture_id, capture in sorted(captures.items())
    ]
    session.store.add_labels([label_row(label, "import") for label in labels])
    tallies = Tallies()
    for label in labels:
        tallies.add(label.context.line, label.context.station, "labelled")
    session.store.tally(tallies.rows(now))
    session.emit([label_event(label) for label in labels])


def _label(
    label: Label, capture_id: str, capture: Row, good: str, job: Job, now: datetime
) -> r.LabelApproved:
    class_name = label.image_class or good
    return r.LabelApproved(
        label_id=deterministic_id("label", label.annotation_id),
        capture_id=capture_id,
        context=r.CaptureContext.from_avro(capture["context"]),
        image=r.ImageRef.from_avro(capture["image"]),
        class_name=class_name,
        is_defect=class_name != good,
        approved_by=job.by,
        taxonomy_version=job.taxonomy_version,
        review_id=None,
        approved_at=now,
    )

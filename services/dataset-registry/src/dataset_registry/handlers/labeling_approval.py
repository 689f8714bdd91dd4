"""What follows in the same transaction when annotations are approved: decisions, and labels of captures.

A capture gets its row in `labels` - the most severe class of the annotation, the good class where nothing is marked -
and its `label.approved`, as a review gives them. An image that was imported never came over the line: it has no capture
that the event could be about, so its label stands in the registry only. An approved doubt, and an image that nobody can
judge, are the last word on their image, but no label to learn from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from andon_chassis.events import deterministic_id
from andon_events import records as r

from dataset_registry.domain.annotations import Verdict
from dataset_registry.domain.labeling import Task
from dataset_registry.domain.labeling_checks import Guide
from dataset_registry.domain.tallies import Tallies
from dataset_registry.handlers.reviews import Emit, label_event, label_row
from dataset_registry.ports import Reviews, Row
from dataset_registry.ports_labeling import Decision, Stored, Work


class Approval(NamedTuple):
    """A task, and the annotation of it that is right."""

    task: Task
    chosen: Stored


def approve(
    work: Work,
    labels: Reviews,
    emit: Emit,
    approvals: Sequence[Approval],
    by: str,
    note: str | None,
    now: datetime,
) -> None:
    """Put annotations in force: the labels before them, and what else was said in their tasks, are superseded."""
    if not approvals:
        return
    chosen = {approval.chosen.annotation_id: approval.task.image_id for approval in approvals}
    before = work.in_force(list(chosen.values()))
    superseded = {stored.annotation_id: image_id for image_id, stored in before.items()}
    superseded |= dict(work.undecided([approval.task.task_id for approval in approvals]))
    decisions = [
        Decision(annotation_id, image_id, "superseded", by, None, now)
        for annotation_id, image_id in superseded.items()
        if annotation_id not in chosen
    ]
    decisions += [
        Decision(annotation_id, image_id, "approved", by, note, now)
        for annotation_id, image_id in chosen.items()
    ]
    work.decide(decisions)
    _label(work, labels, emit, approvals, by, now)


def _label(
    work: Work, labels: Reviews, emit: Emit, approvals: Sequence[Approval], by: str, now: datetime
) -> None:
    captures = labels.captures([approval.task.image_id for approval in approvals])
    versions = {approval.chosen.annotation.taxonomy_version for approval in approvals}
    guides = {version: work.guide(version) or Guide() for version in versions}
    made = [
        _approved_label(approval, captures[approval.task.image_id], guides, by, now)
        for approval in approvals
        if approval.task.image_id in captures and approval.chosen.annotation.verdict is Verdict.LABELED
    ]
    if not made:
        return
    labels.add_labels([label_row(label, "annotation") for label in made])
    tallies = Tallies()
    for label in made:
        tallies.add(label.context.line, label.context.station, "labelled")
    labels.tally(tallies.rows(now))
    emit([label_event(label) for label in made])


def _approved_label(
    approval: Approval, capture: Row, guides: Mapping[str | None, Guide], by: str, now: datetime
) -> r.LabelApproved:
    guide = guides[approval.chosen.annotation.taxonomy_version]
    class_name = guide.image_class(approval.chosen.annotation)
    return r.LabelApproved(
        label_id=deterministic_id("label", approval.chosen.annotation_id),
        capture_id=approval.task.image_id,
        context=r.CaptureContext.from_avro(capture["context"]),
        image=r.ImageRef.from_avro(capture["image"]),
        class_name=class_name,
        is_defect=class_name != guide.good_class,
        approved_by=by,
        taxonomy_version=approval.chosen.annotation.taxonomy_version,
        review_id=None,
        approved_at=now,
    )

"""Answers, adjudications and labels. A review that completes makes its event and its label in one
transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any, get_type_hints

from andon_chassis.events import Event, deterministic_id, event, station_key
from andon_chassis.telemetry import span
from andon_events import records as r

from dataset_registry.domain import reviews
from dataset_registry.domain.refusals import invalid, unknown
from dataset_registry.domain.reviews import Answer, Standing
from dataset_registry.domain.tallies import Tallies
from dataset_registry.domain.taxonomy import Taxonomy, model_verdict
from dataset_registry.handlers.facts import SOURCE
from dataset_registry.ports import Reviews, Row

Emit = Callable[[Sequence[Event[Any]]], None]


@dataclass(frozen=True, slots=True)
class Given:
    """What a person says about a capture, as it came in."""

    reviewer: str
    verdict: str
    class_name: str | None
    note: str | None


def answer(store: Reviews, emit: Emit, review_id: str, given: Given, now: datetime) -> Standing:
    """One blind answer. Raises Refused."""
    review, answers, taxonomy = _load(store, review_id)
    new = _answer(given, taxonomy, now, adjudication=False)
    standing = reviews.answer(review["state"], answers, review["answers_wanted"], new)
    with span(f"{SOURCE} answer", review["traceparent"], review_id=review_id):
        _settle(store, emit, review, [*answers, new], standing, taxonomy)
    return standing


def adjudicate(
    store: Reviews, emit: Emit, review_id: str, given: Given, roles: Sequence[str], now: datetime
) -> Standing:
    """The QA owner ends a dispute. Raises Refused."""
    review, answers, taxonomy = _load(store, review_id)
    new = _answer(given, taxonomy, now, adjudication=True)
    standing = reviews.adjudicate(review["state"], answers, new, roles)
    with span(f"{SOURCE} adjudicate", review["traceparent"], review_id=review_id):
        _settle(store, emit, review, [*answers, new], standing, taxonomy)
    return standing


def import_labels(
    store: Reviews, emit: Emit, rows: Sequence[Row], approved_by: str, now: datetime
) -> tuple[int, int]:
    """Take labels that people made elsewhere; how many were new, how many were known.

    Each row names a capture and a class; context and image are looked up unless given. Raises Refused when a
    capture is unknown and the row does not describe it, or a class is not in the taxonomy.
    """
    ids = [row["capture_id"] for row in rows]
    if len(set(ids)) < len(ids):
        raise invalid(
            "capture-twice", "A capture stands in this import twice; say which of its labels counts."
        )
    taxonomy, current = store.taxonomy(), store.current_labels(ids)
    captures = store.captures([row["capture_id"] for row in rows if not row.get("image")])
    labels = [
        _imported(row, captures, current.get(row["capture_id"]), taxonomy, approved_by, now)
        for row in rows
        if not _same_label(current.get(row["capture_id"]), row["class_name"], approved_by)
    ]
    new = store.add_labels([label_row(label, "import") for label in labels])
    tallies = Tallies()
    fresh = {label.label_id: label for label in labels if label.label_id in new}
    for label in fresh.values():
        tallies.add(label.context.line, label.context.station, "labelled")
    store.tally(tallies.rows(now))
    emit([label_event(label) for label in fresh.values()])
    return len(new), len(rows) - len(new)


def _load(store: Reviews, review_id: str) -> tuple[Row, list[Answer], Taxonomy]:
    review = store.lock_review(review_id)
    if review is None:
        raise unknown("review", review_id, "look at GET /v1/reviews; it may also be on its way still.")
    return review, store.answers(review_id), store.taxonomy()


def _answer(given: Given, taxonomy: Taxonomy, now: datetime, *, adjudication: bool) -> Answer:
    class_name = reviews.judged_class(given.verdict, given.class_name, taxonomy)
    return Answer(given.reviewer, given.verdict, class_name, given.note, now, adjudication)


def _settle(
    store: Reviews, emit: Emit, review: Row, answers: Sequence[Answer], standing: Standing, taxonomy: Taxonomy
) -> None:
    last, tallies = answers[-1], Tallies()
    store.add_answer(review["review_id"], last, standing)
    if standing.state == reviews.DISPUTED:
        tallies.add(review["line"], review["station"], "disputed")
    if standing.state == reviews.COMPLETED:
        store.complete_review(review["review_id"], standing, last)
        tallies.add(review["line"], review["station"], "in-review", -1)
        tallies.add(review["line"], review["station"], "review-completed")
        if last.adjudication:
            tallies.add(review["line"], review["station"], "disputed", -1)
        emit([_completed(review, answers, standing, taxonomy)])
        _label(store, emit, review, last, taxonomy, tallies)
    store.tally(tallies.rows(last.answered_at))


def _completed(review: Row, answers: Sequence[Answer], standing: Standing, taxonomy: Taxonomy) -> Event[Any]:
    last, context = answers[-1], r.CaptureContext.from_avro(review["context"])
    data = r.ReviewCompleted(
        review_id=review["review_id"],
        capture_id=review["capture_id"],
        context=context,
        verdict=last.verdict,
        class_name=last.class_name if last.verdict == reviews.DEFECT else None,
        answers=[_answer_record(a) for a in answers],
        agreed=standing.agreed,
        decided_by=last.reviewer,
        model_verdict=model_verdict(review["proposed_class"], review["defect_score"], taxonomy),
        completed_at=last.answered_at,
        captured_at=review["captured_at"],
    )
    key = station_key(context.line, context.station)
    return event(data, source=SOURCE, key=key, time=last.answered_at, cause=review["review_id"])


def _label(
    store: Reviews, emit: Emit, review: Row, last: Answer, taxonomy: Taxonomy, tallies: Tallies
) -> None:
    if last.class_name is None:  # unusable: there is nothing to learn from the image
        return
    label = r.LabelApproved(
        label_id=deterministic_id("label", review["review_id"]),
        capture_id=review["capture_id"],
        context=r.CaptureContext.from_avro(review["context"]),
        image=r.ImageRef.from_avro(review["image"]),
        class_name=last.class_name,
        is_defect=last.verdict == reviews.DEFECT,
        approved_by=last.reviewer,
        taxonomy_version=taxonomy.version,
        review_id=review["review_id"],
        approved_at=last.answered_at,
    )
    store.add_labels([label_row(label, "review")])
    tallies.add(review["line"], review["station"], "labelled")
    emit([label_event(label)])


def _same_label(current: Row | None, class_name: str, approved_by: str) -> bool:
    return current is not None and (current["class_name"], current["approved_by"]) == (
        class_name,
        approved_by,
    )


def _imported(
    row: Row,
    captures: dict[str, Row],
    current: Row | None,
    taxonomy: Taxonomy,
    approved_by: str,
    now: datetime,
) -> r.LabelApproved:
    described = row if row.get("image") else captures.get(row["capture_id"])
    if described is None:
        raise unknown(
            "capture", row["capture_id"], "wait until it is recorded, or give its context and image."
        )
    if not row.get("context") and described is row:
        raise invalid(
            "context-missing", f"Label of {row['capture_id']} has an image but no context; give both."
        )
    context, image = described["context"], described["image"]
    flaws = _flaws(r.CaptureContext, context, "context") + _flaws(r.ImageRef, image, "image")
    if flaws:
        raise invalid(
            "context-incomplete",
            f"Label of {row['capture_id']}: {', '.join(flaws)} missing or wrong; give context and image"
            " as in capture.recorded, null for what is not known.",
        )
    class_name, good = row["class_name"], row["class_name"] == taxonomy.good_class
    if not good:
        reviews.judged_class(reviews.DEFECT, class_name, taxonomy)
    return r.LabelApproved(
        # Named after the label it replaces, so that a relabelling and its undoing are two labels.
        label_id=deterministic_id(
            "label", row["capture_id"], class_name, approved_by, current["label_id"] if current else "first"
        ),
        capture_id=row["capture_id"],
        context=r.CaptureContext.from_avro(context),
        image=r.ImageRef.from_avro(image),
        class_name=class_name,
        is_defect=not good,
        approved_by=approved_by,
        taxonomy_version=taxonomy.version,
        review_id=None,
        approved_at=now,
    )


def _flaws(record: type, raw: Any, where: str) -> list[str]:
    """What is missing, or no such value, in what somebody wrote for a record; its numbers count something."""
    if not isinstance(raw, dict):
        return [where]
    flaws: list[str] = []
    for name, kind in _fields(record).items():
        if isinstance(kind, type) and is_dataclass(kind):
            flaws += _flaws(kind, raw.get(name), f"{where}.{name}")
        elif (
            name not in raw or not isinstance(raw[name], kind) or (kind is int and not 0 <= raw[name] < 2**31)
        ):
            flaws.append(f"{where}.{name}")
    return flaws


@cache
def _fields(record: type) -> dict[str, Any]:
    return get_type_hints(record)


def label_event(label: r.LabelApproved) -> Event[Any]:
    """The event of a new label."""
    key = station_key(label.context.line, label.context.station)
    return event(label, source=SOURCE, key=key, time=label.approved_at, cause=label.label_id)


def label_row(label: r.LabelApproved, source: str) -> Row:
    """A label as it is kept; `source` is review, import or annotation."""
    return label.to_avro() | {"line": label.context.line, "station": label.context.station, "source": source}


def _answer_record(given: Answer) -> r.ReviewAnswer:
    return r.ReviewAnswer(
        reviewer=given.reviewer,
        verdict=given.verdict,
        class_name=given.class_name if given.verdict == reviews.DEFECT else None,
        note=given.note,
        answered_at=given.answered_at,
    )

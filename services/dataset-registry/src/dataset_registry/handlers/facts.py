"""The state step: batches of events become rows, counts and - for each signal - the one action that
follows."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from andon_chassis.clock import Clock
from andon_chassis.database import Transaction
from andon_chassis.events import Event, Outcome, Rejected, deterministic_id, event, station_key
from andon_events import records as r
from andon_events import topics

from dataset_registry.domain import actions
from dataset_registry.domain.dispositions import Stand, stands
from dataset_registry.domain.standards import OTHER_CAMERA
from dataset_registry.domain.tallies import Tallies, latency_measure, latency_ms
from dataset_registry.ports import Facts, Row

SOURCE = "dataset-registry"

TOPICS = tuple(
    topic.name
    for topic in (
        topics.CAPTURE_RECORDED,
        topics.DISPOSITION_DECIDED,
        topics.REVIEW_REQUESTED,
        topics.FEEDBACK_SIGNAL_RAISED,
        topics.MES_DELIVERED,
        topics.MES_FINDING_RECEIVED,
        topics.MODEL_TRAINED,
    )
)
"""What the registry listens to."""

_IDS: Mapping[type, tuple[str, ...]] = {
    r.CaptureRecorded: ("capture_id",),
    r.DispositionDecided: ("disposition_id", "capture_id", "corrects"),
    r.ReviewRequested: ("review_id", "disposition_id", "capture_id"),
    r.SignalRaised: ("signal_id",),
    r.MesDelivered: ("capture_id",),
    r.MesFindingReceived: ("finding_id", "capture_id"),
    r.ModelTrained: (),
}

R = TypeVar("R", bound=r.Record)


class StateStep:
    """Handles a batch in a fixed number of statements, however many events it holds.

    Args:
        clock: For the time of opening and the counts by minute.
        facts: The port, bound to a transaction.
        owners: Person or group by role, where the plant has named one.
    """

    def __init__(
        self, clock: Clock, facts: Callable[[Transaction], Facts], owners: Mapping[str, str]
    ) -> None:
        self._clock = clock
        self._facts = facts
        self._owners = owners

    def __call__(self, events: Sequence[Event[Any]], tx: Transaction) -> Sequence[Outcome]:
        outcomes: list[Outcome] = [rejection(e.data) or () for e in events]
        sound = [e for e, outcome in zip(events, outcomes, strict=True) if not isinstance(outcome, Rejected)]
        facts, tallies = self._facts(tx), Tallies()
        _captures(facts, _of(sound, r.CaptureRecorded), tallies)
        _dispositions(facts, _of(sound, r.DispositionDecided), tallies)
        _reviews(facts, [e for e in sound if isinstance(e.data, r.ReviewRequested)], tallies)
        _findings(facts, _of(sound, r.MesFindingReceived), tallies)
        for delivered in _of(sound, r.MesDelivered):
            tallies.add(delivered.context.line, delivered.context.station, "mes-delivered")
        facts.record_releases(_releases(_of(sound, r.ModelTrained)))
        opened = self._signals(facts, [e for e in sound if isinstance(e.data, r.SignalRaised)], tallies)
        facts.tally(tallies.rows(self._clock.now()))
        return [opened.get(e.id, outcome) for e, outcome in zip(events, outcomes, strict=True)]

    def _signals(
        self, facts: Facts, signals: Sequence[Event[r.SignalRaised]], tallies: Tallies
    ) -> dict[str, Outcome]:
        by_id = {e.data.signal_id: e for e in signals}
        opened = {signal_id: self._action(e.data) for signal_id, e in by_id.items()}
        new = facts.raise_signals(
            [e.data.to_avro() for e in by_id.values()],
            [_action_row(opened[i]) | {"traceparent": e.traceparent} for i, e in by_id.items()],
        )
        for signal_id in new:
            scope, signal = opened[signal_id].scope, by_id[signal_id].data
            tallies.add(scope.line, scope.station, f"signal:{signal.kind}")
            tallies.add(scope.line, scope.station, "actions-open")
            tallies.add(scope.line, scope.station, f"action-opened:{opened[signal_id].kind}")
        return {
            by_id[i].id: (
                event(
                    opened[i],
                    source=SOURCE,
                    key=station_key(opened[i].scope.line, opened[i].scope.station),
                    time=opened[i].opened_at,
                    cause=by_id[i].id,
                ),
            )
            for i in sorted(new)
        }

    def _action(self, signal: r.SignalRaised) -> r.ActionOpened:
        rule, scope, now = actions.rule_for(signal.kind), signal.scope, self._clock.now()
        where = actions.place(scope.line, scope.station, scope.product_variant, scope.class_name)
        return r.ActionOpened(
            action_id=deterministic_id("action", signal.signal_id),
            signal_id=signal.signal_id,
            kind=rule.action,
            title=actions.title(rule, where, signal.explanation),
            scope=scope,
            suspected_cause=signal.suspected_cause,
            evidence=signal.evidence,
            owner=self._owners.get(rule.owner, rule.owner),
            due_at=now + rule.due,
            opened_at=now,
        )


def rejection(record: r.Record) -> Rejected | None:
    """Why PostgreSQL could never take this record, found out before any of its batch is written."""
    for name in _IDS[type(record)]:
        value = getattr(record, name)
        if value is not None and not _is_uuid(value):
            return Rejected(
                "malformed-id",
                f"{name} is {value!r}, no UUID in its usual form; mend the producer and send it again.",
            )
    try:
        if "\\u0000" in json.dumps(record.to_avro(), default=str, allow_nan=False):
            return Rejected("nul-character", "A text holds a NUL character; find the device that sends it.")
    except ValueError:
        return Rejected("not-a-number", "A figure is NaN or infinite; mend the producer and send it again.")
    return None


def _captures(facts: Facts, recorded: Sequence[r.CaptureRecorded], tallies: Tallies) -> None:
    for capture in recorded:
        tallies.add(capture.context.line, capture.context.station, "captured")
        for name in capture.missing:
            tallies.add(capture.context.line, capture.context.station, f"missing:{name}")
    rows = {c.capture_id: _capture_row(c) for c in recorded}
    for capture in recorded:
        rows[capture.capture_id] |= {
            "trigger_id": capture.trigger_id,
            "missing": capture.missing,
            "received_via": capture.received_via,
        }
    facts.record_captures(list(rows.values()))


def _dispositions(facts: Facts, decided: Sequence[r.DispositionDecided], tallies: Tallies) -> None:
    if not decided:
        return
    now = facts.standing({d.capture_id for d in decided})
    early = {d.capture_id: _capture_row(d) for d in decided if d.capture_id not in now}
    if early:
        facts.record_captures(list(early.values()))
        now |= facts.standing(early)
    changed: dict[str, Stand] = {}
    for d in decided:
        line, station, before = d.context.line, d.context.station, now[d.capture_id]
        if d.revision == 1:
            tallies.add(line, station, "decided")
            tallies.add(line, station, latency_measure(_latency(d)))
        else:
            tallies.add(line, station, "corrected")
        if stands(before, d.revision):
            if before.kind:
                tallies.add(line, station, f"standing:{before.kind}", -1)
            tallies.add(line, station, f"standing:{d.kind}")
            now[d.capture_id] = changed[d.capture_id] = Stand(d.revision, d.kind)
    facts.record_dispositions([_disposition_row(d) for d in decided], changed)


def _reviews(facts: Facts, requested: Sequence[Event[r.ReviewRequested]], tallies: Tallies) -> None:
    rows = {e.data.review_id: _review_row(e.data) | {"traceparent": e.traceparent} for e in requested}
    new = facts.request_reviews(list(rows.values()))
    for row in (row for row in rows.values() if row["review_id"] in new):
        tallies.add(row["line"], row["station"], "review-requested")
        tallies.add(row["line"], row["station"], "in-review")


def _findings(facts: Facts, findings: Sequence[r.MesFindingReceived], tallies: Tallies) -> None:
    rows: list[Row] = []
    for finding in findings:
        tallies.add(finding.context.line, finding.context.station, f"finding:{finding.kind}")
        rows.append(finding.to_avro() | {"line": finding.context.line, "station": finding.context.station})
    facts.record_findings(rows)


def _releases(trained: Sequence[r.ModelTrained]) -> list[Row]:
    """One row for each release, with all pages that were announced, in this batch, under its name."""
    rows: dict[str, Row] = {}
    for release in trained:
        row = release.to_avro()
        row["reports"] = {page["name"]: page["object"] for page in row["reports"]}
        first = rows.setdefault(release.release, row)
        first["card"] = first["card"] or row["card"]
        first["reports"] |= row["reports"]
    return list(rows.values())


def _capture_row(data: r.CaptureRecorded | r.DispositionDecided) -> Row:
    return {
        "capture_id": data.capture_id,
        "line": data.context.line,
        "station": data.context.station,
        "context": data.context.to_avro(),
        "image": data.image.to_avro(),
        "missing": [],
        "captured_at": data.captured_at,
        "received_at": data.received_at,
    }


def _disposition_row(d: r.DispositionDecided) -> Row:
    row = d.to_avro() | {
        "latency_ms": _latency(d),
        "deviating": _deviating(d.evidence.deviations),
        "unproven": d.evidence.unproven,
    }
    for elsewhere in ("context", "image", "captured_at", "received_at"):
        del row[elsewhere]
    return row


def _deviating(deviations: Sequence[r.Deviation]) -> list[str]:
    """Reasons, each once, that are no reason of the audit's verdict. Cameras are compared here, for every capture."""
    reasons = (one.reason for one in deviations if not one.rejects)
    return [reason for reason in dict.fromkeys(reasons) if reason != OTHER_CAMERA]


def _latency(d: r.DispositionDecided) -> float:
    return latency_ms(d.captured_at, d.received_at, d.decided_at)


def _review_row(review: r.ReviewRequested) -> Row:
    row = review.to_avro()
    del row["received_at"]
    wanted = min(2, max(1, review.answers_wanted))
    return row | {"line": review.context.line, "station": review.context.station, "answers_wanted": wanted}


def _action_row(action: r.ActionOpened) -> Row:
    row = action.to_avro()
    for elsewhere in ("scope", "suspected_cause", "evidence"):  # these stay with the signal
        del row[elsewhere]
    return row | {"line": action.scope.line or "", "station": action.scope.station or ""}


def _of(events: Sequence[Event[Any]], kind: type[R]) -> list[R]:
    return [e.data for e in events if isinstance(e.data, kind)]


def _is_uuid(text: str) -> bool:
    """In the form that PostgreSQL gives it back in: by any other a row would not be found again."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False

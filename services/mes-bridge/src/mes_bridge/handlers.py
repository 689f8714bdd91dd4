"""What happens when a disposition was decided, and when a finding comes back."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from andon_chassis.clock import Clock
from andon_chassis.errors import Invalid
from andon_chassis.events import Event, Outcome, Rejected, deterministic_id, event, station_key
from andon_chassis.telemetry import child_traceparent
from andon_events import records

from mes_bridge.domain.delivery import part_key, wanted_by
from mes_bridge.domain.finding import Finding, read_finding
from mes_bridge.ports import Addressed, Attempt, Delivered, Findings, Known, Outbound

SOURCE = "mes-bridge"


class UnknownCapture(Exception):
    """A finding about a capture that this service never heard of."""


class ReusedWebhookId(Exception):
    """A webhook id that came before, with another body."""


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Queues every disposition for every endpoint that wants it.

    Args:
        lines: Endpoint names with the lines they are for; no lines means all.
    """

    lines: Mapping[str, tuple[str, ...]]
    clock: Clock

    def handle(self, events: Sequence[Event[Any]], outbound: Outbound) -> Sequence[Outcome]:
        """Keep the dispositions of a batch and queue their deliveries."""
        outcomes: list[Outcome] = []
        known: list[Known] = []
        for one in events:
            try:
                known.append(_known(one))
                outcomes.append([])
            except Invalid as error:
                outcomes.append(Rejected(error.reason, error.advice))
        fresh = outbound.keep(known)
        outbound.address(
            [
                Addressed(
                    deterministic_id("delivery", endpoint, k.disposition_id), endpoint, k.disposition_id
                )
                for k in known
                if k.disposition_id in fresh
                for endpoint, lines in self.lines.items()
                if wanted_by(lines, k.line)
            ],
            self.clock.now(),
        )
        return outcomes


def _known(one: Event[Any]) -> Known:
    data: records.DispositionDecided = one.data
    context = data.context
    try:
        body = json.dumps(
            {"type": "disposition.decided", "timestamp": data.decided_at, "data": data.to_avro()},
            default=datetime.isoformat,
            ensure_ascii=False,
            allow_nan=False,
            separators=(",", ":"),
        )
    except ValueError as error:
        raise Invalid("not-a-number", "A score is NaN or infinite, which JSON has no word for.") from error
    if "\\u0000" in body:
        raise Invalid(
            "nul-character", "A text in this disposition contains U+0000; clean it where it was typed."
        )
    for name, text in (("capture_id", data.capture_id), ("disposition_id", data.disposition_id)):
        _check_identity(name, text)
    return Known(
        disposition_id=data.disposition_id,
        capture_id=data.capture_id,
        revision=data.revision,
        line=context.line,
        station=context.station,
        part=part_key(context.line, context.station, context.part_id, data.capture_id),
        kind=data.kind,
        body=body,
        traceparent=one.traceparent,
    )


def _check_identity(name: str, text: str) -> None:
    try:
        canonical = str(uuid.UUID(text)) == text
    except ValueError:
        canonical = False
    if not canonical:
        raise Invalid(
            f"malformed-{name.replace('_', '-')}",
            f"{text!r} is no UUID in its usual form; mend the producer.",
        )


def delivered(attempt: Attempt) -> Event[records.MesDelivered]:
    """The announcement of an acknowledgement."""
    job = attempt.job
    data = json.loads(job.body)["data"]
    context = records.CaptureContext.from_avro(data["context"])
    assert attempt.answer.status is not None
    made = records.MesDelivered(
        delivery_id=job.delivery_id,
        disposition_id=job.disposition_id,
        capture_id=data["capture_id"],
        context=context,
        endpoint=job.endpoint,
        attempts=job.attempts,
        status_code=attempt.answer.status,
        delivered_at=attempt.at,
    )
    return event(
        made,
        source=SOURCE,
        key=station_key(context.line, context.station),
        time=attempt.at,
        cause=job.delivery_id,
        traceparent=job.traceparent,
    )


@dataclass(frozen=True, slots=True)
class Receipt:
    """Answer to a finding: whether it is new, its result, and the event that announces it."""

    is_new: bool
    result: dict[str, Any]
    event: Event[records.MesFindingReceived] | None


def receive(webhook_id: str, body: bytes, findings: Findings, now: datetime) -> Receipt:
    """Take a finding whose signature was good.

    Raises:
        MalformedFinding: The body is no finding.
        UnknownCapture: Nobody here knows the capture.
        ReusedWebhookId: The id came before with another body.
    """
    finding = read_finding(body, now)
    digest = hashlib.sha256(body).hexdigest()
    disposition = findings.latest(finding.capture_id)
    if disposition is None:
        raise UnknownCapture(finding.capture_id)
    finding_id = deterministic_id("finding", webhook_id)
    result = {"finding_id": finding_id, "status": "recorded", "capture_id": finding.capture_id}
    is_new, known_digest, known_result = findings.first(webhook_id, digest, result)
    if known_digest != digest:
        raise ReusedWebhookId(webhook_id)
    return Receipt(is_new, known_result, _found(finding, finding_id, disposition, now) if is_new else None)


def _found(
    finding: Finding, finding_id: str, disposition: Delivered, now: datetime
) -> Event[records.MesFindingReceived]:
    """The announcement of a finding, in the trace of the capture that it is about."""
    context = records.CaptureContext.from_avro(disposition.data["context"])
    data = records.MesFindingReceived(
        finding_id=finding_id,
        kind=finding.kind,
        capture_id=finding.capture_id,
        context=context,
        class_name=finding.class_name,
        disposition_kind=disposition.data["kind"],
        reported_by=finding.reported_by,
        note=finding.note,
        found_at=finding.found_at,
        received_at=now,
    )
    key = station_key(context.line, context.station)
    at_ns = time.time_ns()
    traceparent = child_traceparent(
        f"{SOURCE} finding", disposition.traceparent, at_ns, at_ns, finding_id=finding_id
    )
    return event(
        data, source=SOURCE, key=key, time=finding.found_at, cause=finding_id, traceparent=traceparent
    )

"""A delivery and a finding belong to the trace of the capture that they are about."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from andon_chassis.clock import SystemClock
from andon_chassis.testing import TRACE_ID, TRACEPARENT, recorded_spans
from mes_bridge.adapters.http import HttpSender
from mes_bridge.adapters.signature import Keyring
from mes_bridge.handlers import receive
from mes_bridge.ports import Delivered, Job

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = SystemClock().now()


def job(traceparent: str | None) -> Job:
    return Job("delivery-1", "mes", "disposition-1", '{"data":{}}', traceparent, "lease", 2, NOW)


@pytest.fixture
def sender(plant: Any) -> HttpSender:
    return HttpSender(plant.url, Keyring([SECRET]), connections=1, timeout_s=5)


def test_the_request_carries_the_span_of_its_attempt(plant: Any, sender: HttpSender) -> None:
    with recorded_spans() as spans:
        sender.send(job(TRACEPARENT), NOW)
    (span,) = spans.named("mes-bridge deliver")
    assert span.parent is not None and f"{span.parent.span_id:016x}" in TRACEPARENT
    wanted = {"delivery_id": "delivery-1", "endpoint": "mes", "attempt": 2, "answer": 204}
    assert dict(span.attributes or {}) == wanted
    assert [headers["traceparent"] for headers, _ in plant.seen] == spans.traceparents("mes-bridge deliver")


def test_where_no_span_is_kept_the_trace_is_passed_on_as_it_is(plant: Any, sender: HttpSender) -> None:
    sender.send(job(TRACEPARENT), NOW)
    sender.send(job(None), NOW)
    assert [headers.get("traceparent") for headers, _ in plant.seen] == [TRACEPARENT, None]


@dataclass
class OneCapture:
    """Findings about a capture whose disposition was delivered."""

    disposition: Delivered

    def latest(self, capture_id: str) -> Delivered | None:
        return self.disposition

    def first(
        self, webhook_id: str, body_sha256: str, result: dict[str, Any]
    ) -> tuple[bool, str, dict[str, Any]]:
        return True, body_sha256, result


def test_a_finding_joins_the_trace_of_its_capture(disposition: Any) -> None:
    data = disposition(1).data
    body = {
        "kind": "false-reject",
        "capture_id": data.capture_id,
        "reported_by": "re-inspection",
        "found_at": NOW.isoformat(),
    }
    with recorded_spans() as spans:
        receipt = receive(
            "msg_1", json.dumps(body).encode(), OneCapture(Delivered(data.to_avro(), TRACEPARENT)), NOW
        )
    assert receipt.event is not None
    assert [receipt.event.traceparent] == spans.traceparents("mes-bridge finding")
    assert str(receipt.event.traceparent).split("-")[1] == TRACE_ID

"""Trace context is always there; spans go where somebody wants them, and a collector that is away disturbs nobody."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from andon_chassis.clock import SystemClock
from andon_chassis.health import Health
from andon_chassis.http import TRACED, install
from andon_chassis.telemetry import CollectorExporter, JsonLinesExporter, trace_field
from andon_chassis.testing import TRACEPARENT as PARENT
from andon_chassis.testing import recorded_spans
from fastapi import FastAPI
from fastapi.testclient import TestClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from prometheus_client import REGISTRY

# Tracing is set up once for each process, so each test has one of its own.
SERVICE = """
import json, logging, sys
from pathlib import Path
from andon_chassis import telemetry

file = Path(sys.argv[1]) if len(sys.argv) > 1 else None
telemetry.configure("quality-audit", "quality-audit-1", "INFO", file)
with telemetry.span("audit", capture_id="c1"):
    own = telemetry.current_traceparent()
    telemetry.log.info("looked")
with telemetry.span("audit", sys.stdin.readline().strip(), capture_id="c2"):
    joined = telemetry.current_traceparent()
child = telemetry.child_traceparent("step", joined, 1, 2, event_id="e1")
loaded = [name for name in ("google.protobuf", "requests") if name in sys.modules]
print(json.dumps({"own": own, "joined": joined, "child": child, "loaded": loaded}))
"""


def _serve(*arguments: str, endpoint: str = "") -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What a small service says about its spans, and its log."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", SERVICE, *arguments],
        input=PARENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=env | {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint},
    )
    return json.loads(done.stdout), [json.loads(line) for line in done.stderr.splitlines()]


@contextmanager
def _collector() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """A collector: its address, and what it was sent."""
    got: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", got
        server.shutdown()


def _trace_id(traceparent: str) -> str:
    return traceparent.split("-")[1]


def test_context_is_made_and_passed_on_where_no_span_is_kept() -> None:
    said, log = _serve()
    assert int(_trace_id(said["own"]), 16) > 0
    assert said["own"].endswith(("-01", "-03"))  # sampled: whoever keeps spans further on keeps these
    assert [(line["event"], line["trace_id"]) for line in log] == [("looked", _trace_id(said["own"]))]
    assert said["joined"] == said["child"] == PARENT
    assert said["loaded"] == []


def test_spans_go_to_a_file_below_the_senders_span(tmp_path: Path) -> None:
    said, _ = _serve(str(tmp_path / "spans.jsonl"))
    spans = [json.loads(line) for line in (tmp_path / "spans.jsonl").read_text().splitlines()]
    own, joined, step = spans
    assert (own["trace_id"], own["parent_id"]) == (_trace_id(said["own"]), None)
    assert (joined["trace_id"], joined["parent_id"]) == ("ab" * 16, "cd" * 8)
    assert (step["trace_id"], step["parent_id"]) == ("ab" * 16, joined["span_id"])
    assert said["child"].split("-")[2] == step["span_id"]
    assert step["service"] == "quality-audit"
    assert step["attributes"] == {"event_id": "e1"}
    assert said["loaded"] == []


def test_spans_go_to_a_collector_over_otlp() -> None:
    with _collector() as (address, got):
        _serve(endpoint=address)
    assert {path for path, _ in got} == {"/v1/traces"}
    sent = [ExportTraceServiceRequest.FromString(body) for _, body in got]
    resources = [spans for request in sent for spans in request.resource_spans]
    for spans in resources:
        named = {one.key: one.value.string_value for one in spans.resource.attributes}
        assert named["service.name"] == "quality-audit"
        assert named["service.instance.id"] == "quality-audit-1"
    found = [span for spans in resources for scope in spans.scope_spans for span in scope.spans]
    assert sorted(span.name for span in found) == ["audit", "audit", "step"]
    assert [span.trace_id.hex() for span in found].count("ab" * 16) == 2


class _Collector(SpanExporter):
    """Answers as it is told."""

    def __init__(self) -> None:
        self.answer = SpanExportResult.SUCCESS
        self.asked = 0
        self.is_shut_down = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked += 1
        return self.answer

    def shutdown(self) -> None:
        self.is_shut_down = True


def test_a_collector_that_is_away_is_told_and_not_waited_for_at_the_end() -> None:
    collector = _Collector()
    exporter = CollectorExporter(collector)

    def told() -> float | None:
        return REGISTRY.get_sample_value("andon_dependency_unavailable", {"dependency": "trace collector"})

    collector.answer = SpanExportResult.FAILURE
    exporter.export([])
    assert told() == 1
    collector.answer = SpanExportResult.SUCCESS
    exporter.export([])
    assert told() == 0
    exporter.give_up()
    assert not collector.is_shut_down  # it answers: what is queued goes out first
    collector.answer = SpanExportResult.FAILURE
    for _ in range(3):
        assert exporter.export([]) is SpanExportResult.FAILURE
    assert collector.asked == 3  # once after the end began, and then no more


def test_a_wait_for_a_collector_ends_with_the_service() -> None:
    collector = _Collector()
    collector.answer = SpanExportResult.FAILURE
    exporter = CollectorExporter(collector)
    exporter.export([])
    exporter.give_up()
    assert collector.is_shut_down


def test_a_trace_file_does_not_grow_without_bound(tmp_path: Path) -> None:
    file = tmp_path / "service.traces.jsonl"
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(JsonLinesExporter(file, most_bytes=2000)))
    for number in range(100):
        provider.get_tracer("test").start_span("work", attributes={"number": number}).end()
    provider.shutdown()
    before = tmp_path / "service.traces.jsonl.1"
    assert sorted(tmp_path.iterdir()) == [file, before]
    assert 2000 <= before.stat().st_size < 2500
    assert file.stat().st_size < 2500
    lines = before.read_text().splitlines() + file.read_text().splitlines()
    numbers = [json.loads(line)["attributes"]["number"] for line in lines]
    assert numbers == list(range(100 - len(numbers), 100))


def test_a_request_is_one_span_and_a_probe_is_none() -> None:
    with recorded_spans() as spans:
        app = FastAPI(telemetry={**TRACED, "tracer_provider": spans.provider})
        install(app, Health(SystemClock()))
        app.add_api_route("/parts/{part}", lambda part: {"part": part})
        client = TestClient(app)
        assert client.get("/healthz").status_code == 200
        assert client.get("/parts/1", headers={"traceparent": PARENT}).json() == {"part": "1"}
    assert spans.names() == ["GET /parts/{part}"]
    assert _trace_id(spans.traceparents("GET /parts/{part}")[0]) == "ab" * 16


@pytest.mark.parametrize("traceparent", [None, "", b"\xff", "nonsense", f"00-{'0' * 32}-{'cd' * 8}-01"])
def test_no_trace_no_field(traceparent: str | bytes | None) -> None:
    assert trace_field(traceparent) == {}


def test_a_log_line_outside_of_its_span_can_be_joined() -> None:
    assert trace_field(PARENT) == trace_field(PARENT.encode()) == {"trace_id": "ab" * 16}

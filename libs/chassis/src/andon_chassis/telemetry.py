"""Logs, traces and metrics, set up once.

Logs are JSON lines with the trace's id. Every service makes and passes on trace context. Spans are recorded where they
go somewhere: to a file of JSON lines (ANDON_TRACE_FILE), to a collector (the standard OTEL_EXPORTER_OTLP_ENDPOINT, over
HTTP; the exporter's other OTEL_ variables work too), or both. Metric labels are line, station, class and reason only;
capture ids belong on spans.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import structlog
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from prometheus_client import Counter, Gauge, Histogram

EVENTS_IN = Counter("andon_events_in_total", "Events consumed", ["topic"])
EVENTS_OUT = Counter("andon_events_out_total", "Events produced", ["topic"])
DEAD_LETTERS = Counter("andon_dead_letters_total", "Messages that can never work", ["topic", "reason"])
REPEATS = Counter("andon_repeats_total", "Events dropped because they had been handled", ["topic"])
ABORTS = Counter("andon_transactions_aborted_total", "Kafka transactions aborted")
BATCH_SECONDS = Histogram(
    "andon_batch_seconds",
    "Time to handle one batch",
    ["step"],
    buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
BATCH_SIZE = Histogram(
    "andon_batch_size", "Events in one batch", ["step"], buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500)
)
UNAVAILABLE = Gauge("andon_dependency_unavailable", "1 while a dependency does not answer", ["dependency"])
OUTBOX_WAITING = Gauge("andon_outbox_waiting", "Outbox rows not yet published")

tracer = trace.get_tracer("andon_chassis")
log = structlog.get_logger()

COLLECTORS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Either says that there is a collector; the exporter itself reads where."""

TRACE_FILE_BYTES = 20_000_000
"""A trace file that has grown to this is put aside as `<name>.1`, in the place of the one before."""


class JsonLinesExporter(SpanExporter):
    """Appends each finished span as one JSON line; keeps the file and one before it, each of about `most_bytes`."""

    def __init__(self, path: Path, most_bytes: int = TRACE_FILE_BYTES) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._most_bytes = most_bytes
        self._file = self._open()

    def _open(self) -> IO[str]:
        return self._path.open("a", buffering=1 << 16)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            context = span.get_span_context()
            if context is None:
                continue
            self._file.write(
                json.dumps(
                    {
                        "trace_id": f"{context.trace_id:032x}",
                        "span_id": f"{context.span_id:016x}",
                        "parent_id": f"{span.parent.span_id:016x}" if span.parent else None,
                        "name": span.name,
                        "service": span.resource.attributes.get("service.name"),
                        "start_ns": span.start_time,
                        "end_ns": span.end_time,
                        "attributes": dict(span.attributes or {}),
                    }
                )
                + "\n"
            )
        self._file.flush()
        if os.fstat(self._file.fileno()).st_size >= self._most_bytes:
            self._put_aside()
        return SpanExportResult.SUCCESS

    def _put_aside(self) -> None:
        # Renamed first: when that fails, the open file is still the right one.
        self._path.replace(self._path.with_name(self._path.name + ".1"))
        self._file.close()
        self._file = self._open()

    def shutdown(self) -> None:
        self._file.close()


class CollectorExporter(SpanExporter):
    """Sends spans to a collector, and tells when it goes away and comes back instead of at every attempt."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._away = False
        self._ending = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._ending and self._away:
            return SpanExportResult.FAILURE
        result = self._exporter.export(spans)
        away = result is not SpanExportResult.SUCCESS
        if away != self._away:
            self._away = away
            UNAVAILABLE.labels("trace collector").set(int(away))
            tell = log.warning if away else log.info
            tell("traces.unavailable" if away else "traces.available", spans=len(spans))
        return result

    def give_up(self) -> None:
        """A service that ends does not wait for a collector that is away; what is still queued is dropped."""
        self._ending = True
        if self._away:
            self._exporter.shutdown()

    def shutdown(self) -> None:
        self._exporter.shutdown()


class Recording:
    """Whether spans go anywhere; where they do not, context is passed on and nothing is built to be thrown away."""

    on = False


def configure(service: str, instance_id: str, log_level: str, trace_file: Path | None) -> None:
    """Set up logging and tracing for this process."""
    logging.basicConfig(level=log_level, stream=sys.stderr, format="%(message)s", force=True)
    for noisy in ("httpx", "httpcore", "uvicorn.access", "yoyo", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_trace,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(log_level)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service, instance=instance_id)
    exporters = _exporters(trace_file)
    Recording.on = bool(exporters)
    trace.set_tracer_provider(_provider(service, instance_id, exporters))


def _exporters(trace_file: Path | None) -> list[SpanExporter]:
    """Where this process's spans go."""
    exporters: list[SpanExporter] = []
    if trace_file is not None:
        exporters.append(JsonLinesExporter(trace_file))
    if any(os.environ.get(name, "").strip() for name in COLLECTORS):
        # Only here: with protobuf and requests it takes 12 MB.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
        exporters.append(CollectorExporter(OTLPSpanExporter()))
    return exporters


def _provider(service: str, instance_id: str, exporters: Sequence[SpanExporter]) -> TracerProvider:
    """Always there, so that a capture gets its trace id also where no span is kept."""
    provider = TracerProvider(
        resource=Resource.create({"service.name": service, "service.instance.id": instance_id})
    )
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter))
        if isinstance(exporter, CollectorExporter):
            atexit.register(exporter.give_up)  # runs before the provider's own, which waits
    return provider


def _add_trace(logger: object, method: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        entry["trace_id"] = f"{context.trace_id:032x}"
    return entry


def current_traceparent() -> str | None:
    """The current span as a W3C traceparent header, or None outside of a trace."""
    current = trace.get_current_span()
    return None if current is trace.INVALID_SPAN else traceparent_of(current)


def traceparent_of(current: trace.Span) -> str | None:
    """A span as a W3C traceparent header, or None when it belongs to no trace."""
    context = current.get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def trace_field(traceparent: str | bytes | None) -> dict[str, str]:
    """The field that joins a log line to a trace, for what is told outside of its span."""
    if isinstance(traceparent, bytes):
        traceparent = traceparent.decode("ascii", "replace")
    context = parse_traceparent(traceparent)
    return {} if context is None else {"trace_id": f"{context.trace_id:032x}"}


def parse_traceparent(traceparent: str | None) -> SpanContext | None:
    """The context that a traceparent header names, or None when it is absent or malformed."""
    parts = (traceparent or "").split("-")
    if len(parts) < 4:
        return None
    try:
        context = SpanContext(int(parts[1], 16), int(parts[2], 16), True, TraceFlags(int(parts[3][:2], 16)))
    except ValueError:
        return None
    return context if context.is_valid else None


@contextlib.contextmanager
def span(name: str, traceparent: str | None = None, **attributes: str | int | float) -> Iterator[trace.Span]:
    """A span below the current one, or below the remote parent when a traceparent is given."""
    remote = parse_traceparent(traceparent)
    if remote is not None and not Recording.on:
        with trace.use_span(NonRecordingSpan(remote)) as passed_on:
            yield passed_on
        return
    context = trace.set_span_in_context(NonRecordingSpan(remote)) if remote else None
    with tracer.start_as_current_span(name, context=context, attributes=attributes) as current:
        yield current


def child_traceparent(
    name: str, traceparent: str | None, start_ns: int, end_ns: int, **attributes: str
) -> str | None:
    """Record a finished span for one event of a batch and give its traceparent for the events that follow.

    A batch is handled as a whole, so each event's span has the batch's times; what joins the services is the parent.
    """
    if not Recording.on:
        return traceparent
    remote = parse_traceparent(traceparent)
    if remote is None:
        return traceparent
    context = trace.set_span_in_context(NonRecordingSpan(remote))
    current = tracer.start_span(name, context=context, attributes=attributes, start_time=start_ns, links=())
    current.end(end_ns)
    return traceparent_of(current) or traceparent

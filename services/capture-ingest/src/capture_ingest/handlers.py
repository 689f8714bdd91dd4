"""The one way in: whatever brings an image, `Admission.submit` takes it.

An image goes to the object store first, on one of several threads. Then one thread files everything that has
been stored meanwhile in one transaction: the row that makes a capture unique and the event that announces it.
Collecting for a few milliseconds makes hundreds of captures a second cost few commits. A station's captures
are filed in the order in which they arrived; a slow upload of one station does not hold up another.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import Any

import structlog
from andon_chassis.clock import Clock
from andon_chassis.consuming import Batching
from andon_chassis.errors import Invalid, Unavailable
from andon_chassis.events import Event, deterministic_id, event, station_key
from andon_chassis.health import Health
from andon_chassis.objects import IMAGES, ObjectStore
from andon_chassis.telemetry import parse_traceparent, trace_field, traceparent_of, tracer
from andon_events import records as r
from andon_vision import DecodeLimits, ImageHeader, ImageRefused, inspect_image
from opentelemetry import trace
from prometheus_client import Counter, Histogram

from capture_ingest.domain.metadata import Metadata, MetadataError, missing_from, read_metadata
from capture_ingest.domain.timing import event_time
from capture_ingest.ports import Filed, Ledger, StationDefaults, StationOf

log = structlog.get_logger()

CAPTURES = Counter("andon_captures_total", "Captures by outcome", ["line", "station", "via", "status"])
MISSING = Counter("andon_capture_missing_total", "Metadata that were missing", ["line", "station", "field"])
REFUSED = Counter("andon_captures_refused_total", "Images refused", ["via", "reason"])
ADMISSION = Histogram(
    "andon_admission_seconds",
    "From the complete upload to the durable capture",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5),
)

NOBODY = "unregistered"
"""Label of stations nobody registered: anyone can invent names, and each would be a time series."""

DRAIN_S = 5.0
"""How long a stopping instance finishes what it has taken."""


@dataclass(frozen=True, slots=True)
class Submission:
    """An image as it came in.

    Attributes:
        metadata: Raw, as `read_metadata` takes it.
        via: http, folder or mqtt.
        traceparent: W3C trace context of the sender.
    """

    data: bytes
    metadata: Mapping[str, object]
    via: str
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the sender gets once the capture is durable.

    Attributes:
        created: False when it had been recorded before.
        missing: Expected metadata that were not given.
        ignored: Metadata that nobody knows.
    """

    capture_id: str
    sha256: str
    created: bool
    missing: tuple[str, ...]
    ignored: tuple[str, ...]

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "capture_id": self.capture_id,
            "sha256": self.sha256,
            "status": "recorded" if self.created else "already-recorded",
            "missing": list(self.missing),
            "ignored": list(self.ignored),
        }


@dataclass(slots=True, eq=False)
class _Ticket:
    """One submission on its way."""

    submission: Submission
    metadata: Metadata
    received_at: datetime
    began: float
    span: trace.Span
    answer: Future[Receipt] = field(default_factory=Future)
    capture: Event[r.CaptureRecorded] | None = None

    @property
    def station(self) -> tuple[str, str]:
        return self.metadata.line, self.metadata.station


@dataclass(frozen=True, slots=True)
class AdmissionSettings:
    """How much is collected.

    Attributes:
        batching: Captures in one transaction, and how long the first of them waits for company.
        uploads: Images stored side by side.
    """

    batching: Batching
    uploads: int = 12


class Admission:
    """Takes submissions from any thread.

    Args:
        source: Name of this service in its events.
    """

    def __init__(
        self,
        *,
        source: str,
        objects: ObjectStore,
        ledger: Ledger,
        station_of: StationOf,
        clock: Clock,
        health: Health,
        limits: DecodeLimits,
        settings: AdmissionSettings,
    ) -> None:
        self._source = source
        self._objects = objects
        self._ledger = ledger
        self._station_of = station_of
        self._clock = clock
        self._health = health
        self._limits = limits
        self._settings = settings
        self._uploads = ThreadPoolExecutor(settings.uploads, thread_name_prefix="upload")
        self._changed = threading.Condition()
        self._waiting: list[_Ticket] = []
        self._last = 0
        self._closed = "it is still starting"
        health.not_ready("admission", self._closed)

    def submit(self, submission: Submission) -> Future[Receipt]:
        """Take an image in. The future gives a Receipt, or raises Invalid (refused) or Unavailable (send
        again).
        """
        try:
            ticket = self._ticket(submission)
        except MetadataError as error:
            REFUSED.labels(submission.via, error.reason).inc()
            return _failed(Invalid(error.reason, error.advice))
        with self._changed:
            if self._closed:
                return _failed(Unavailable("capture-ingest", self._closed))
            self._waiting.append(ticket)
            # From here on nobody can cancel: the capture may be durable although its sender has gone.
            ticket.answer.set_running_or_notify_cancel()
            self._uploads.submit(self._store, ticket)
        return ticket.answer

    def _ticket(self, submission: Submission) -> _Ticket:
        metadata = read_metadata(submission.metadata)
        remote = parse_traceparent(submission.traceparent)
        context = trace.set_span_in_context(trace.NonRecordingSpan(remote)) if remote else None
        span = tracer.start_span("capture", context=context)
        return _Ticket(submission, metadata, self._clock.now(), self._clock.monotonic(), span)

    # --- upload threads ---

    def _store(self, ticket: _Ticket) -> None:
        """Check the image and store it."""
        try:
            header = inspect_image(ticket.submission.data, self._limits)
            ref = self._objects.put(IMAGES, ticket.submission.data, header.media_type)
            capture = self._capture(ticket, header, ref)
        except ImageRefused as error:
            REFUSED.labels(ticket.submission.via, error.reason).inc()
            self._withdraw(ticket, Invalid(error.reason, error.advice))
        except Exception as error:
            if not isinstance(error, Unavailable):
                log.error("admission.bug", exc_info=True, **trace_field(traceparent_of(ticket.span)))
            self._withdraw(ticket, _not_the_images_fault(error))
        else:
            with self._changed:
                ticket.capture = capture
                self._changed.notify()

    def _capture(self, ticket: _Ticket, header: ImageHeader, ref: r.ObjectRef) -> Event[r.CaptureRecorded]:
        metadata = ticket.metadata
        fields = _filled(metadata, self._station_of(*ticket.station))
        captured_at, trusted = event_time(metadata.captured_at, ticket.received_at)
        capture_id = deterministic_id("capture", *ticket.station, metadata.trigger_id or ref.sha256)
        recorded = r.CaptureRecorded(
            capture_id=capture_id,
            context=r.CaptureContext(**fields),
            image=r.ImageRef(
                object=ref,
                width=header.width,
                height=header.height,
                channels=header.channels,
                bit_depth=header.bit_depth,
            ),
            trigger_id=metadata.trigger_id,
            settings=dict(metadata.settings),
            assumed=[name for name in fields if name not in metadata.fields],
            missing=missing_from(fields) + ([] if trusted else ["captured_at"]),
            received_via=ticket.submission.via,
            captured_at=captured_at,
            received_at=ticket.received_at,
        )
        return event(
            recorded,
            source=self._source,
            key=station_key(*ticket.station),
            time=captured_at,
            cause=capture_id,
            traceparent=traceparent_of(ticket.span),
        )

    def _withdraw(self, ticket: _Ticket, error: Exception) -> None:
        """Take a ticket out of the line, so that its station's next one may go."""
        with self._changed:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            self._changed.notify()
        self._fail(ticket, error)

    @staticmethod
    def _fail(ticket: _Ticket, error: Exception) -> None:
        """Answer with an error, and let go of the image: the error's frames would keep it until a collection."""
        ticket.span.end()
        ticket.submission = replace(ticket.submission, data=b"")
        ticket.answer.set_exception(error.with_traceback(None))

    # --- filing thread ---

    def run(self, stop: threading.Event) -> None:
        """File what has been stored, until stopped and until all that was taken has been answered.

        Nothing is taken before this runs: an upload that nobody files would be stored and wait for ever.
        """
        with self._changed:
            self._closed = ""
        self._health.ready("admission")
        try:
            while not stop.is_set():
                self._health.beat("admission")
                self._turn(0.1)
            deadline = time.monotonic() + DRAIN_S
            # One idle turn more: a request that was being read when the stop came may still submit.
            while (self._turn(0.1) or self._waiting) and time.monotonic() < deadline:
                self._health.beat("admission")
        finally:
            self._close()

    def _close(self) -> None:
        """Take nothing more, and answer what is left."""
        with self._changed:
            self._closed = "it is being stopped"
            left = list(self._waiting)
        self._uploads.shutdown(wait=True, cancel_futures=True)
        for ticket in left:
            if not ticket.answer.done():
                self._withdraw(ticket, Unavailable("capture-ingest", self._closed))
        self._health.forget("admission")

    def _turn(self, timeout_s: float) -> int:
        batch = self._next_batch(timeout_s)
        if batch:
            self._file(batch)
        return len(batch)

    def _next_batch(self, timeout_s: float) -> list[_Ticket]:
        """Stored tickets, in the order in which each station's arrived."""
        with self._changed:
            if not self._changed.wait_for(lambda: any(self._free()), timeout_s):
                return []
        time.sleep(self._settings.batching.patience_s(self._last))
        with self._changed:
            batch = list(islice(self._free(), self._settings.batching.most))
            taken = set(batch)
            self._waiting = [ticket for ticket in self._waiting if ticket not in taken]
        self._last = len(batch)
        return batch

    def _free(self) -> Iterator[_Ticket]:
        """Stored tickets with nothing before them: one that is done waits for an earlier one of its station."""
        blocked: set[tuple[str, str]] = set()
        for ticket in self._waiting:
            if ticket.station in blocked:
                continue
            if ticket.capture is None:
                blocked.add(ticket.station)
            else:
                yield ticket

    def _file(self, batch: Sequence[_Ticket]) -> None:
        captures = [t.capture for t in batch if t.capture is not None]
        try:
            results = self._ledger.file(captures)
        except BaseException as error:
            if not isinstance(error, Unavailable):
                log.critical("admission.bug", exc_info=True)
            for ticket in batch:
                self._fail(ticket, _not_the_images_fault(error))
            if not isinstance(error, Unavailable):
                raise
            log.warning("admission.unavailable", dependency=error.dependency, detail=error.detail)
            return
        for ticket, capture, filed in zip(batch, captures, results, strict=True):
            self._answer(ticket, capture.data, filed)

    def _answer(self, ticket: _Ticket, capture: r.CaptureRecorded, filed: Filed) -> None:
        ticket.span.set_attribute("capture_id", capture.capture_id)
        ticket.span.end()
        via = ticket.submission.via
        registered = self._station_of(*ticket.station) is not None
        line, station = ticket.station if registered else (NOBODY, NOBODY)
        CAPTURES.labels(line, station, via, filed).inc()
        ADMISSION.observe(self._clock.monotonic() - ticket.began)
        if filed == "conflict":
            REFUSED.labels(via, "trigger-conflict").inc()
            advice = (
                f"Trigger {capture.trigger_id} of this station has another image, which stays. "
                "Give each trigger an id of its own."
            )
            ticket.answer.set_exception(Invalid("trigger-conflict", advice))
            return
        if filed == "recorded":
            for name in capture.missing:
                MISSING.labels(line, station, name).inc()
        sha256 = capture.image.object.sha256
        missing, ignored = tuple(capture.missing), ticket.metadata.ignored
        ticket.answer.set_result(Receipt(capture.capture_id, sha256, filed == "recorded", missing, ignored))


def _not_the_images_fault(error: BaseException) -> Unavailable:
    """What a sender is told of a failure here: to keep the image and send it again. An Invalid would let it go,
    and that is only for an image that can never be taken; a schema nobody registered is no such thing.
    """
    if isinstance(error, Unavailable):
        return error
    return Unavailable("capture-ingest", f"it failed ({type(error).__name__}); its log says more")


def _failed(error: Exception) -> Future[Receipt]:
    future: Future[Receipt] = Future()
    future.set_exception(error)
    return future


def _filled(metadata: Metadata, station: StationDefaults | None) -> dict[str, str]:
    """What the camera said, and what is known of its station without being said."""
    fields = dict(metadata.fields)
    if station is not None:
        if station.camera is not None:
            fields.setdefault("camera", station.camera)
        fields.setdefault("capture_standard_version", station.capture_standard_version)
    return fields

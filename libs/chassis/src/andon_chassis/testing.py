"""For tests of services: sample events, and steps that run in the test's own thread.

bus, codec = MemoryBus(), Codec(MemorySchemaRegistry())
publish(bus, codec, [capture_recorded("1")])
step = stream_step(bus, codec, "quality-audit", ["capture.recorded"], handler)
drain(step)
assert events(bus, codec, "capture.audited") == ...
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

from andon_events import records as r
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from andon_chassis import telemetry
from andon_chassis.bus.memory import MemoryBus
from andon_chassis.bus.ports import Bus
from andon_chassis.clock import Clock, FakeClock
from andon_chassis.codec import Codec
from andon_chassis.consuming import Batching, Step
from andon_chassis.database import Database
from andon_chassis.deadletter import DeadLetterBudget
from andon_chassis.events import Event, deterministic_id, event, station_key
from andon_chassis.health import Health
from andon_chassis.objects import object_ref
from andon_chassis.state import StateHandler, StateStep
from andon_chassis.stream import PartitionMemory, StreamHandler, StreamStep

START = datetime(2026, 1, 1, tzinfo=UTC)

TRACE_ID = "ab" * 16
TRACEPARENT = f"00-{TRACE_ID}-{'cd' * 8}-01"
"""What a camera may send along."""

CRACK = r.Region(
    class_name="crack",
    x=12.0,
    y=30.5,
    width=40.0,
    height=6.0,
    score=0.8,
    outline=[12.0, 33.0, 52.0, 30.5, 52.0, 36.5],
    measurements={"length_mm": 4.2},
    key_points={"start": [12.0, 33.0]},
)
"""A region with everything that a release may say of one."""


class Spans:
    """The spans that were recorded."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def names(self) -> list[str]:
        """Of all that have ended."""
        return [span.name for span in self._exporter.get_finished_spans()]

    def named(self, name: str) -> list[ReadableSpan]:
        """Those that have ended under this name."""
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def traceparents(self, name: str) -> list[str]:
        """Those under this name in the form in which they are passed on."""
        contexts = [span.get_span_context() for span in self.named(name)]
        return [f"00-{c.trace_id:032x}-{c.span_id:016x}-{int(c.trace_flags):02x}" for c in contexts if c]


@contextmanager
def recorded_spans() -> Iterator[Spans]:
    """Record spans as a service with a trace file does."""
    spans = Spans()
    with (
        mock.patch.object(telemetry, "tracer", spans.provider.get_tracer("test")),
        mock.patch.object(telemetry.Recording, "on", True),
    ):
        yield spans


def context(line: str = "line-a", station: str = "cell-1", **known: Any) -> r.CaptureContext:
    """A capture context with the given fields known."""
    return r.CaptureContext(line=line, station=station, **known)


def image_ref(data: bytes = b"image", width: int = 300, height: int = 300) -> r.ImageRef:
    """An image reference; the object itself is not stored."""
    ref = object_ref("images", data, "image/png")
    return r.ImageRef(object=ref, width=width, height=height, channels=1, bit_depth=8)


def capture_recorded(
    trigger: str,
    *,
    line: str = "line-a",
    station: str = "cell-1",
    image: r.ImageRef | None = None,
    after_s: float = 0.0,
    **known: Any,
) -> Event[r.CaptureRecorded]:
    """What capture-ingest would have said of one trigger, `after_s` seconds after START."""
    at = START + timedelta(seconds=after_s)
    capture_id = deterministic_id("capture", line, station, trigger)
    data = r.CaptureRecorded(
        capture_id=capture_id,
        context=context(line, station, **known),
        image=image or image_ref(),
        trigger_id=trigger,
        received_via="http",
        captured_at=at,
        received_at=at,
    )
    return event(data, source="capture-ingest", key=station_key(line, station), time=at, cause=capture_id)


def publish(bus: Bus, codec: Codec, happened: Sequence[Event[Any]]) -> None:
    """Put events on the bus."""
    producer = bus.producer()
    producer.send([codec.encode(e) for e in happened])
    producer.close()


def events(bus: MemoryBus, codec: Codec, topic: str) -> list[Event[Any]]:
    """All events of a topic on an in-memory bus."""
    return [codec.decode(m) for m in bus.messages(topic)]


def _common(
    bus: Bus,
    codec: Codec,
    service: str,
    topics: Sequence[str],
    clock: Clock | None,
    batch_most: int,
    budget: DeadLetterBudget | None,
) -> dict[str, Any]:
    clock = clock or FakeClock()
    return {
        "service": service,
        "name": f"step {service}",
        "topics": topics,
        "consumer": bus.consumer(service),
        "codec": codec,
        "clock": clock,
        "health": Health(clock),
        "batching": Batching(batch_most, 0.005),
        "budget": budget or DeadLetterBudget(),
    }


def stream_step(
    bus: Bus,
    codec: Codec,
    service: str,
    topics: Sequence[str],
    handler: StreamHandler,
    *,
    memory: PartitionMemory | None = None,
    clock: Clock | None = None,
    instance: str = "1",
    batch_most: int = 100,
    budget: DeadLetterBudget | None = None,
) -> StreamStep:
    """A started stream step, to be turned by hand."""
    step = StreamStep(
        handler=handler,
        producer=bus.transactional_producer(f"{service}-{instance}"),
        tail=bus.tail_reader() if memory else None,
        memory=memory,
        **_common(bus, codec, service, topics, clock, batch_most, budget),
    )
    step.start()
    return step


def state_step(
    bus: Bus,
    codec: Codec,
    service: str,
    topics: Sequence[str],
    handler: StateHandler,
    database: Database,
    *,
    clock: Clock | None = None,
    batch_most: int = 100,
    budget: DeadLetterBudget | None = None,
) -> StateStep:
    """A started state step, to be turned by hand."""
    step = StateStep(
        group=service,
        handler=handler,
        database=database,
        **_common(bus, codec, service, topics, clock, batch_most, budget),
    )
    step.start()
    return step


def drain(step: Step, turns: int = 100) -> int:
    """Turn until nothing comes any more; gives the number of events handled."""
    handled = 0
    for _ in range(turns):
        now = step.turn(0.0)
        if not now:
            break
        handled += now
    return handled

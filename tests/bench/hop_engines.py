"""One hop (capture.recorded -> capture.audited) by four engines, each in a process of its own.

    python tests/bench/hop_engines.py ENGINE BOOTSTRAP REGISTRY PREFIX COUNT BATCH

Prints one JSON line: seconds from the first event to the last acknowledgement, and CPU seconds of the process.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import fastavro
from andon_chassis.bus.kafka import KafkaBus
from andon_chassis.bus.namespaced import Namespaced
from andon_chassis.clock import SystemClock
from andon_chassis.codec import Codec, HttpSchemaRegistry
from andon_chassis.events import Event, Outcome, event
from andon_chassis.service import collect_rarely
from andon_chassis.stream import each
from andon_chassis.testing import stream_step
from andon_events import records as r
from andon_events.topics import TOPICS
from confluent_kafka import Consumer, Producer, TopicPartition

IN, OUT = "capture.recorded", "capture.audited"


class Timer:
    """Wall and CPU seconds from the first event on."""

    def __init__(self) -> None:
        self.started: float | None = None
        self.cpu = 0.0

    def first(self) -> None:
        if self.started is None:
            self.started, self.cpu = time.perf_counter(), time.process_time()

    def report(self) -> None:
        assert self.started is not None
        seconds, cpu = time.perf_counter() - self.started, time.process_time() - self.cpu
        print(json.dumps({"seconds": seconds, "cpu_seconds": cpu}), flush=True)


def audited(recorded: dict[str, Any]) -> dict[str, Any]:
    """The same rule for every engine: accept."""
    return {
        "capture_id": recorded["capture_id"],
        "context": recorded["context"],
        "image": recorded["image"],
        "verdict": "accepted",
        "reasons": [],
        "measures": {"sharpness": 1.0},
        "perceptual_hash": None,
        "duplicate_of": None,
        "limits_version": None,
        "audited_at": datetime.now(UTC),
        "captured_at": recorded["captured_at"],
        "received_at": recorded["received_at"],
    }


class PlainAvro:
    """Avro in the wire format, with nothing around it."""

    def __init__(self, registry: str) -> None:
        self._in = fastavro.parse_schema(json.loads(TOPICS[IN].schema))
        self._out = fastavro.parse_schema(json.loads(TOPICS[OUT].schema))
        self._prefix = struct.pack(
            ">bI", 0, HttpSchemaRegistry(registry).id_of(f"{OUT}-value", TOPICS[OUT].schema)
        )

    def hop(self, value: bytes) -> bytes:
        buffer = io.BytesIO()
        buffer.write(self._prefix)
        recorded: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), self._in, None)
        fastavro.schemaless_writer(buffer, self._out, audited(recorded))
        return buffer.getvalue()


def bare(bootstrap: str, registry: str, prefix: str, count: int, batch: int) -> None:
    """confluent-kafka alone: exactly once, the loop that everybody writes first."""
    avro, timer = PlainAvro(registry), Timer()
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"{prefix}bare",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
        }
    )
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"{prefix}bare", "linger.ms": 1})
    producer.init_transactions()
    consumer.subscribe([prefix + IN])
    done = 0
    while done < count:
        messages = consumer.consume(batch, 0.1)
        if not messages:
            continue
        timer.first()
        producer.begin_transaction()
        for m in messages:
            producer.produce(prefix + OUT, avro.hop(m.value()), m.key(), headers=m.headers())
        offsets = {(m.topic(), m.partition()): m.offset() + 1 for m in messages}
        positions = [TopicPartition(topic, number, offset) for (topic, number), offset in offsets.items()]
        producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata())
        producer.commit_transaction()
        done += len(messages)
    timer.report()
    consumer.close()


def audit(e: Event[r.CaptureRecorded]) -> list[Event[Any]]:
    """The chassis's rule: the same, on records."""
    d = e.data
    made = r.CaptureAudited(
        capture_id=d.capture_id,
        context=d.context,
        image=d.image,
        verdict="accepted",
        measures={"sharpness": 1.0},
        audited_at=datetime.now(UTC),
        captured_at=d.captured_at,
        received_at=d.received_at,
    )
    return [event(made, source="audit", key=e.key, time=e.time, cause=e.id)]


def chassis(bootstrap: str, registry: str, prefix: str, count: int, batch: int) -> None:
    """The chassis's stream step, in a process set up like a service's."""
    collect_rarely()
    timer = Timer()
    bus, codec = Namespaced(KafkaBus(bootstrap), prefix), Codec(HttpSchemaRegistry(registry))
    step = stream_step(bus, codec, "chassis", [IN], each(audit), clock=SystemClock(), batch_most=batch)
    handled = step._handler

    class Timed:
        def handle(self, events: Sequence[Event[Any]]) -> Sequence[Outcome]:
            timer.first()
            return handled.handle(events)

    step._handler = Timed()
    done = 0
    while done < count:
        done += step.turn(0.1)
    timer.report()
    step.close()


async def faststream(bootstrap: str, registry: str, prefix: str, count: int, batch: int) -> None:
    """FastStream on confluent-kafka, at least once."""
    from faststream import AckPolicy
    from faststream.confluent import KafkaBroker

    avro, timer, finished = PlainAvro(registry), Timer(), asyncio.Event()
    broker = KafkaBroker(bootstrap, logger=None)
    done = 0

    @broker.subscriber(
        prefix + IN,
        group_id=f"{prefix}faststream",
        auto_offset_reset="earliest",
        batch=True,
        max_records=batch,
        ack_policy=AckPolicy.ACK,
        decoder=lambda message: message.body,
    )
    async def hop(bodies: list[bytes]) -> None:
        nonlocal done
        timer.first()
        await broker.publish_batch(*[avro.hop(b) for b in bodies], topic=prefix + OUT)
        done += len(bodies)
        if done >= count:
            finished.set()

    await broker.start()
    await finished.wait()
    timer.report()
    await broker.stop()


def faust_engine(bootstrap: str, registry: str, prefix: str, count: int, batch: int) -> None:
    """Faust, at least once."""
    import faust

    avro, timer = PlainAvro(registry), Timer()
    folder = tempfile.mkdtemp(prefix="andon-hop-")
    app = faust.App(
        f"{prefix}faust",
        broker=f"kafka://{bootstrap}",
        value_serializer="raw",
        web_enabled=False,
        stream_wait_empty=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        datadir=folder,
    )
    source = app.topic(prefix + IN, value_serializer="raw", key_serializer="raw")
    sink = app.topic(prefix + OUT, value_serializer="raw", key_serializer="raw")
    done = 0

    @app.agent(source)
    async def hop(stream: Any) -> None:
        nonlocal done
        async for bodies in stream.take(batch, within=0.1):
            timer.first()
            sent = [await sink.send(value=avro.hop(b)) for b in bodies]
            await asyncio.gather(*sent)
            done += len(bodies)
            if done >= count:
                timer.report()
                shutil.rmtree(folder, ignore_errors=True)
                os._exit(0)  # Faust's supervisor would catch anything gentler

    worker = faust.Worker(app, loglevel="ERROR", quiet=True, redirect_stdouts=False)
    worker.execute_from_commandline()


def main() -> None:
    engine, bootstrap, registry, prefix, count, batch = sys.argv[1:]
    arguments = (bootstrap, registry, prefix, int(count), int(batch))
    if engine == "bare":
        bare(*arguments)
    elif engine == "chassis":
        chassis(*arguments)
    elif engine == "faststream":
        asyncio.run(faststream(*arguments))
    else:
        faust_engine(*arguments)


if __name__ == "__main__":
    main()

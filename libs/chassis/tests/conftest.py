"""One wire for the behaviour tests: the in-memory bus, or real Kafka with the real schema registry."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from andon_chassis.bus.kafka import KafkaBus
from andon_chassis.bus.memory import MemoryBus
from andon_chassis.bus.namespaced import Namespaced
from andon_chassis.bus.ports import Bus, Message, Outgoing
from andon_chassis.codec import Codec, HttpSchemaRegistry, MemorySchemaRegistry
from andon_chassis.events import Event
from andon_chassis.stream import StreamHandler, StreamStep
from andon_chassis.testing import publish, stream_step
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

TOPICS = ("capture.recorded", "capture.audited", "audit.dead-letter")


class Wire:
    """What a behaviour test does with a bus, whichever it is."""

    def __init__(self, bus: Bus, codec: Codec, patience_s: float) -> None:
        self.bus = bus
        self.codec = codec
        self._patience_s = patience_s
        self._steps: list[StreamStep] = []
        self._readers: dict[str, Any] = {}
        self._seen: dict[str, list[Message]] = {}

    def name(self, topic: str) -> str:
        return topic

    def publish(self, happened: Sequence[Event[Any]]) -> None:
        publish(self.bus, self.codec, happened)

    def send(self, messages: Sequence[Outgoing]) -> None:
        producer = self.bus.producer()
        producer.send(messages)
        producer.close()

    def raw(self, topic: str) -> list[Message]:
        """Everything committed on a topic so far, by partition and offset."""
        if topic not in self._readers:
            self._readers[topic] = self.bus.follower([topic])
            self._seen[topic] = []
        while True:
            new = self._readers[topic].poll(0.05)
            self._seen[topic] += new
            if not new and self._readers[topic].caught_up():
                return sorted(self._seen[topic], key=lambda m: (m.partition, m.offset))

    def read(self, topic: str) -> list[Event[Any]]:
        return [self.codec.decode(m) for m in self.raw(topic)]

    def step(self, handler: StreamHandler, **options: Any) -> StreamStep:
        """A step of the service "audit"."""
        step = stream_step(self.bus, self.codec, "audit", ["capture.recorded"], handler, **options)
        self._steps.append(step)
        return step

    def stop(self, step: StreamStep) -> None:
        step._consumer.close()
        step.close()
        self._steps.remove(step)

    def wait(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self._patience_s
        while not done():
            assert time.monotonic() < deadline, "the condition did not come true"

    def close(self) -> None:
        for step in list(self._steps):
            self.stop(step)
        for reader in self._readers.values():
            reader.close()


@pytest.fixture(params=["memory", "kafka"])
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    if request.param == "memory":
        made = Wire(MemoryBus(), Codec(MemorySchemaRegistry()), 10)
    else:
        infra = request.getfixturevalue("infra")
        prefix = f"t{uuid.uuid4().hex[:8]}."
        admin = AdminClient({"bootstrap.servers": infra.kafka})
        wanted = [NewTopic(prefix + t, 4, 1) for t in TOPICS]
        for future in admin.create_topics(wanted).values():
            future.result(20)
        made = Wire(Namespaced(KafkaBus(infra.kafka), prefix), Codec(HttpSchemaRegistry(infra.registry)), 60)
    yield made
    made.close()

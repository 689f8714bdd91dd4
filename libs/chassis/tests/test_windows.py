"""Windows on real Kafka: nothing lost at a restart, offsets that follow, bugs that end the process."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from andon_chassis import windows
from andon_chassis.bus.faust import CommittedConsumer
from andon_chassis.bus.kafka import KafkaBus
from andon_chassis.bus.namespaced import Namespaced
from andon_chassis.bus.ports import Message, Partition
from andon_chassis.clock import SystemClock
from andon_chassis.codec import Codec, HttpSchemaRegistry
from andon_chassis.errors import Unavailable
from andon_chassis.events import Event
from andon_chassis.health import Health
from andon_chassis.testing import capture_recorded, publish
from andon_chassis.windows import Changes, States, Windows, WindowSettings
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

TOPIC, PARTITIONS = "capture.recorded", 4
STATION = "cell-1"


class PrefixedCodec(Codec):
    """Reads topics that carry a test's prefix."""

    def __init__(self, registry: str, prefix: str) -> None:
        super().__init__(HttpSchemaRegistry(registry))
        self._prefix = prefix

    def decode(self, message: Message) -> Event[Any]:
        return super().decode(replace(message, topic=message.topic.removeprefix(self._prefix)))


class Counting:
    """A state is how many events it has counted, and the offset it contains."""

    def __init__(self, states: States) -> None:
        self._states = states
        self._live: dict[str, tuple[int, int]] = {}
        self._changed: dict[str, int] = {}
        self.urgent = False

    def take(self, seen: Event[Any], partition: int, offset: int) -> bool:
        if seen.data.trigger_id == "bug":
            raise ZeroDivisionError("nobody expected this")
        count, applied = self._live.get(seen.key) or unpack(self._states.load(seen.key))
        if offset <= applied:
            return False
        self._live[seen.key] = count + 1, offset
        self._changed[seen.key] = partition
        return True

    def changes(self) -> Changes:
        states = {
            key: (partition, "{} {}".format(*self._live[key]).encode())
            for key, partition in self._changed.items()
        }
        self._changed = {}
        return Changes([], states)

    def sent(self, event: Event[Any]) -> None: ...

    def forget(self) -> None:
        self._live.clear()
        self._changed.clear()


def unpack(packed: bytes | None) -> tuple[int, int]:
    count, applied = (packed or b"0 -1").split()
    return int(count), int(applied)


class Scene:
    """A topic of the test's own, and windows that count its events."""

    def __init__(self, infra: Any, prefix: str, folder: Path) -> None:
        self._infra = infra
        self.prefix = prefix
        self._folder = folder
        admin = AdminClient({"bootstrap.servers": infra.kafka})
        for future in admin.create_topics([NewTopic(prefix + TOPIC, PARTITIONS, 1)]).values():
            future.result(20)
        self.bus = Namespaced(KafkaBus(infra.kafka), prefix)
        self.codec = PrefixedCodec(infra.registry, prefix)
        self._tail = KafkaBus(infra.kafka).tail_reader()
        self.health = Health(SystemClock())
        self.health.depends_on("kafka", KafkaBus(infra.kafka).ping)

    def close(self) -> None:
        self._tail.close()

    def publish(self, numbers: Sequence[int]) -> None:
        publish(self.bus, self.codec, [capture_recorded(str(n), station=STATION) for n in numbers])

    @contextmanager
    def running(self) -> Iterator[Future[None]]:
        settings = WindowSettings(
            bootstrap=self._infra.kafka,
            service="windows",
            group=f"{self.prefix}windows",
            sources=[self.prefix + TOPIC],
            partitions=PARTITIONS,
            table="counts",
            state_dir=self._folder,
            flush_s=0.2,
            session_s=6.0,
        )
        stop = threading.Event()
        made = Windows(settings, self.codec, self.health, SystemClock(), Counting)
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(made.run, stop)
            try:
                yield running
            finally:
                stop.set()

    def counted(self) -> int:
        """How many events the durable state contains."""
        changelog = f"{self.prefix}windows-counts-changelog"
        try:
            written = [m for n in range(PARTITIONS) for m in self._tail.last(Partition(changelog, n), 100)]
        except Unavailable:
            return 0  # nobody has made the changelog yet
        return unpack(written[-1].value)[0] if written else 0

    def behind(self) -> int:
        """How many offsets the group has not acknowledged yet, transaction marks included."""
        consumer = Consumer({"bootstrap.servers": self._infra.kafka, "group.id": f"{self.prefix}windows"})
        places = [TopicPartition(self.prefix + TOPIC, n) for n in range(PARTITIONS)]
        left = 0
        for place in consumer.committed(places, timeout=20):
            end = consumer.get_watermark_offsets(place, timeout=20)[1]
            left += end - max(0, place.offset)
        consumer.close()
        return left


@pytest.fixture
def scene(infra: Any, unique: Callable[[str], str], tmp_path: Path) -> Iterator[Scene]:
    made = Scene(infra, f"{unique('windows')}.", tmp_path)
    yield made
    made.close()


def late(work: Callable[..., Awaitable[None]], seconds: float) -> Callable[..., Awaitable[None]]:
    """The same, but it returns so much later."""

    async def slowly(*args: Any) -> None:
        await work(*args)
        await asyncio.sleep(seconds)

    return slowly


def until(condition: Callable[[], bool], running: Future[None], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert not running.done(), "the windows have ended"
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def test_a_restart_with_a_backlog_counts_each_event_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.publish(range(40))
    with scene.running() as running:
        until(lambda: scene.counted() == 40, running, "the first events counted")

    # As on a busy machine: one partition is sought and the others take their time, and so do the brokers.
    monkeypatch.setattr(CommittedConsumer, "perform_seek", late(CommittedConsumer.perform_seek, 1.5))
    monkeypatch.setattr(Windows, "_send", late(Windows._send, 2.0))
    scene.publish(range(40, 400))
    with scene.running() as running:
        for number in range(400, 420):
            scene.publish([number])
        until(lambda: scene.counted() >= 420, running, f"{scene.counted()} of 420 events counted")
    assert scene.counted() == 420


def test_the_group_s_offsets_follow_through_transactions(scene: Scene) -> None:
    producer = scene.bus.transactional_producer("source")
    producer.initialise()
    nobody = scene.bus.consumer("nobody")
    with scene.running() as running:
        for number in range(150):
            event = capture_recorded(str(number), station=STATION)
            producer.commit([scene.codec.encode(event)], {}, nobody)
        until(lambda: scene.counted() == 150, running, "all events counted")
        until(lambda: scene.behind() <= 2, running, "all but the last mark acknowledged")
    producer.close()
    nobody.close()


def test_a_bug_ends_the_windows(scene: Scene) -> None:
    publish(scene.bus, scene.codec, [capture_recorded("bug", station=STATION)])
    scene.publish(range(5))
    with scene.running() as running, pytest.raises(ZeroDivisionError):
        running.result(60)
    assert scene.counted() == 0, "nothing behind the bug was counted"


def test_it_says_that_it_turns_when_nothing_comes(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "WATCH_S", 0.2)
    with scene.running() as running:
        scene.publish([1])
        until(lambda: scene.counted() == 1, running, "the event counted")
        beats: set[float] = set()

        def beaten() -> bool:
            beats.add(scene.health._beats[windows.STEP])
            return len(beats) >= 5

        until(beaten, running, "the step's beats")

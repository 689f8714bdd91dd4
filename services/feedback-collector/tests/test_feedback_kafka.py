"""The running service on real Kafka: killed and restarted, fed with garbage, stopped."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from andon_chassis.bus.kafka import KafkaBus
from andon_chassis.bus.ports import Message, Outgoing, Partition
from andon_chassis.codec import Codec, HttpSchemaRegistry
from andon_chassis.errors import Unavailable
from andon_chassis.events import Event, deterministic_id, event, station_key
from andon_chassis.testing import context, image_ref
from andon_events import records as r
from andon_events import topics
from confluent_kafka import Consumer, TopicPartition
from feedback_collector.collector import Remembered
from feedback_collector.main import PARTITIONS, SOURCES

SIGNALS = topics.FEEDBACK_SIGNAL_RAISED.name
DEAD_LETTERS = "feedback-collector.dead-letter"
IMAGE = image_ref()


def until(condition: Callable[[], bool], what: str, seconds: float = 240.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds:.0f} s"
        time.sleep(0.1)


class Plant:
    """Publishes what a plant with one line of two stations would, and runs the collector beside it."""

    def __init__(self, env: dict[str, str], name: str, folder: Path) -> None:
        self.line, self.group = f"line-{name}", f"feedback-{name}"
        self.bootstrap = env["ANDON_KAFKA_BOOTSTRAP"]
        self.bus = KafkaBus(self.bootstrap)
        self.codec = Codec(HttpSchemaRegistry(env["ANDON_REGISTRY_URL"]))
        self.producer = self.bus.producer()
        self.tail = self.bus.tail_reader()
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.env = {
            **os.environ,
            **env,
            "ANDON_GROUP": self.group,
            "ANDON_STATE_DIR": str(folder),
            "ANDON_HTTP_PORT": str(self.port),
            "ANDON_SESSION_S": "6",
            "ANDON_FLUSH_S": "0.2",
            "ANDON_DRIFT_REFERENCE": "40",
            "ANDON_DRIFT_RECENT": "20",
            "ANDON_WINDOW_S": "86400",
            "ANDON_INVALID_RUN": "5",
        }
        self.now = datetime.now(UTC)
        self._skip_what_others_published()
        self.station("cell-1")
        self.station("cell-2")

    def _skip_what_others_published(self) -> None:
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.group})
        ends = []
        for topic in SOURCES:
            for number in range(PARTITIONS):
                place = TopicPartition(topic, number)
                place.offset = consumer.get_watermark_offsets(place, timeout=20)[1]
                ends.append(place)
        consumer.commit(offsets=ends, asynchronous=False)
        consumer.close()

    # --- what happens in the plant ---

    def send(self, events: Sequence[Event[Any]]) -> None:
        self.producer.send([self.codec.encode(one) for one in events])

    def event(self, data: Any, station: str) -> Event[Any]:
        key = station_key(self.line, station)
        return event(data, source="test", key=key, time=self.now, cause=str(data))

    def station(self, station: str) -> None:
        data = r.StationPublished(
            line=self.line,
            station=station,
            capture_standard_version="v1",
            validated_variants=["poly"],
            takt_ms=1000,
            published_at=self.now,
        )
        self.send([self.event(data, station)])

    def capture_id(self, station: str, number: int) -> str:
        return deterministic_id("capture", self.line, station, str(number))

    def capture(
        self, station: str, number: int, *, brightness: float, variant: str = "poly"
    ) -> list[Event[Any]]:
        capture_id = self.capture_id(station, number)
        ctx = context(self.line, station, part_number="cell", product_variant=variant)
        at = self.now - timedelta(seconds=1)
        common: dict[str, Any] = {
            "capture_id": capture_id,
            "context": ctx,
            "image": IMAGE,
            "captured_at": at,
            "received_at": at,
        }
        audit = r.CaptureAudited(
            **common,
            verdict="accepted",
            measures={"brightness": brightness, "sharpness": 50.0},
            audited_at=self.now,
        )
        score = r.InferenceCompleted(
            **common, status="scored", release="r1", defect_score=0.1, band="pass", completed_at=self.now
        )
        decision = r.DispositionDecided(
            **common,
            disposition_id=deterministic_id("disposition", capture_id),
            revision=1,
            kind="pass" if number % 2 else "reject",
            class_name=None if number % 2 else "crack",
            decided_by="policy",
            evidence=r.Evidence(audit_verdict="accepted", policy_version="v1"),
            decided_at=at + timedelta(milliseconds=200),
        )
        return [self.event(data, station) for data in (audit, score, decision)]

    def finding(self, station: str, number: int, kind: str) -> Event[Any]:
        data = r.MesFindingReceived(
            finding_id=deterministic_id("finding", self.line, station, str(number), kind),
            kind=kind,
            capture_id=self.capture_id(station, number),
            context=context(self.line, station, part_number="cell"),
            class_name="crack" if kind == "escape" else None,
            reported_by="mes",
            found_at=self.now,
            received_at=self.now,
        )
        return self.event(data, station)

    # --- the collector ---

    def start(self) -> None:
        log = (self.folder / "collector.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "feedback_collector"], env=self.env, stderr=log
        )

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def log(self) -> str:
        return (self.folder / "collector.log").read_text()

    # --- what came of it ---

    def everything(self, topic: str, partitions: int) -> list[Message]:
        try:
            return [m for number in range(partitions) for m in self.tail.last(Partition(topic, number), 5000)]
        except Unavailable:
            return []  # the changelog does not exist before the first start

    def signals(self) -> list[r.SignalRaised]:
        mine = (
            m for m in self.everything(SIGNALS, PARTITIONS) if (m.key or b"").decode().startswith(self.line)
        )
        return [self.codec.decode(m).data for m in mine]

    def state(self, station: str) -> Remembered | None:
        key = station_key(self.line, station).encode()
        written = [m for m in self.everything(f"{self.group}-stations-changelog", PARTITIONS) if m.key == key]
        return Remembered.unpack(written[-1].value or b"") if written else None

    def decisions(self, station: str) -> int:
        """How many decisions the durable state of a station contains."""
        state = self.state(station)
        return sum(w.count for w in state.station.slowness.windows.open.values()) if state else 0


@pytest.fixture
def plant(infra: Any, unique: Callable[[str], str], tmp_path: Path) -> Iterator[Plant]:
    world = Plant(infra.service_env("feedback-collector"), unique("fb"), tmp_path)
    world.start()
    yield world
    if world.process is not None and world.process.poll() is None:
        world.stop()


def test_killed_again_and_again_it_loses_no_signal_and_counts_nothing_twice(plant: Plant) -> None:
    draw = random.Random(11)
    kills = sorted(draw.sample(range(40, 240), 3))
    for number in range(240):
        events = plant.capture("cell-1", number, brightness=100.0)
        # the light of the second station fails midway
        events += plant.capture("cell-2", number, brightness=100.0 if number < 120 else 50.0)
        if number in kills:
            until(plant.ready, "readiness")
            plant.send(events)
            plant.kill()
            plant.start()
        else:
            plant.send(events)
    until(
        lambda: plant.decisions("cell-1") >= 240 and plant.decisions("cell-2") >= 240, "all decisions counted"
    )
    plant.kill()
    plant.start()
    plant.send([plant.finding("cell-1", number, "false-reject") for number in range(0, 200, 2)])
    plant.send([plant.finding("cell-2", number, "escape") for number in (1, 3, 5)])
    plant.send(plant.capture("cell-1", 240, brightness=100.0, variant="mono"))
    wanted = {
        ("capture-drift", "cell-2"),
        ("false-reject-spike", "cell-1"),
        ("missed-defect", "cell-2"),
        ("new-variant", "cell-1"),
    }
    until(lambda: {(s.kind, s.scope.station) for s in plant.signals()} >= wanted, "all signals")
    until(lambda: plant.decisions("cell-1") >= 241, "the last decision counted")
    assert plant.stop() == 0

    raised = plant.signals()
    by_kind = {(s.kind, s.scope.station): {x.signal_id for x in raised if x.kind == s.kind} for s in raised}
    assert set(by_kind) == wanted
    assert all(len(ids) == 1 for ids in by_kind.values()), "a repeat has the id of the first"
    assert (plant.decisions("cell-1"), plant.decisions("cell-2")) == (241, 240)
    drift = next(s for s in raised if s.kind == "capture-drift")
    dark = {plant.capture_id("cell-2", number) for number in range(120, 240)}
    assert set(drift.evidence[:5]) <= dark
    assert drift.suspected_cause == "capture"


def test_garbage_goes_to_the_dead_letters_and_stops_nobody(plant: Plant) -> None:
    key = station_key(plant.line, "cell-1").encode()
    headers = dict(plant.codec.encode(plant.finding("cell-1", 0, "escape")).headers)
    garbage = [
        Outgoing(topics.CAPTURE_AUDITED.name, key, b"not avro at all", headers),
        Outgoing(topics.CAPTURE_AUDITED.name, key, None, headers),
        Outgoing(topics.DISPOSITION_DECIDED.name, key, b"\x00\x00\x00\x00\x01truncated", {}),
        Outgoing(topics.MES_FINDING_RECEIVED.name, key, b"\x00\x7f\xff\xff\xff", headers),
    ]
    plant.producer.send(garbage)
    plant.send([plant.finding("cell-1", 1, "escape")])
    until(lambda: bool(plant.signals()), "the signal behind the garbage")

    def reasons() -> list[str]:
        letters = plant.everything(DEAD_LETTERS, 1)
        return sorted(m.headers["dl-reason"].decode() for m in letters if m.key == key)

    until(lambda: len(reasons()) >= len(garbage), "dead letters")
    assert reasons() == ["no-event-id", "not-avro", "not-avro", "unknown-schema"]
    assert plant.ready()
    assert plant.stop() == 0


def test_too_much_garbage_stops_it_without_losing_the_rest(plant: Plant) -> None:
    key = station_key(plant.line, "cell-1").encode()
    plant.producer.send([Outgoing(topics.CAPTURE_AUDITED.name, key, b"garbage", {})] * 5)
    until(lambda: "windows.halted" in plant.log(), "the halt")
    assert not plant.ready(), "a person is wanted"
    assert plant.stop() == 0


def test_leftovers_of_aborted_transactions_are_not_counted(plant: Plant) -> None:
    from confluent_kafka import Producer

    aborted = Producer({"bootstrap.servers": plant.bootstrap, "transactional.id": plant.group})
    aborted.init_transactions(20)
    aborted.begin_transaction()
    for number in range(5):
        for one in plant.capture("cell-1", number, brightness=100.0):
            out = plant.codec.encode(one)
            aborted.produce(out.topic, out.value, out.key, headers=list(out.headers.items()))
    aborted.flush(20)
    aborted.abort_transaction(20)
    for number in range(5, 10):
        plant.send(plant.capture("cell-1", number, brightness=100.0))
    until(lambda: plant.decisions("cell-1") >= 5, "the committed decisions")
    assert plant.stop() == 0
    assert plant.decisions("cell-1") == 5

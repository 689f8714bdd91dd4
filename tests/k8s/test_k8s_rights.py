"""The generated rights on a real broker: what each service does is allowed, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from andon_chassis.admin import ensure_topics
from andon_chassis.bus.ports import Outgoing, Partition
from andon_chassis.codec import Codec, HttpSchemaRegistry
from andon_chassis.deadletter import topic_of
from andon_chassis.errors import Unavailable
from andon_chassis.events import event, station_key
from andon_chassis.testing import START, context
from andon_events import records as r
from andon_events.topics import FEEDBACK_SIGNAL_RAISED, TOPICS

from .secured import ADMIN, Broker, free_ports

ROOT = Path(__file__).resolve().parents[2]
USERS = list(yaml.safe_load_all((ROOT / "k8s/base/kafka/users.yaml").read_text()))
SERVICES = sorted({c for t in TOPICS.values() for c in t.consumers} | {t.producer for t in TOPICS.values()})
TRANSACTIONAL = ("inference", "quality-audit")


def until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds:.0f} s"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    made = Broker(tmp_path_factory.mktemp("broker"), USERS)
    try:
        ensure_topics(made.bootstrap, 1, made.login("provision"))
        yield made
    finally:
        made.stop()


def messages(broker: Broker, topic: str) -> list[bytes]:
    """All values in a topic, as an administrator sees them."""
    tail = broker.bus(ADMIN).tail_reader()
    partitions = TOPICS[topic].partitions if topic in TOPICS else 1
    try:
        return [
            m.value or b"" for number in range(partitions) for m in tail.last(Partition(topic, number), 100)
        ]
    finally:
        tail.close()


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_reads_and_writes_what_its_documents_say(broker: Broker, service: str) -> None:
    bus = broker.bus(service)
    bus.ping()
    mark = service.encode()
    reads = [t.name for t in TOPICS.values() if service in t.consumers]
    writes = [t.name for t in TOPICS.values() if service == t.producer]
    letters = [topic_of(service)] if reads else []
    bus.producer().send([Outgoing(topic, b"line/station", mark) for topic in (*writes, *letters)])
    for topic in (*writes, *letters):
        assert mark in messages(broker, topic)
    if reads:
        follower = bus.follower(reads)
        until(lambda: bool(follower.poll(0.2)) or follower.caught_up(), "following")
        follower.close()
        arrived: set[Partition] = set()
        consumer = bus.consumer(service)
        consumer.subscribe(reads, lambda places: arrived.update(places), lambda places: None)
        until(lambda: consumer.poll(10, 0.2, 0.0) is not None and bool(arrived), "partitions of its own")
        consumer.commit({place: 0 for place in arrived})
        consumer.close()


@pytest.mark.parametrize("service", TRANSACTIONAL)
def test_a_transactional_service_commits_and_reads_its_own_output_back(broker: Broker, service: str) -> None:
    bus = broker.bus(service)
    (output,) = (t.name for t in TOPICS.values() if service == t.producer)
    (source, *_) = (t.name for t in TOPICS.values() if service in t.consumers and t.partitions > 1)
    arrived: set[Partition] = set()
    consumer = bus.consumer(service)
    consumer.subscribe([source], lambda places: arrived.update(places), lambda places: None)
    until(lambda: consumer.poll(10, 0.2, 0.0) is not None and bool(arrived), "partitions of its own")
    producer = bus.transactional_producer(f"{service}-pod-1")
    producer.initialise()
    mark = f"transaction of {service}".encode()
    producer.commit([Outgoing(output, b"line/station", mark)], {min(arrived): 0}, consumer)
    tail = bus.tail_reader()
    own = [m.value for number in range(4) for m in tail.last(Partition(output, number), 100)]
    assert mark in own
    for part in (tail, producer, consumer):
        part.close()


class TestRefusals:
    @pytest.mark.parametrize("service", SERVICES)
    def test_nobody_writes_what_another_produces(self, broker: Broker, service: str) -> None:
        foreign = next(t.name for t in TOPICS.values() if t.producer != service)
        mark = f"forged by {service}".encode()
        with pytest.raises(Unavailable, match=r"(?i)authorization"):
            broker.bus(service).producer().send([Outgoing(foreign, b"line/station", mark)])
        assert mark not in messages(broker, foreign)

    def test_nobody_reads_what_is_not_for_it(self, broker: Broker) -> None:
        tail = broker.bus("capture-ingest").tail_reader()
        with pytest.raises(Unavailable):
            tail.last(Partition("disposition.decided", 0), 1)

    def test_nobody_takes_another_s_transactional_id(self, broker: Broker) -> None:
        producer = broker.bus("review-router").transactional_producer("inference-pod-1")
        with pytest.raises(Exception, match=r"(?i)authorization"):
            producer.initialise()

    def test_a_wrong_password_and_an_open_line_get_nowhere(self, broker: Broker) -> None:
        from andon_chassis.bus.kafka import KafkaBus

        for bus in (
            KafkaBus(broker.bootstrap, broker.login("inference", "guessed")),
            KafkaBus(broker.bootstrap),
        ):
            with pytest.raises(Unavailable):
                bus.ping()


def test_feedback_collector_runs_with_its_own_rights_over_tls(
    broker: Broker, infra: Any, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    login = broker.login("feedback-collector")
    environment = {
        **os.environ,
        **infra.service_env("feedback-collector"),
        "ANDON_KAFKA_BOOTSTRAP": broker.bootstrap,
        "ANDON_KAFKA_USERNAME": login.username,
        "ANDON_KAFKA_PASSWORD": login.password,
        "ANDON_KAFKA_CA_FILE": str(login.ca_file),
        "ANDON_HTTP_PORT": str(port),
        "ANDON_STATE_DIR": str(tmp_path),
        "ANDON_STATIC_MEMBER": "false",
    }

    def ready() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    log = tmp_path / "collector.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "feedback_collector"], env=environment, stderr=stream
        )
        try:
            until(ready, "readiness")
            codec = Codec(HttpSchemaRegistry(infra.registry))
            found = r.MesFindingReceived(
                finding_id="f1",
                kind="escape",
                capture_id="c1",
                context=context("line-s", "cell-1"),
                class_name="crack",
                reported_by="mes",
                found_at=START,
                received_at=START,
            )
            key = station_key("line-s", "cell-1")
            escape = event(found, source="mes-bridge", key=key, time=START, cause="f1")
            broker.bus("mes-bridge").producer().send([codec.encode(escape)])
            topic = FEEDBACK_SIGNAL_RAISED.name
            until(lambda: any(b"missed-defect" in value for value in messages(broker, topic)), "the signal")
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0, log.read_text()

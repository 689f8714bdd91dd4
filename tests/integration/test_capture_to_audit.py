"""From the camera to the audit while both services are killed: each capture recorded once, audited once.

Images come in by all three ways at the same time. Every dozen images one of the two services is killed with SIGKILL and
started again; senders do what senders do, they try again.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import psycopg
from andon_chassis.bus.kafka import KafkaBus
from andon_chassis.codec import Codec, HttpSchemaRegistry
from andon_chassis.deadletter import topic_of
from andon_chassis.events import Event, deterministic_id, event
from andon_chassis.testing import publish
from andon_events import records as r
from andon_events import topics
from andon_local.testing import Infra
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

HTTP, FOLDER, MQTT = 60, 30, 30
KILLS = 6
PATIENCE_S = 150.0


def part(seed: int) -> bytes:
    """A PNG of a part of its own."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(rng.normal(0, 20, (n, n)).astype(np.float32), (96, 96), interpolation=cv2.INTER_CUBIC)
        for n in (6, 20, 48)
    ]
    done, data = cv2.imencode(".png", np.clip(sum(layers) + 120, 0, 255).astype(np.uint8))
    assert done
    return data.tobytes()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def until(what: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + patience_s
    while not what():
        assert time.monotonic() < deadline, f"waited {patience_s:g} s in vain"
        threading.Event().wait(0.05)


class Running:
    """A service process that can be killed and started again."""

    def __init__(self, module: str, environment: dict[str, str], log: Path) -> None:
        self._command = [sys.executable, "-m", module]
        self._environment = {**os.environ, **environment}
        self._log = log
        self.url = f"http://127.0.0.1:{environment['ANDON_HTTP_PORT']}"
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=log)

    def ready(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()[-3000:]
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def kill_and_restart(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)
        self._process = self._start()

    def stop(self) -> int:
        """End it the way a deploy does; gives the exit status."""
        self._process.terminate()
        try:
            return self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise


class World:
    """One line of its own on the shared infrastructure."""

    def __init__(self, infra: Infra, broker: str, line: str, root: Path) -> None:
        self.line = line
        self.root = root
        self.broker = broker
        self.audit_name = f"audit-{line}"
        self._infra = infra
        self.bus = KafkaBus(infra.kafka)
        self.codec = Codec(HttpSchemaRegistry(infra.registry))
        self.sent = 0
        self._progress = threading.Condition()

    def prepare(self) -> None:
        """Register the station; let the audit begin at the end of what others left in the topic."""
        published = r.StationPublished(
            line=self.line,
            station="S1",
            capture_standard_version="cs-1",
            lens="25 mm",
            bounds=[r.CaptureBound(name="exposure_us", low=3900.0, high=4100.0)],
            published_at=datetime.now(UTC),
        )
        known = event(
            published, source="test", key=f"{self.line}/S1", time=published.published_at, cause=self.line
        )
        publish(self.bus, self.codec, [known])
        admin = AdminClient({"bootstrap.servers": self._infra.kafka})
        for made in admin.create_topics([NewTopic(topic_of(self.audit_name), 1, 1)]).values():
            made.result(30)
        consumer = Consumer({"bootstrap.servers": self._infra.kafka, "group.id": self.audit_name})
        topic = topics.CAPTURE_RECORDED.name
        places = [TopicPartition(topic, n) for n in consumer.list_topics(topic, 30).topics[topic].partitions]
        ends = [
            TopicPartition(topic, p.partition, consumer.get_watermark_offsets(p, timeout=30)[1])
            for p in places
        ]
        consumer.commit(offsets=ends, asynchronous=False)
        consumer.close()

    @contextmanager
    def services(self) -> Iterator[tuple[Running, Running]]:
        ingest = Running(
            "capture_ingest",
            {
                **self._infra.service_env("capture-ingest"),
                "ANDON_INSTANCE_ID": f"ingest-{self.line}",
                "ANDON_HTTP_PORT": str(free_port()),
                "ANDON_FOLDER": str(self.root),
                "ANDON_FOLDER_SETTLE_S": "0.2",
                "ANDON_MQTT_URL": f"mqtt://{self.broker}",
                "ANDON_MQTT_CLIENT_ID": f"ingest-{self.line}",
                "ANDON_MQTT_TOPIC": f"andon/{self.line}/+/capture",
            },
            self.root.parent / "capture-ingest.log",
        )
        audit = Running(
            "quality_audit",
            {
                **self._infra.service_env("quality-audit"),
                "ANDON_SERVICE": self.audit_name,
                "ANDON_INSTANCE_ID": f"audit-{self.line}",
                "ANDON_HTTP_PORT": str(free_port()),
            },
            self.root.parent / "quality-audit.log",
        )
        try:
            until(lambda: ingest.ready() and audit.ready())
            yield ingest, audit
        finally:
            statuses = ingest.stop(), audit.stop()
        assert statuses == (0, 0)

    # --- senders ---

    def done_one(self) -> None:
        with self._progress:
            self.sent += 1
            self._progress.notify_all()

    def wait_for(self, sent: int) -> None:
        with self._progress:
            assert self._progress.wait_for(lambda: self.sent >= sent, PATIENCE_S)

    def metadata(self, trigger: str) -> dict[str, object]:
        settings = {"exposure_us": 5200}
        where = {"line": self.line, "station": "S1", "trigger_id": trigger, "origin": "lab"}
        return {**where, "settings": settings}

    def send_http(self, ingest: Running) -> None:
        """A client that repeats until it has its answer."""
        for n in range(HTTP):
            headers = {"Content-Type": "image/png", "Andon-Metadata": json.dumps(self.metadata(f"http-{n}"))}

            def accepted(data: bytes = part(n), headers: dict[str, str] = headers) -> bool:
                try:
                    answer = httpx.post(
                        f"{ingest.url}/v1/captures", content=data, headers=headers, timeout=10
                    )
                except httpx.TransportError:
                    return False
                assert answer.status_code in (200, 201, 503), answer.text
                return answer.status_code != 503

            until(accepted)
            self.done_one()

    def send_folder(self) -> None:
        """A camera that writes the image, then its sidecar."""
        for n in range(FOLDER):
            name = self.root / f"folder-{n}"
            name.with_suffix(".png").write_bytes(part(1000 + n))
            name.with_suffix(".json").write_text(json.dumps(self.metadata(f"folder-{n}")))
            self.done_one()
            threading.Event().wait(0.02)

    def send_mqtt(self) -> None:
        """A camera that trusts its broker."""
        host, port = self.broker.rsplit(":", 1)
        client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        client.connect(host, int(port))
        client.loop_start()
        for n in range(MQTT):
            properties = Properties(PacketTypes.PUBLISH)
            properties.UserProperty = [
                ("trigger_id", f"mqtt-{n}"),
                ("origin", "lab"),
                ("settings.exposure_us", "5200"),
            ]
            topic = f"andon/{self.line}/S1/capture"
            client.publish(topic, part(2000 + n), qos=1, properties=properties).wait_for_publish(10)
            self.done_one()
        client.disconnect()
        client.loop_stop()

    # --- what came of it ---

    def expected(self) -> set[str]:
        triggers = [f"{way}-{n}" for way, count in WAYS.items() for n in range(count)]
        return {deterministic_id("capture", self.line, "S1", trigger) for trigger in triggers}

    def events(self, topic: str) -> list[Event[Any]]:
        """Everything on a topic that belongs to this line."""
        follower = self.bus.follower([topic])
        found: list[Event[Any]] = []
        try:
            while not follower.caught_up():
                for message in follower.poll(0.2):
                    if (message.key or b"").startswith(f"{self.line}/".encode()):
                        found.append(self.codec.decode(message))
        finally:
            follower.close()
        return found

    def audited(self) -> list[Event[Any]]:
        return [e for e in self.events(topics.CAPTURE_AUDITED.name) if e.source == self.audit_name]


WAYS = {"http": HTTP, "folder": FOLDER, "mqtt": MQTT}


def test_each_capture_is_recorded_and_audited_once_whoever_dies(
    infra: Infra, mosquitto: str, unique: Callable[[str], str], tmp_path: Path
) -> None:
    root = tmp_path / "watched folder"
    root.mkdir()
    world = World(infra, mosquitto, unique("line"), root)
    world.prepare()
    with world.services() as (ingest, audit):
        senders = [
            threading.Thread(target=work)
            for work in (lambda: world.send_http(ingest), world.send_folder, world.send_mqtt)
        ]
        for sender in senders:
            sender.start()
        for kill in range(KILLS):
            world.wait_for((kill + 1) * sum(WAYS.values()) // (KILLS + 2))
            (ingest, audit)[kill % 2].kill_and_restart()
        for sender in senders:
            sender.join(PATIENCE_S)
            assert not sender.is_alive()
        until(lambda: {e.data.capture_id for e in world.audited()} >= world.expected())
        until(lambda: len([p for p in (root / "processed").iterdir() if p.is_dir()]) == FOLDER)

    recorded = world.events(topics.CAPTURE_RECORDED.name)
    audited = world.audited()
    expected = world.expected()
    assert {e.data.capture_id for e in recorded} == expected
    assert {e.data.capture_id for e in audited} == expected
    # The relay may repeat an event after a crash, with the same id; nothing else may come twice.
    assert len({e.id for e in recorded}) == len({e.id for e in audited}) == len(expected)
    repeats = Counter(e.data.capture_id for e in recorded)
    assert Counter(e.data.capture_id for e in audited) == repeats
    with psycopg.connect(infra.instance.database_url("capture_ingest")) as database:
        rows = database.execute("SELECT count(*) FROM captures WHERE line = %s", (world.line,)).fetchone()
        assert rows == (len(expected),)
    assert list((root / "refused").iterdir()) == []
    assert {p.name for p in root.iterdir()} == {".claimed", "processed", "refused"}
    assert Counter(e.data.verdict for e in audited)["accepted"] >= len(expected) * 0.8
    # Whatever way it came, a capture is held against its standard: what deviates is counted, what nobody says is named.
    for audit_of in (e.data for e in audited):
        (deviation,) = audit_of.deviations
        assert (deviation.reason, deviation.found, deviation.rejects) == ("wrong-exposure", "5200", False)
        assert audit_of.unproven == ["lens"]

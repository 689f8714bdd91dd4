"""MQTT against a real mosquitto: durable before acknowledged, sessions that survive, answers on request."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest
from andon_chassis import telemetry
from andon_chassis.errors import Unavailable
from andon_chassis.events import Event
from andon_events.records import CaptureRecorded
from capture_ingest.adapters.memory import MemoryLedger
from capture_ingest.adapters.mqtt import MqttIntake, MqttSettings
from capture_ingest.handlers import Receipt, Submission
from capture_ingest.ports import Filed
from ingest_support import Plant, metadata, plant, png
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties


class Camera:
    """A sender that listens for answers."""

    def __init__(self, broker: str, name: str) -> None:
        host, port = broker.rsplit(":", 1)
        self.answers: queue.Queue[tuple[bytes | None, dict[str, Any]]] = queue.Queue()
        self._reply = f"reply/{name}"
        self._line = name
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.on_message = self._heard
        self._client.connect(host, int(port))
        self._client.loop_start()
        self._client.subscribe(self._reply, qos=1)
        assert subscribed.wait(10)

    def _heard(self, client: mqtt.Client, data: Any, message: mqtt.MQTTMessage) -> None:
        assert message.properties is not None
        self.answers.put((getattr(message.properties, "CorrelationData", None), json.loads(message.payload)))

    def shoot(self, data: bytes, said: dict[str, Any], correlation: bytes | None = None) -> None:
        """Publish and wait until the broker has it."""
        properties = Properties(PacketTypes.PUBLISH)
        properties.UserProperty = [
            (name, value) for name, value in said.items() if name not in ("line", "station")
        ]
        properties.ResponseTopic = self._reply
        if correlation is not None:
            properties.CorrelationData = correlation
        topic = f"andon/{self._line}/{said['station']}/capture"
        self._client.publish(topic, data, qos=1, properties=properties).wait_for_publish(10)

    def answer(self) -> dict[str, Any]:
        return self.answers.get(timeout=20)[1]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def camera(mosquitto: str, unique: Callable[[str], str]) -> Iterator[Camera]:
    made = Camera(mosquitto, unique("line"))
    yield made
    made.close()


@contextmanager
def intake(plant: Plant, broker: str, session: str, line: str) -> Iterator[MqttIntake]:
    """A running intake that sees only one line."""
    settings = MqttSettings(
        f"mqtt://{broker}", client_id=session, topic=f"andon/{line}/+/capture", unacknowledged=10
    )
    made = MqttIntake(settings, plant.admission, plant.health)
    stop = threading.Event()
    thread = threading.Thread(target=made.run, args=(stop,))
    thread.start()
    try:
        yield made
    finally:
        stop.set()
        thread.join(15)
        assert not thread.is_alive()


def eventually(what: Callable[[], bool]) -> None:
    for _ in range(1000):
        if what():
            return
        threading.Event().wait(0.02)
    raise AssertionError("it never came true")


def test_an_image_is_recorded_and_the_sender_hears_of_it(
    plant: Plant, mosquitto: str, camera: Camera, unique: Callable[[str], str]
) -> None:
    with intake(plant, mosquitto, unique("ingest"), camera._line) as made:
        eventually(made.is_connected)
        camera.shoot(png(1), metadata("t1", station="S4"), correlation=b"42")
        correlation, answer = camera.answers.get(timeout=20)
        assert correlation == b"42" and answer["status"] == "recorded"
        (recorded,) = plant.recorded
        assert (recorded.context.line, recorded.context.station) == (camera._line, "S4")
        assert (recorded.trigger_id, recorded.context.batch, recorded.received_via) == ("t1", "B7", "mqtt")
        camera.shoot(png(1), metadata("t1", station="S4"))
        assert camera.answer()["status"] == "already-recorded"
        assert len(plant.recorded) == 1


def test_what_is_refused_is_told_and_does_not_come_again(
    plant: Plant, mosquitto: str, camera: Camera, unique: Callable[[str], str]
) -> None:
    with intake(plant, mosquitto, unique("ingest"), camera._line) as made:
        eventually(made.is_connected)
        for data in (b"no image", b""):
            camera.shoot(data, metadata("t1"))
            assert camera.answer()["status"] == "refused"
        for n in range(25):  # more than the broker sends ahead: nothing was left unacknowledged
            camera.shoot(png(n), metadata(f"n{n}"))
        assert {camera.answer()["status"] for _ in range(25)} == {"recorded"}
        eventually(lambda: made.open_messages() == 0)


def test_the_session_keeps_what_came_while_nobody_was_there(
    plant: Plant, mosquitto: str, camera: Camera, unique: Callable[[str], str]
) -> None:
    session = unique("ingest")
    with intake(plant, mosquitto, session, camera._line) as made:
        eventually(made.is_connected)
    for n in range(15):
        camera.shoot(png(n), metadata(f"t{n}"))
    assert plant.recorded == []
    with intake(plant, mosquitto, session, camera._line):
        assert {camera.answer()["status"] for _ in range(15)} == {"recorded"}
    assert [r.trigger_id for r in plant.recorded] == [f"t{n}" for n in range(15)]


class AwayLedger(MemoryLedger):
    """PostgreSQL while it is down; counts the attempts."""

    def __init__(self) -> None:
        super().__init__()
        self.away = True
        self.attempts = 0

    def file(self, captures: Sequence[Event[CaptureRecorded]]) -> list[Filed]:
        self.attempts += 1
        if self.away:
            raise Unavailable("postgresql", "connection refused")
        return super().file(captures)


def test_nothing_is_acknowledged_before_it_is_durable(
    mosquitto: str, camera: Camera, unique: Callable[[str], str]
) -> None:
    session, ledger = unique("ingest"), AwayLedger()
    with plant(ledger=ledger) as first, intake(first, mosquitto, session, camera._line) as made:
        eventually(made.is_connected)
        for n in range(3):
            camera.shoot(png(n), metadata(f"t{n}"))
        eventually(lambda: ledger.attempts >= 4)
        assert made.open_messages() == 3
    # the process ended without acknowledging: the next one gets them
    with plant() as second, intake(second, mosquitto, session, camera._line):
        assert {camera.answer()["status"] for _ in range(3)} == {"recorded"}
        assert sorted(r.trigger_id for r in second.recorded) == ["t0", "t1", "t2"]


def test_a_dependency_that_comes_back_is_waited_for(
    mosquitto: str, camera: Camera, unique: Callable[[str], str]
) -> None:
    ledger = AwayLedger()
    with plant(ledger=ledger) as made, intake(made, mosquitto, unique("ingest"), camera._line) as taking:
        eventually(taking.is_connected)
        camera.shoot(png(1), metadata("t1"))
        eventually(lambda: ledger.attempts >= 2)
        ledger.away = False
        assert camera.answer()["status"] == "recorded"
        eventually(lambda: taking.open_messages() == 0)


class AwayAdmission:
    """While the object store is away; answers at once."""

    attempts = 0

    def submit(self, submission: Submission) -> Future[Receipt]:
        self.attempts += 1
        answer: Future[Receipt] = Future()
        answer.set_exception(Unavailable("object store", "connection refused"))
        return answer


def alone(admission: Any, plant: Plant) -> MqttIntake:
    """An intake whose broker is never there."""
    return MqttIntake(MqttSettings("mqtt://127.0.0.1:1"), admission, plant.health)


def delivered(to: MqttIntake, number: int, topic: str = "andon/L1/S1/capture") -> None:
    """What the client does when a message arrives."""
    message = mqtt.MQTTMessage(mid=number, topic=topic.encode())
    message.payload = png(number)
    to._on_message(to._client, None, message)


def timers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


def test_a_lost_connection_ends_the_attempts_of_its_messages(plant: Plant) -> None:
    """They come again, and with each flap of the line there would be as many images more in memory."""
    admission = AwayAdmission()
    made = alone(admission, plant)
    for number in range(3):
        delivered(made, number)
    eventually(lambda: admission.attempts >= 6)
    made._on_disconnect(made._client, None, None, "lost", None)
    eventually(lambda: not timers())
    assert made.open_messages() == 0
    delivered(made, 1)  # on the next connection
    assert made.open_messages() == 1 and timers()
    made._drop_open()
    eventually(lambda: not timers())


def test_a_topic_that_names_no_station_is_refused_and_ends_nothing(plant: Plant) -> None:
    made = alone(plant.admission, plant)
    delivered(made, 1, "elsewhere")
    eventually(lambda: made.open_messages() == 0)
    assert plant.recorded == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_client_whose_thread_has_died_is_noticed(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*args: Any, **named: Any) -> None:
        raise LookupError("a bug in a callback")

    monkeypatch.setattr(mqtt.Client, "loop_forever", dies)
    with pytest.raises(RuntimeError, match="thread has ended") as caught:
        alone(plant.admission, plant).run(threading.Event())
    assert isinstance(caught.value.__cause__, LookupError)


def test_the_broker_counts_as_unavailable_until_the_subscription_stands(plant: Plant) -> None:
    telemetry.UNAVAILABLE.labels("mqtt broker").set(0)
    alone(plant.admission, plant)._check()
    assert telemetry.UNAVAILABLE.labels("mqtt broker")._value.get() == 1

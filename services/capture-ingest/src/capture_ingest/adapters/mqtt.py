"""The way in by MQTT 5: topic andon/<line>/<station>/capture, the image as payload, metadata as user
properties.

The session outlives the connection, QoS is 1, and a message is acknowledged when image and event are durable,
not before. What was not acknowledged comes again after a crash on either side; admission recognises it.
Acknowledgements go out in the order of the messages, as MQTT asks for. The broker sends no more than
`unacknowledged` messages ahead, which bounds what is held here.

An image that is refused is acknowledged too, or it would come for ever. The sender hears of it on its
response topic, if it named one, as it hears of success.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import structlog
from andon_chassis import telemetry
from andon_chassis.errors import Invalid, Unavailable
from andon_chassis.health import Health
from andon_chassis.retry import Backoff
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions
from prometheus_client import Gauge

from capture_ingest.handlers import Admission, Receipt, Submission

log = structlog.get_logger()

UNACKNOWLEDGED = Gauge("andon_mqtt_unacknowledged", "MQTT messages that wait until they are durable")

SESSION_KEPT_S = 7 * 24 * 3600
KEEP_ALIVE_S = 20
LEAVE_S = 4.0


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """The broker and the subscription.

    Attributes:
        url: mqtt://host:port or mqtts://host:port, with user and password if the broker wants them.
        client_id: Names the session; the same after a restart, different for each replica.
        topic: Subscription; replicas share one as $share/<group>/<topic>.
        unacknowledged: Most messages the broker sends ahead.
        largest: Bytes of a message; the broker drops larger ones.
    """

    url: str
    client_id: str = "capture-ingest"
    topic: str = "$share/capture-ingest/andon/+/+/capture"
    unacknowledged: int = 50
    largest: int = 64 * 1024 * 1024


class _Client(mqtt.Client):
    """paho's client, whose network loop runs in a thread of its own, with word of that loop's end."""

    ended = False
    bug: BaseException | None = None

    def loop_forever(self, *args: Any, **named: Any) -> MQTTErrorCode:
        try:
            return super().loop_forever(*args, **named)
        except BaseException as error:
            self.bug = error
            raise
        finally:
            self.ended = True


@dataclass(slots=True, eq=False)
class _Delivery:
    """A message that waits for its acknowledgement, on the connection whose queue it is in."""

    message: mqtt.MQTTMessage
    submission: Submission
    queue: deque[_Delivery]
    backoff: Backoff = field(default_factory=Backoff)
    again: threading.Timer | None = None
    done: bool = False


class MqttIntake:
    """Subscribes, hands messages to the admission, acknowledges."""

    def __init__(self, settings: MqttSettings, admission: Admission, health: Health) -> None:
        self._settings = settings
        self._admission = admission
        self._health = health
        self._open: deque[_Delivery] = deque()
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._subscribed = False
        self._client = self._make_client()

    def _make_client(self) -> _Client:
        address = urlsplit(self._settings.url)
        client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._settings.client_id,
            protocol=mqtt.MQTTv5,
            manual_ack=True,
        )
        if address.username:
            client.username_pw_set(address.username, address.password)
        if address.scheme == "mqtts":
            client.tls_set()
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    def is_connected(self) -> bool:
        """True while the subscription stands."""
        return self._subscribed and self._client.is_connected()

    def open_messages(self) -> int:
        """Messages that wait for their acknowledgement."""
        return len(self._open)

    def run(self, stop: threading.Event) -> None:
        """Stay connected until stopped."""
        self._stop = stop
        address = urlsplit(self._settings.url)
        port = address.port or (8883 if address.scheme == "mqtts" else 1883)
        self._client.reconnect_delay_set(1, 5)
        self._client.connect_async(
            address.hostname or "127.0.0.1",
            port,
            KEEP_ALIVE_S,
            clean_start=False,
            properties=_properties(
                PacketTypes.CONNECT,
                SessionExpiryInterval=SESSION_KEPT_S,
                ReceiveMaximum=self._settings.unacknowledged,
                MaximumPacketSize=self._settings.largest + 64 * 1024,
            ),
        )
        # Only the client's own thread may write to the socket: acknowledgements come from others.
        self._client.loop_start()
        while not stop.is_set():
            self._check()
            stop.wait(1.0)
        self._leave()

    def _check(self) -> None:
        """Tell how it stands. Raises when the client's thread has ended: nothing would come in any more."""
        if self._client.ended:
            raise RuntimeError("the MQTT client's thread has ended") from self._client.bug
        self._health.beat("mqtt")
        # No reason to be taken out of service: images still come in on the other ways.
        telemetry.UNAVAILABLE.labels("mqtt broker").set(0 if self.is_connected() else 1)
        UNACKNOWLEDGED.set(self.open_messages())

    def _leave(self) -> None:
        """Let what is on its way finish, then close; the session stays."""
        deadline = time.monotonic() + LEAVE_S
        while self._open and time.monotonic() < deadline:
            time.sleep(0.02)
        self._client.disconnect(
            properties=_properties(PacketTypes.DISCONNECT, SessionExpiryInterval=SESSION_KEPT_S)
        )
        self._client.loop_stop()
        self._health.forget("mqtt")

    # --- callbacks ---

    def _on_connect(
        self, client: mqtt.Client, data: Any, flags: Any, reason: Any, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            log.error("mqtt.refused", reason=str(reason))
            return
        self._drop_open()
        self._client.subscribe(self._settings.topic, options=SubscribeOptions(qos=1))
        log.info("mqtt.connected", session_present=flags.session_present)

    def _on_subscribe(self, client: mqtt.Client, data: Any, mid: int, reasons: Any, properties: Any) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            log.error("mqtt.subscription-refused", topic=self._settings.topic, reasons=refused)
            return
        self._subscribed = True

    def _on_disconnect(
        self, client: mqtt.Client, data: Any, flags: Any, reason: Any, properties: Properties | None
    ) -> None:
        self._subscribed = False
        self._drop_open()
        if not self._stop.is_set():
            log.warning("mqtt.disconnected", reason=str(reason))

    def _drop_open(self) -> None:
        """Packet ids belong to a connection: what was open comes again, under ids that may be others. Nothing of it
        is tried any longer, or each lost connection would add all its images to those in memory.
        """
        with self._lock:
            for delivery in self._open:
                if delivery.again is not None:
                    delivery.again.cancel()
            self._open = deque()

    def _on_message(self, client: mqtt.Client, data: Any, message: mqtt.MQTTMessage) -> None:
        metadata, traceparent = _metadata(message)
        submission = Submission(bytes(message.payload), metadata, "mqtt", traceparent)
        with self._lock:
            delivery = _Delivery(message, submission, self._open)
            self._open.append(delivery)
        self._submit(delivery)

    def _submit(self, delivery: _Delivery) -> None:
        """Try until the image is durable or refused; what cannot be tried any more stays unacknowledged."""
        self._admission.submit(delivery.submission).add_done_callback(
            lambda future: self._answered(delivery, future)
        )

    def _answered(self, delivery: _Delivery, future: Future[Receipt]) -> None:
        try:
            self._finish(delivery, future.result().body())
        except Invalid as error:
            log.warning("mqtt.image-refused", reason=error.reason, advice=error.advice)
            self._finish(delivery, {"status": "refused", "reason": error.reason, "advice": error.advice})
        except Unavailable:
            self._later(delivery)

    def _later(self, delivery: _Delivery) -> None:
        with self._lock:
            if self._stop.is_set() or delivery.queue is not self._open:
                return  # stopping, or another connection by now: the message comes again
            delivery.again = threading.Timer(delivery.backoff.delay(), self._submit, (delivery,))
            delivery.again.daemon = True
            delivery.again.start()

    def _finish(self, delivery: _Delivery, answer: dict[str, Any]) -> None:
        """Answer the sender and acknowledge as many as are done, in order."""
        queue = delivery.queue
        with self._lock:
            if queue is not self._open:
                return  # another connection by now: the message comes again
            self._respond(delivery.message, answer)
            delivery.done = True
            while queue and queue[0].done:
                message = queue.popleft().message
                self._client.ack(message.mid, message.qos)

    def _respond(self, message: mqtt.MQTTMessage, answer: dict[str, Any]) -> None:
        topic = getattr(message.properties, "ResponseTopic", None)
        if topic is None:
            return
        correlation = getattr(message.properties, "CorrelationData", None)
        said = {} if correlation is None else {"CorrelationData": correlation}
        properties = _properties(PacketTypes.PUBLISH, **said)
        self._client.publish(topic, json.dumps(answer), qos=1, properties=properties)


def _properties(kind: int, **values: Any) -> Properties:
    properties = Properties(kind)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


def _metadata(message: mqtt.MQTTMessage) -> tuple[dict[str, object], str | None]:
    """Metadata and trace context of a message; line and station are what its topic says. A topic of another form
    says neither, and the image is refused with that reason.
    """
    said = dict(getattr(message.properties, "UserProperty", []))
    traceparent = said.pop("traceparent", None)
    levels = message.topic.rsplit("/", 3)
    line, station = levels[1:3] if len(levels) == 4 else (None, None)
    return {**said, "line": line, "station": station}, traceparent

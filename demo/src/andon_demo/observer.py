"""Reads all topics of the running system, committed messages only, and keeps the ledger.

A consumer of its own, with no group to share: it sees what any reader of the bus would see.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from typing import TypeVar, cast

from andon_chassis.bus.ports import Message
from andon_chassis.codec import Codec, HttpSchemaRegistry
from andon_chassis.errors import Invalid
from andon_events.topics import TOPICS
from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka import Message as KafkaMessage

from andon_demo.ledger import Ledger

T = TypeVar("T")

DEAD_LETTERS = ".dead-letter"


class Observer:
    """Follows the topics in a thread of its own until it is stopped.

    Args:
        bootstrap: Kafka, host:port.
        registry_url: The schema registry.
    """

    def __init__(self, bootstrap: str, registry_url: str) -> None:
        self._ledger = Ledger()
        self._codec = Codec(HttpSchemaRegistry(registry_url))
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": f"demo-observer-{uuid.uuid4()}",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 100,
                "log_level": 3,
            }
        )
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)

    def start(self) -> None:
        """Begin at the beginning of every topic."""
        known = self._consumer.list_topics(timeout=20).topics
        names = [name for name in known if name in TOPICS or name.endswith(DEAD_LETTERS)]
        self._consumer.assign([TopicPartition(n, p, 0) for n in names for p in known[n].partitions])
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)

    def look(self, question: Callable[[Ledger], T]) -> T:
        """Ask the ledger something while it stands still."""
        with self._changed:
            self._raise_failure()
            return question(self._ledger)

    def wait_until(self, condition: Callable[[Ledger], bool], timeout_s: float) -> bool:
        """Wait until the ledger satisfies the condition; False when it does not in time."""
        end = time.monotonic() + timeout_s
        with self._changed:
            while not condition(self._ledger):
                self._raise_failure()
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(min(left, 1.0))
        return True

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise RuntimeError("the observer stopped, so nothing can be counted any more") from self._failure

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                batch = self._consumer.consume(500, 0.1)
                if batch:
                    with self._changed:
                        for raw in batch:
                            self._note(raw)
                        self._changed.notify_all()
        except BaseException as error:
            with self._changed:
                self._failure = error
                self._changed.notify_all()
        finally:
            self._consumer.close()

    def _note(self, raw: KafkaMessage) -> None:
        error = raw.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF or error.retriable():
                return
            raise RuntimeError(str(error))
        message = _plain(raw)
        if message.topic.endswith(DEAD_LETTERS):
            self._ledger.dead_letter(message.topic, message.headers.get("dl-reason", b"?").decode())
            return
        if message.value is None:
            return
        try:
            event = self._codec.decode(message)
        except Invalid as invalid:
            self._ledger.dead_letter(message.topic, f"unreadable for the observer: {invalid.reason}")
            return
        self._ledger.apply(event.topic, event.id, event.data)


def _plain(raw: KafkaMessage) -> Message:
    headers = cast("list[tuple[str, bytes | None]]", raw.headers() or [])
    key = raw.key()
    return Message(
        topic=raw.topic() or "",
        partition=raw.partition() or 0,
        offset=raw.offset() or 0,
        key=key.encode() if isinstance(key, str) else key,
        value=raw.value(),
        headers={name: value or b"" for name, value in headers},
        timestamp_ms=raw.timestamp()[1],
    )

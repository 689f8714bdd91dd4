"""The bus on Kafka, by confluent-kafka (librdkafka).

Choices, and why:
- read_committed everywhere, so an aborted transaction is never seen.
- Short transaction and session time-outs: readers wait at the last stable offset, so a killed producer must not stall
  them for long.
- The Java client's partitioner, so that Faust and the Java tools put a key where we put it.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import structlog
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka import Message as KafkaMessage

from andon_chassis import telemetry
from andon_chassis.bus import ports
from andon_chassis.bus.login import KafkaLogin
from andon_chassis.bus.ports import Aborted, Assigned, Fenced, Message, Outgoing, Partition, Revoked
from andon_chassis.errors import Unavailable

log = structlog.get_logger()

TRANSACTION_TIMEOUT_MS = 15_000
REQUEST_TIMEOUT_S = 10.0
OFFSETS_TIMEOUT_S = TRANSACTION_TIMEOUT_MS / 1000 + REQUEST_TIMEOUT_S

COMMON: dict[str, Any] = {
    "socket.keepalive.enable": True,
    "reconnect.backoff.ms": 50,
    "reconnect.backoff.max.ms": 2_000,
    "log.connection.close": False,
    "log_level": 3,
}

Servers = Mapping[str, Any]
"""Where the brokers are and how to log in, as librdkafka wants it."""

READING: dict[str, Any] = {
    **COMMON,
    "enable.auto.commit": False,
    "isolation.level": "read_committed",
    "auto.offset.reset": "earliest",
    # The broker answers as soon as there is something; this only says how often it is asked in vain. After a seek or a
    # rebalance the client first waits for the question under way, so no longer than this.
    "fetch.wait.max.ms": 500,
    "fetch.error.backoff.ms": 100,
    # bounds what is prefetched: events are about a kilobyte, so this is thousands of them
    "queued.max.messages.kbytes": 4_096,
}

WRITING: dict[str, Any] = {
    **COMMON,
    "enable.idempotence": True,
    "acks": "all",
    "partitioner": "murmur2_random",
    "linger.ms": 1,
    "message.max.bytes": 2_000_000,  # brokers take 2 MiB, and whatever came in must fit into a dead letter
}


def collected_by_the_broker(patience_s: float) -> dict[str, int]:
    """Settings of a reader who would rather get much at once than soon: a fetch, and all that follows it, costs about
    the same for one event as for a hundred.
    """
    return {"fetch.wait.max.ms": round(patience_s * 1000), "fetch.min.bytes": 256_000}


def _message(raw: KafkaMessage) -> Message:
    pairs = cast("list[tuple[str, bytes | None]]", raw.headers() or [])
    headers = {name: value or b"" for name, value in pairs}
    key = raw.key()
    return Message(
        topic=raw.topic() or "",
        partition=raw.partition() or 0,
        offset=raw.offset() or 0,
        key=key.encode() if isinstance(key, str) else key,
        value=raw.value(),
        headers=headers,
        timestamp_ms=raw.timestamp()[1],
    )


def _places(raw: Sequence[TopicPartition]) -> list[Partition]:
    return [Partition(p.topic, p.partition) for p in raw]


def _is_fatal(error: KafkaError) -> bool:
    """The client is broken for good; as a message, the error has the code but not the flag."""
    return error.fatal() or error.code() == KafkaError._FATAL


class KafkaConsumer:
    """A group member; see `ports.Consumer`."""

    def __init__(
        self, servers: Servers, group: str, static_id: str | None = None, patience_s: float = 0.0
    ) -> None:
        self._fatal: KafkaError | None = None
        self._gone: set[Partition] = set()
        self._consumer = Consumer(
            {
                **READING,
                **(collected_by_the_broker(patience_s) if patience_s else {}),
                **({"group.instance.id": static_id} if static_id else {}),
                "error_cb": self._on_error,
                **servers,
                "group.id": group,
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": 10_000,
                "heartbeat.interval.ms": 2_000,
                "max.poll.interval.ms": 180_000,
            }
        )

    def subscribe(self, topics: Sequence[str], on_assigned: Assigned, on_revoked: Revoked) -> None:
        def assigned(consumer: Consumer, places: list[TopicPartition]) -> None:
            on_assigned(_places(places))

        def revoked(consumer: Consumer, places: list[TopicPartition]) -> None:
            self._gone.update(_places(places))
            on_revoked(_places(places))

        self._consumer.subscribe(list(topics), on_assign=assigned, on_revoke=revoked, on_lost=revoked)

    def _on_error(self, error: KafkaError) -> None:
        """Called inside `poll`. A fatal error (fenced by a member of the same name, also by its own former self after
        a broken line) shows up once, here or as a message; afterwards the consumer would stay silent for ever.
        """
        if _is_fatal(error):
            self._fatal = error

    def poll(self, max_messages: int, timeout_s: float, linger_s: float) -> list[Message]:
        self._gone.clear()
        first = self._consumer.consume(1, timeout_s)
        if self._fatal is not None:
            raise Fenced(str(self._fatal))
        rest = self._consumer.consume(max_messages - 1, linger_s) if first and max_messages > 1 else []
        # The client drops what it had fetched of a partition that goes away, but not what it has handed out already; in
        # the second call it may have gone away, and its memory with it.
        first = [one for one in first if Partition(one.topic() or "", one.partition() or 0) not in self._gone]
        messages = []
        for one in [*first, *rest]:
            error = one.error()
            if error is None:
                messages.append(_message(one))
            elif _is_fatal(error):
                raise Fenced(str(error))
            else:
                log.warning("kafka.consumer", error=str(error))
        return messages

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        mine = self.assignment()
        for place, offset in offsets.items():
            if place in mine:
                try:
                    self._consumer.seek(TopicPartition(place.topic, place.number, offset))
                except KafkaException as error:
                    if place in self.assignment():
                        # Reading on from here would skip what was not handled; after a restart it is read again.
                        raise Fenced(f"cannot seek {place} back to {offset}: {error}") from error
                    # else given up in this very moment: nothing left to seek

    def pause(self) -> None:
        self._consumer.pause(self._consumer.assignment())

    def resume(self) -> None:
        self._consumer.resume(self._consumer.assignment())

    def assignment(self) -> set[Partition]:
        return set(_places(self._consumer.assignment()))

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        try:
            self._consumer.commit(
                offsets=[TopicPartition(p.topic, p.number, offset) for p, offset in offsets.items()],
                asynchronous=False,
            )
        except KafkaException as error:
            # The work is done and idempotent: whoever has the partition now reads it again and drops the repeat.
            log.warning("kafka.commit", error=str(error))

    def group_metadata(self) -> object:
        return self._consumer.consumer_group_metadata()

    def close(self) -> None:
        self._consumer.close()


def _enqueue(producer: Producer, messages: Iterable[Outgoing], on_delivery: Any = None) -> None:
    for m in messages:
        while True:
            try:
                producer.produce(m.topic, m.value, m.key, headers=dict(m.headers), on_delivery=on_delivery)
                break
            except BufferError:  # local queue full: let it drain
                producer.poll(0.05)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    # Trying again will not make it smaller. Large things travel as claim checks.
                    size = len(m.value or b"")
                    raise ValueError(f"an event for {m.topic}, key {m.key!r}, has {size} bytes") from error
                raise


class KafkaProducer:
    """Idempotent producer; see `ports.Producer`."""

    def __init__(self, servers: Servers) -> None:
        self._producer = Producer({**WRITING, **servers, "delivery.timeout.ms": 30_000})

    def send(self, messages: Sequence[Outgoing]) -> None:
        failed: list[KafkaError] = []
        sent = 0

        def delivered(error: KafkaError | None, message: KafkaMessage) -> None:
            nonlocal sent
            sent += 1
            if error is not None:
                failed.append(error)

        _enqueue(self._producer, messages, delivered)
        left = self._producer.flush(REQUEST_TIMEOUT_S)
        if left:
            self._producer.purge()
            self._producer.flush(1.0)
        if failed and failed[0].fatal():
            raise Fenced(str(failed[0]))
        if failed or left or sent < len(messages):
            raise Unavailable("kafka", str(failed[0]) if failed else "no acknowledgement in time")

    def close(self) -> None:
        self._producer.flush(REQUEST_TIMEOUT_S)


class _Beside:
    """A call that runs beside the caller, in a thread that keeps no process alive."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._call()
        except BaseException as error:
            self._error = error

    def end(self, timeout_s: float) -> None:
        """Wait for its end, raise what it raised. Raises Fenced when it does not end.

        After a line that hung, the client has been seen to wait for ever for an answer that was swallowed.
        """
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            raise Fenced(f"no end of a transactional call in {timeout_s:g} s")
        if self._error is not None:
            raise self._error


class KafkaTransactionalProducer:
    """See `ports.TransactionalProducer`. One `transactional.id` per running instance."""

    def __init__(self, servers: Servers, transactional_id: str) -> None:
        self._producer = Producer(
            {
                **WRITING,
                **servers,
                "transactional.id": transactional_id,
                "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
            }
        )

    def initialise(self) -> None:
        try:
            self._producer.init_transactions(REQUEST_TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].fatal():
                raise Fenced(str(error)) from error
            raise Unavailable("kafka", str(error)) from error

    def commit(
        self, messages: Iterable[Outgoing], offsets: Mapping[Partition, int], consumer: ports.Consumer
    ) -> None:
        next_offsets = [TopicPartition(p.topic, p.number, offset) for p, offset in offsets.items()]
        group = consumer.group_metadata()
        try:
            self._producer.begin_transaction()
            # The offsets travel while the messages are made and handed over: each batch waits for a round trip less.
            travel = _Beside(
                lambda: self._until_done(self._producer.send_offsets_to_transaction, next_offsets, group)
            )
            try:
                _enqueue(self._producer, messages)
            finally:
                travel.end(OFFSETS_TIMEOUT_S)  # no other transactional call may run beside it
            self._until_done(self._producer.commit_transaction)
        except KafkaException as error:
            self._abort(error)
        except Fenced:
            raise
        except BaseException as error:  # while a message was made
            self._end_aborted(str(error))
            raise

    def _until_done(self, call: Any, *args: Any) -> None:
        """Repeat a transactional call while the client says that repeating it is safe."""
        deadline = time.monotonic() + TRANSACTION_TIMEOUT_MS / 1000
        while True:
            try:
                call(*args, REQUEST_TIMEOUT_S)
                return
            except KafkaException as error:
                kafka_error = error.args[0]
                if (
                    not kafka_error.retriable()
                    or kafka_error.txn_requires_abort()
                    or time.monotonic() > deadline
                ):
                    raise

    def _abort(self, cause: KafkaException) -> None:
        """Make sure that nothing of the transaction is ever read, and say what happened."""
        telemetry.ABORTS.inc()
        error: KafkaError = cause.args[0]
        if error.fatal():
            raise Fenced(str(error)) from cause
        self._end_aborted(str(error))
        raise Aborted(str(error)) from cause

    def _end_aborted(self, why: str) -> None:
        """Returns when the transaction has been aborted. Raises Fenced when it cannot be."""
        deadline = time.monotonic() + TRANSACTION_TIMEOUT_MS / 1000
        while True:
            try:
                self._producer.abort_transaction(REQUEST_TIMEOUT_S)
                return
            except KafkaException as again:
                kafka_error = again.args[0]
                if kafka_error.fatal() or not kafka_error.retriable() or time.monotonic() > deadline:
                    # The broker ends what we cannot: a restart fences this producer and aborts for it.
                    raise Fenced(f"could not abort after {why}: {kafka_error}") from again

    def close(self) -> None:
        with contextlib.suppress(KafkaException):  # fenced: nothing of it counts any more
            self._producer.flush(1.0)


class _Unattached:
    """A consumer outside of any group, with the end of each partition reported."""

    def __init__(self, servers: Servers) -> None:
        self.consumer = Consumer(
            {
                **READING,
                **servers,
                "group.id": f"unattached-{uuid.uuid4()}",  # required by the client, never committed to
                "fetch.wait.max.ms": 100,  # its readers wait for the end, which is told by an empty answer
                "enable.partition.eof": True,
            }
        )


class KafkaTailReader(_Unattached):
    """See `ports.TailReader`."""

    def last(self, place: Partition, count: int) -> list[Message]:
        try:
            low, high = self.consumer.get_watermark_offsets(
                TopicPartition(place.topic, place.number), REQUEST_TIMEOUT_S
            )
        except KafkaException as error:
            raise Unavailable("kafka", str(error)) from error
        # every transaction adds a marker that takes an offset, so at most every second offset is not a message
        start = max(low, high - 2 * count)
        if start >= high:
            return []
        self.consumer.assign([TopicPartition(place.topic, place.number, start)])
        messages: list[Message] = []
        deadline = time.monotonic() + REQUEST_TIMEOUT_S
        try:
            while time.monotonic() < deadline:
                for raw in self.consumer.consume(500, 0.1):
                    trouble = raw.error()
                    if trouble is None:
                        messages.append(_message(raw))
                    elif trouble.code() == KafkaError._PARTITION_EOF:
                        return messages[-count:]
                    else:
                        log.warning("kafka.tail", error=str(trouble))
            raise Unavailable("kafka", f"the end of {place} was not reached in {REQUEST_TIMEOUT_S} s")
        finally:
            self.consumer.unassign()

    def close(self) -> None:
        self.consumer.close()


class KafkaFollower(_Unattached):
    """See `ports.Follower`."""

    def __init__(self, servers: Servers, topics: Sequence[str]) -> None:
        super().__init__(servers)
        self._topics = list(topics)
        self._behind: set[Partition] | None = None

    def _start(self) -> set[Partition]:
        places = []
        for topic in self._topics:
            try:
                found = self.consumer.list_topics(topic, REQUEST_TIMEOUT_S).topics[topic]
            except KafkaException as unreachable:
                raise Unavailable("kafka", str(unreachable)) from unreachable
            if found.error is not None or not found.partitions:
                raise Unavailable("kafka", f"topic {topic} does not exist yet")
            places += [TopicPartition(topic, number, OFFSET_BEGINNING) for number in found.partitions]
        self.consumer.assign(places)
        return set(_places(places))

    def poll(self, timeout_s: float) -> list[Message]:
        if self._behind is None:
            self._behind = self._start()
        messages = []
        for raw in self.consumer.consume(500, timeout_s):
            error = raw.error()
            if error is None:
                messages.append(_message(raw))
            elif error.code() == KafkaError._PARTITION_EOF:
                self._behind.discard(Partition(raw.topic() or "", raw.partition() or 0))
            else:
                log.warning("kafka.follower", error=str(error))
        return messages

    def caught_up(self) -> bool:
        return self._behind is not None and not self._behind

    def close(self) -> None:
        self.consumer.close()


class KafkaBus:
    """See `ports.Bus`.

    Args:
        bootstrap: host:port of any broker.
        static_id: Name of this instance when it survives a restart; see `ServiceSettings.static_member`.
    """

    def __init__(
        self, bootstrap: str, login: KafkaLogin | None = None, *, static_id: str | None = None
    ) -> None:
        self._static_id = static_id
        self._servers = {"bootstrap.servers": bootstrap} | (login.config() if login else {})
        self._probe: Producer | None = None

    def consumer(self, group: str, patience_s: float = 0.0) -> KafkaConsumer:
        return KafkaConsumer(self._servers, group, self._static_id, patience_s)

    def producer(self) -> KafkaProducer:
        return KafkaProducer(self._servers)

    def transactional_producer(self, transactional_id: str) -> KafkaTransactionalProducer:
        return KafkaTransactionalProducer(self._servers, transactional_id)

    def tail_reader(self) -> KafkaTailReader:
        return KafkaTailReader(self._servers)

    def follower(self, topics: Sequence[str]) -> KafkaFollower:
        return KafkaFollower(self._servers, topics)

    def ping(self) -> None:
        """Raise Unavailable when no broker answers."""
        if self._probe is None:
            self._probe = Producer({**COMMON, **self._servers})
        try:
            self._probe.list_topics(timeout=2.0)
        except KafkaException as error:
            raise Unavailable("kafka", str(error)) from error

"""A bus whose topics, groups and transactional ids carry a prefix, so that tests share one Kafka without meeting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from andon_chassis.bus import ports
from andon_chassis.bus.ports import Assigned, Bus, Message, Outgoing, Partition, Revoked


class Namespaced:
    """Wraps a bus; everything inside sees the plain names."""

    def __init__(self, bus: Bus, prefix: str) -> None:
        self._bus = bus
        self.prefix = prefix

    def consumer(self, group: str, patience_s: float = 0.0) -> NamespacedConsumer:
        return NamespacedConsumer(self._bus.consumer(self.prefix + group, patience_s), self.prefix)

    def producer(self) -> NamespacedProducer:
        return NamespacedProducer(self._bus.producer(), self.prefix)

    def transactional_producer(self, transactional_id: str) -> NamespacedTransactionalProducer:
        return NamespacedTransactionalProducer(
            self._bus.transactional_producer(self.prefix + transactional_id), self.prefix
        )

    def tail_reader(self) -> NamespacedTailReader:
        return NamespacedTailReader(self._bus.tail_reader(), self.prefix)

    def follower(self, topics: Sequence[str]) -> NamespacedFollower:
        return NamespacedFollower(self._bus.follower([self.prefix + t for t in topics]), self.prefix)


class _Named:
    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def _out(self, place: Partition) -> Partition:
        return Partition(self._prefix + place.topic, place.number)

    def _in(self, place: Partition) -> Partition:
        return Partition(place.topic.removeprefix(self._prefix), place.number)

    def _send(self, messages: Iterable[Outgoing]) -> Iterator[Outgoing]:
        return (Outgoing(self._prefix + m.topic, m.key, m.value, m.headers) for m in messages)

    def _read(self, messages: Sequence[Message]) -> list[Message]:
        return [
            Message(
                m.topic.removeprefix(self._prefix),
                m.partition,
                m.offset,
                m.key,
                m.value,
                m.headers,
                m.timestamp_ms,
            )
            for m in messages
        ]


class NamespacedConsumer(_Named):
    """See `ports.Consumer`."""

    def __init__(self, inner: ports.Consumer, prefix: str) -> None:
        super().__init__(prefix)
        self.inner = inner

    def subscribe(self, topics: Sequence[str], on_assigned: Assigned, on_revoked: Revoked) -> None:
        self.inner.subscribe(
            [self._prefix + t for t in topics],
            lambda places: on_assigned([self._in(p) for p in places]),
            lambda places: on_revoked([self._in(p) for p in places]),
        )

    def poll(self, max_messages: int, timeout_s: float, linger_s: float) -> list[Message]:
        return self._read(self.inner.poll(max_messages, timeout_s, linger_s))

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        self.inner.seek({self._out(p): o for p, o in offsets.items()})

    def pause(self) -> None:
        self.inner.pause()

    def resume(self) -> None:
        self.inner.resume()

    def assignment(self) -> set[Partition]:
        return {self._in(p) for p in self.inner.assignment()}

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        self.inner.commit({self._out(p): o for p, o in offsets.items()})

    def group_metadata(self) -> object:
        return self.inner.group_metadata()

    def close(self) -> None:
        self.inner.close()


class NamespacedProducer(_Named):
    """See `ports.Producer`."""

    def __init__(self, inner: ports.Producer, prefix: str) -> None:
        super().__init__(prefix)
        self._inner = inner

    def send(self, messages: Sequence[Outgoing]) -> None:
        self._inner.send(list(self._send(messages)))

    def close(self) -> None:
        self._inner.close()


class NamespacedTransactionalProducer(_Named):
    """See `ports.TransactionalProducer`."""

    def __init__(self, inner: ports.TransactionalProducer, prefix: str) -> None:
        super().__init__(prefix)
        self._inner = inner

    def initialise(self) -> None:
        self._inner.initialise()

    def commit(
        self, messages: Iterable[Outgoing], offsets: Mapping[Partition, int], consumer: ports.Consumer
    ) -> None:
        self._inner.commit(self._send(messages), {self._out(p): o for p, o in offsets.items()}, consumer)

    def close(self) -> None:
        self._inner.close()


class NamespacedTailReader(_Named):
    """See `ports.TailReader`."""

    def __init__(self, inner: ports.TailReader, prefix: str) -> None:
        super().__init__(prefix)
        self._inner = inner

    def last(self, place: Partition, count: int) -> list[Message]:
        return self._read(self._inner.last(self._out(place), count))

    def close(self) -> None:
        self._inner.close()


class NamespacedFollower(_Named):
    """See `ports.Follower`."""

    def __init__(self, inner: ports.Follower, prefix: str) -> None:
        super().__init__(prefix)
        self._inner = inner

    def poll(self, timeout_s: float) -> list[Message]:
        return self._read(self._inner.poll(timeout_s))

    def caught_up(self) -> bool:
        return self._inner.caught_up()

    def close(self) -> None:
        self._inner.close()

"""What the delivery patterns need of a bus.

Two implementations exist, `kafka` and `memory`; the same behaviour tests run against both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from typing import NamedTuple, Protocol

from andon_events.immutable import dataclass


class Partition(NamedTuple):
    """A partition of a topic."""

    topic: str
    number: int


@dataclass(frozen=True, slots=True)
class Message:
    """Bytes as they lie on the bus.

    Attributes:
        timestamp_ms: When it was produced, Unix epoch milliseconds.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]
    timestamp_ms: int

    @property
    def place(self) -> Partition:
        return Partition(self.topic, self.partition)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Bytes to be put on the bus."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes] = field(default_factory=dict)


class Aborted(Exception):
    """The transaction could not commit; nothing of it will ever be read. Seek back and do the work again."""


class Fenced(Exception):
    """Another instance has this transactional id, or the producer is broken for good. Exit; do not go on."""


Assigned = Callable[[Sequence[Partition]], None]
Revoked = Callable[[Sequence[Partition]], None]


class Consumer(Protocol):
    """A member of a consumer group that reads committed messages only."""

    def subscribe(self, topics: Sequence[str], on_assigned: Assigned, on_revoked: Revoked) -> None:
        """Join the group. The callbacks run inside `poll`."""

    def poll(self, max_messages: int, timeout_s: float, linger_s: float) -> list[Message]:
        """Wait for a first message up to `timeout_s`, then for more up to `linger_s`. Raises Unavailable."""

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        """Read on from these offsets; partitions not assigned any more are left out."""

    def pause(self) -> None:
        """Stay in the group, fetch nothing."""

    def resume(self) -> None:
        """Undo `pause`."""

    def assignment(self) -> set[Partition]:
        """What this member has now."""

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Remember the next offsets to read, outside of a transaction."""

    def group_metadata(self) -> object:
        """What a transaction needs to fence a zombie of this group."""

    def close(self) -> None:
        """Leave the group."""


class Producer(Protocol):
    """Idempotent producer, acks=all."""

    def send(self, messages: Sequence[Outgoing]) -> None:
        """Return when all are durable. Raises Unavailable."""

    def close(self) -> None: ...


class TransactionalProducer(Protocol):
    """One transaction at a time: outputs and offsets become visible together or not at all."""

    def initialise(self) -> None:
        """Fence earlier holders of the transactional id. Raises Unavailable."""

    def commit(
        self, messages: Iterable[Outgoing], offsets: Mapping[Partition, int], consumer: Consumer
    ) -> None:
        """Send and commit in one transaction. Raises Aborted, Fenced or Unavailable (then also nothing happened), and
        whatever the messages raise that are made while others are being sent: nothing of them will ever be read.
        """

    def close(self) -> None: ...


class TailReader(Protocol):
    """Reads without a group: to rebuild a memory, or to follow compacted reference data."""

    def last(self, place: Partition, count: int) -> list[Message]:
        """At most the last `count` committed messages of a partition, in order. Raises Unavailable."""

    def close(self) -> None: ...


class Bus(Protocol):
    """Makes the parts."""

    def consumer(self, group: str, patience_s: float = 0.0) -> Consumer:
        """A group member; with patience, the broker collects events for so long before it hands them over."""

    def producer(self) -> Producer: ...

    def transactional_producer(self, transactional_id: str) -> TransactionalProducer: ...

    def tail_reader(self) -> TailReader: ...

    def follower(self, topics: Sequence[str]) -> Follower: ...


class Follower(Protocol):
    """Reads topics from their beginning, without a group, and goes on as they grow."""

    def poll(self, timeout_s: float) -> list[Message]:
        """What is new. Raises Unavailable."""

    def caught_up(self) -> bool:
        """True once everything that was there at the start has been read."""

    def close(self) -> None: ...

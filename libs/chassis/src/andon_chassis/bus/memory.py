"""The bus in memory: the same behaviour as Kafka, without a process, a network or a wait.

Partitions, groups with rebalancing, committed offsets, atomic transactions, fencing by transactional id and by group
generation. The behaviour tests in libs/chassis/tests run against this and against real Kafka.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence

from andon_chassis.bus import ports
from andon_chassis.bus.ports import Aborted, Assigned, Fenced, Message, Outgoing, Partition, Revoked

Crash = Callable[[str], None]


class MemoryBus:
    """A broker. `on_operation` is called with the name of each step and may raise, to simulate a crash there."""

    def __init__(self, partitions: int = 4) -> None:
        self._partitions = partitions
        self.logs: dict[Partition, list[Message]] = {}
        self.committed: dict[tuple[str, Partition], int] = {}
        self._members: dict[str, list[MemoryConsumer]] = {}
        self._epochs: dict[str, int] = {}
        self.lock = threading.RLock()
        self.on_operation: Crash = lambda name: None

    def topic(self, name: str) -> list[Partition]:
        """The partitions of a topic, made on first use."""
        with self.lock:
            places = [Partition(name, n) for n in range(self._partitions)]
            for place in places:
                self.logs.setdefault(place, [])
            return places

    def append(self, messages: Sequence[Outgoing]) -> None:
        """Make messages visible, all at once."""
        with self.lock:
            for m in messages:
                places = self.topic(m.topic)
                place = places[zlib.crc32(m.key or b"") % len(places)]
                entries = self.logs[place]
                entries.append(
                    Message(
                        m.topic, place.number, len(entries), m.key, m.value, dict(m.headers), timestamp_ms=0
                    )
                )

    def messages(self, topic: str) -> list[Message]:
        """Everything on a topic, partition by partition."""
        return [m for place in self.topic(topic) for m in self.logs[place]]

    def rebalance(self, group: str) -> None:
        members = self._members.get(group, [])
        for index, member in enumerate(members):
            wanted = {p for t in member.topics for p in self.topic(t) if p.number % len(members) == index}
            member.pending = wanted

    def join(self, group: str, member: MemoryConsumer) -> None:
        with self.lock:
            self._members.setdefault(group, []).append(member)
            self.rebalance(group)

    def leave(self, group: str, member: MemoryConsumer) -> None:
        with self.lock:
            if member in self._members.get(group, []):
                self._members[group].remove(member)
                self.rebalance(group)

    def owner(self, group: str, place: Partition) -> MemoryConsumer | None:
        return next((m for m in self._members.get(group, []) if place in m.claimed()), None)

    def next_epoch(self, transactional_id: str) -> int:
        with self.lock:
            self._epochs[transactional_id] = self._epochs.get(transactional_id, 0) + 1
            return self._epochs[transactional_id]

    def epoch(self, transactional_id: str) -> int:
        return self._epochs.get(transactional_id, 0)

    def consumer(self, group: str, patience_s: float = 0.0) -> MemoryConsumer:
        return MemoryConsumer(self, group)

    def producer(self) -> MemoryProducer:
        return MemoryProducer(self)

    def transactional_producer(self, transactional_id: str) -> MemoryTransactionalProducer:
        return MemoryTransactionalProducer(self, transactional_id)

    def tail_reader(self) -> MemoryTailReader:
        return MemoryTailReader(self)

    def follower(self, topics: Sequence[str]) -> MemoryFollower:
        return MemoryFollower(self, topics)

    def ping(self) -> None: ...


class MemoryConsumer:
    """See `ports.Consumer`."""

    def __init__(self, bus: MemoryBus, group: str) -> None:
        self._bus = bus
        self._group = group
        self.topics: list[str] = []
        self.pending: set[Partition] | None = None
        self._mine: dict[Partition, int] = {}
        self._paused: set[Partition] = set()
        self._on_assigned: Assigned = lambda places: None
        self._on_revoked: Revoked = lambda places: None

    def claimed(self) -> set[Partition]:
        """What the group holds this member to have, whether or not it has noticed."""
        return set(self._mine) if self.pending is None else self.pending

    def subscribe(self, topics: Sequence[str], on_assigned: Assigned, on_revoked: Revoked) -> None:
        self.topics = list(topics)
        self._on_assigned, self._on_revoked = on_assigned, on_revoked
        self._bus.join(self._group, self)

    def _settle(self) -> None:
        if self.pending is None:
            return
        wanted, self.pending = self.pending, None
        lost = set(self._mine) - wanted
        if lost:
            self._on_revoked(sorted(lost))
            for place in lost:
                del self._mine[place]
        new = sorted(wanted - set(self._mine))
        for place in new:
            self._mine[place] = self._bus.committed.get((self._group, place), 0)
        if new:
            self._on_assigned(new)

    def poll(self, max_messages: int, timeout_s: float, linger_s: float) -> list[Message]:
        self._bus.on_operation("poll")
        with self._bus.lock:
            self._settle()
            taken: list[Message] = []
            for place in sorted(set(self._mine) - self._paused):
                entries = self._bus.logs[place]
                start = self._mine[place]
                some = entries[start : start + max_messages - len(taken)]
                self._mine[place] = start + len(some)
                taken += some
            return taken

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        for place, offset in offsets.items():
            if place in self._mine:
                self._mine[place] = offset

    def pause(self) -> None:
        self._paused = set(self._mine)

    def resume(self) -> None:
        self._paused = set()

    def assignment(self) -> set[Partition]:
        return set(self._mine)

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        self._bus.on_operation("commit offsets")
        with self._bus.lock:
            for place, offset in offsets.items():
                if place in self.claimed():
                    self._bus.committed[self._group, place] = offset

    def group_metadata(self) -> object:
        return self

    def owns(self, places: Sequence[Partition]) -> bool:
        """Whether the group still counts this member as the owner."""
        return all(self._bus.owner(self._group, place) is self for place in places)

    def commit_in_transaction(self, offsets: Mapping[Partition, int]) -> None:
        for place, offset in offsets.items():
            self._bus.committed[self._group, place] = offset

    def close(self) -> None:
        self._bus.leave(self._group, self)


class MemoryProducer:
    """See `ports.Producer`."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus

    def send(self, messages: Sequence[Outgoing]) -> None:
        self._bus.on_operation("send")
        self._bus.append(messages)
        self._bus.on_operation("sent")

    def close(self) -> None: ...


class MemoryTransactionalProducer:
    """See `ports.TransactionalProducer`."""

    def __init__(self, bus: MemoryBus, transactional_id: str) -> None:
        self._bus = bus
        self._id = transactional_id
        self._epoch = 0

    def initialise(self) -> None:
        self._epoch = self._bus.next_epoch(self._id)

    def commit(
        self, messages: Iterable[Outgoing], offsets: Mapping[Partition, int], consumer: ports.Consumer
    ) -> None:
        self._bus.on_operation("begin transaction")
        made = list(messages)
        with self._bus.lock:
            if self._epoch != self._bus.epoch(self._id):
                raise Fenced(f"{self._id} is held by a newer instance")
            member = consumer.group_metadata()
            assert isinstance(member, MemoryConsumer)
            if not member.owns(list(offsets)):
                raise Aborted("the group has moved on")
            self._bus.on_operation("commit transaction")
            self._bus.append(made)
            member.commit_in_transaction(offsets)
        self._bus.on_operation("committed transaction")

    def close(self) -> None: ...


class MemoryTailReader:
    """See `ports.TailReader`."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus

    def last(self, place: Partition, count: int) -> list[Message]:
        self._bus.topic(place.topic)
        return self._bus.logs[place][-count:]

    def close(self) -> None: ...


class MemoryFollower:
    """See `ports.Follower`."""

    def __init__(self, bus: MemoryBus, topics: Sequence[str]) -> None:
        self._bus = bus
        self._read = {place: 0 for topic in topics for place in bus.topic(topic)}
        self._polled = False

    def poll(self, timeout_s: float) -> list[Message]:
        with self._bus.lock:
            self._polled = True
            new = [m for place, start in self._read.items() for m in self._bus.logs[place][start:]]
            self._read = {place: len(self._bus.logs[place]) for place in self._read}
            return new

    def caught_up(self) -> bool:
        return self._polled

    def close(self) -> None: ...

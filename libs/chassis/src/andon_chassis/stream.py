"""Stream step: consume, handle a batch, produce and commit offsets in one Kafka transaction.

Readers are read_committed, so outputs exist exactly once. A zombie is fenced by its transactional id and by the
group's metadata. What a step must remember between events it reads back from its own output topic.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import structlog

from andon_chassis.bus.ports import Message, Outgoing, Partition, TailReader, TransactionalProducer
from andon_chassis.consuming import Step, decode_batch, next_offsets, with_trace
from andon_chassis.deadletter import dead_letter
from andon_chassis.errors import Invalid, Unavailable
from andon_chassis.events import Event, Outcome, Rejected

log = structlog.get_logger()


class StreamHandler(Protocol):
    """The rules of the trade, batch by batch."""

    def handle(self, events: Sequence[Event[Any]]) -> Sequence[Outcome]:
        """One outcome for each event, in the same order. Raises Unavailable to have the batch tried again."""


class PartitionMemory(Protocol):
    """State of a handler that is rebuilt from the step's own output topic.

    The output topic has as many partitions as the input and the same key, so a station's outputs lie in the partition
    with the number of its inputs.

    Attributes:
        topic: The output topic.
        count: How many of its last events are needed.
    """

    @property
    def topic(self) -> str: ...

    @property
    def count(self) -> int: ...

    def restore(self, partition: int, events: Sequence[Event[Any]]) -> None:
        """Remember what these events say, oldest first; everything known of the partition before is void."""

    def forget(self, partition: int) -> None:
        """The partition went to somebody else."""


class _Each:
    """See `each`."""

    def __init__(self, one: Callable[[Event[Any]], Sequence[Event[Any]]]) -> None:
        self._one = one

    def handle(self, events: Sequence[Event[Any]]) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        for e in events:
            try:
                outcomes.append(self._one(e))
            except Invalid as error:
                outcomes.append(Rejected(error.reason, error.advice))
        return outcomes


def each(one: Callable[[Event[Any]], Sequence[Event[Any]]]) -> StreamHandler:
    """Lift a function of one event into a handler; an Invalid it raises rejects that event alone."""
    return _Each(one)


class StreamStep(Step):
    """Exactly-once consume, handle, produce."""

    def __init__(
        self,
        *,
        service: str,
        handler: StreamHandler,
        producer: TransactionalProducer,
        tail: TailReader | None = None,
        memory: PartitionMemory | None = None,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self._service = service
        self._handler = handler
        self._producer = producer
        self._tail = tail
        self._memory = memory
        self._to_restore: set[int] = set()

    def start(self) -> None:
        while True:
            try:
                self._producer.initialise()
                break
            except Unavailable as error:
                log.warning(
                    "step.unavailable", step=self.name, dependency=error.dependency, detail=error.detail
                )
                self._health.beat(self.name)
                if self._clock.wait(self._stop, self._backoff.delay()):
                    return
        self._backoff.reset()
        super().start()

    def on_assigned(self, places: Sequence[Partition]) -> None:
        self._to_restore |= {p.number for p in places}

    def on_revoked(self, places: Sequence[Partition]) -> None:
        for number in {p.number for p in places}:
            self._to_restore.discard(number)
            if self._memory is not None:
                self._memory.forget(number)

    def undo(self, messages: Sequence[Message]) -> None:
        self._to_restore |= {m.partition for m in messages}

    def _restore(self) -> None:
        if self._memory is not None and self._tail is not None:
            for number in sorted(self._to_restore):
                kept = self._tail.last(Partition(self._memory.topic, number), self._memory.count)
                events = [e for e in decode_batch(self._codec, kept) if isinstance(e, Event)]
                self._memory.restore(number, events)
        self._to_restore.clear()

    def process(self, messages: Sequence[Message]) -> None:
        if self._to_restore:
            self._restore()
        start_ns = time.time_ns()
        decoded = decode_batch(self._codec, messages)
        events = [d for d in decoded if isinstance(d, Event)]
        handled = iter(self._handler.handle(events) if events else [])
        outcomes: list[Outcome] = [
            one if isinstance(one, Rejected) else with_trace(self.name, one, next(handled), start_ns)
            for one in decoded
        ]
        self._count_invalid(messages, outcomes)
        # Encoded one by one while the client already sends the first.
        self._producer.commit(self._encoded(messages, outcomes), next_offsets(messages), self._consumer)

    def _encoded(self, messages: Sequence[Message], outcomes: Sequence[Outcome]) -> Iterator[Outgoing]:
        for message, outcome in zip(messages, outcomes, strict=True):
            if isinstance(outcome, Rejected):
                yield dead_letter(self._service, message, outcome.reason, outcome.advice, self._clock.now())
            else:
                for e in outcome:
                    yield self._codec.encode(e)

    def close(self) -> None:
        self._producer.close()
        if self._tail is not None:
            self._tail.close()

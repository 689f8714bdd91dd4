"""What the stream step and the state step have in common: polling, decoding, waiting out, stopping.

A step turns: poll a batch, decode it, handle it, make the outcome durable, acknowledge. Everything between the poll
and the acknowledgement can be repeated; a crash anywhere in it means that the same batch is read again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from andon_chassis import telemetry
from andon_chassis.bus.ports import Aborted, Consumer, Message, Partition
from andon_chassis.clock import Clock
from andon_chassis.codec import Codec
from andon_chassis.deadletter import DeadLetterBudget, TooManyInvalid
from andon_chassis.errors import Invalid, Unavailable
from andon_chassis.events import Event, Outcome, Rejected
from andon_chassis.health import Health
from andon_chassis.retry import Backoff

log = structlog.get_logger()

POLL_S = 0.25
MOST_AFTER_ABORT_S = 1.0
COMPANY = 4
ALONE_S = 0.001


@dataclass(frozen=True, slots=True)
class Batching:
    """A batch closes by count or by time, whichever comes first, and load decides which.

    Attributes:
        most: Messages in a batch.
        linger_s: How long an open batch waits for more, once messages come in company; a lone message is not kept
            waiting for others that will not come.
    """

    most: int = 200
    linger_s: float = 0.005

    def patience_s(self, last: int) -> float:
        """How long the next batch waits, after one with so many messages."""
        return self.linger_s if last >= COMPANY else min(self.linger_s, ALONE_S)


def first_offsets(messages: Iterable[Message]) -> dict[Partition, int]:
    """Where to read again to get all of these messages."""
    offsets: dict[Partition, int] = {}
    for m in messages:
        offsets[m.place] = min(m.offset, offsets.get(m.place, m.offset))
    return offsets


def next_offsets(messages: Iterable[Message]) -> dict[Partition, int]:
    """Where to read on once these messages are done."""
    offsets: dict[Partition, int] = {}
    for m in messages:
        offsets[m.place] = max(m.offset + 1, offsets.get(m.place, 0))
    return offsets


def decode_batch(codec: Codec, messages: Sequence[Message]) -> list[Event[Any] | Rejected]:
    """Each message as an event, or as rejected when its bytes cannot be read. Raises Unavailable."""
    decoded: list[Event[Any] | Rejected] = []
    for m in messages:
        try:
            decoded.append(codec.decode(m))
        except Invalid as error:
            decoded.append(Rejected(error.reason, error.advice))
    return decoded


def with_trace(step: str, event: Event[Any], outcome: Outcome, start_ns: int) -> Outcome:
    """Join the events that follow to the trace of the event that caused them."""
    if isinstance(outcome, Rejected) or not outcome:
        return outcome
    parent = telemetry.child_traceparent(step, event.traceparent, start_ns, time.time_ns(), event_id=event.id)
    if parent is None:
        return outcome
    return [replace(e, traceparent=parent) if e.traceparent is None else e for e in outcome]


class Step:
    """The loop. A subclass says how a batch is made durable and acknowledged (`process`)."""

    def __init__(
        self,
        *,
        name: str,
        topics: Sequence[str],
        consumer: Consumer,
        codec: Codec,
        clock: Clock,
        health: Health,
        batching: Batching,
        budget: DeadLetterBudget,
    ) -> None:
        self.name = name
        self._topics = topics
        self._consumer = consumer
        self._codec = codec
        self._clock = clock
        self._health = health
        self._batching = batching
        self._budget = budget
        self._backoff = Backoff()
        self._stop = threading.Event()
        self._invalid: list[tuple[Message, Rejected]] = []
        self._counted = False
        self._last = 0

    def start(self) -> None:
        """Join the group."""
        self._consumer.subscribe(self._topics, self.on_assigned, self.on_revoked)

    def on_assigned(self, places: Sequence[Partition]) -> None:
        """Hook: partitions arrived."""

    def on_revoked(self, places: Sequence[Partition]) -> None:
        """Hook: partitions went away. No batch is open here: batches live between two polls."""

    def process(self, messages: Sequence[Message]) -> None:
        """Handle, make durable, acknowledge. Raises Unavailable, Aborted or TooManyInvalid with nothing done."""
        raise NotImplementedError

    def undo(self, messages: Sequence[Message]) -> None:
        """Hook: a batch failed after the handler ran; drop what it left in memory."""

    def turn(self, timeout_s: float = POLL_S) -> int:
        """One round; gives the number of messages that were acknowledged."""
        patience_s = self._batching.patience_s(self._last)
        messages = self._consumer.poll(self._batching.most, timeout_s, patience_s)
        self._last = len(messages)
        self._health.beat(self.name)
        if not messages:
            return 0
        telemetry.BATCH_SIZE.labels(self.name).observe(len(messages))
        began = time.perf_counter()
        self._counted = False
        try:
            self.process(messages)
        except Aborted as error:
            log.warning("step.aborted", step=self.name, detail=str(error), events=len(messages))
            self._take_back(messages)
            self._consumer.seek(first_offsets(messages))
            # A broker that refuses each commit at once would be asked in a hot loop.
            self._clock.wait(self._stop, min(MOST_AFTER_ABORT_S, self._backoff.delay()))
            return 0
        except Unavailable as error:
            self._take_back(messages)
            self._wait_out(messages, error)
            return 0
        self._tell_invalid()
        telemetry.BATCH_SECONDS.labels(self.name).observe(time.perf_counter() - began)
        for topic in {m.topic for m in messages}:
            telemetry.EVENTS_IN.labels(topic).inc(sum(m.topic == topic for m in messages))
        self._backoff.reset()
        return len(messages)

    def _take_back(self, messages: Sequence[Message]) -> None:
        """Nothing of this batch was done, so nothing of it may be remembered."""
        if self._counted:
            self._budget.take_back()
        self.undo(messages)

    def run(self, stop: threading.Event) -> None:
        """Turn until stopped, then leave the group."""
        self._stop = stop
        self.start()
        try:
            while not stop.is_set():
                try:
                    self.turn()
                except TooManyInvalid as error:
                    self._halt(stop, error)
        except BaseException:
            # Before leaving the group: the client of a fenced member may never come back from that, and a process that
            # neither works nor ends would be silent for ever. Told to stop, the service ends whoever hangs.
            log.critical("step.crashed", step=self.name, exc_info=True)
            stop.set()
            raise
        finally:
            self._health.forget(self.name)
            self._consumer.close()
            self.close()

    def close(self) -> None:
        """Hook: release what `process` used."""

    def _wait_out(self, messages: Sequence[Message], error: Unavailable) -> None:
        """Back off while staying in the group, then read the same messages again."""
        delay = self._backoff.delay()
        telemetry.UNAVAILABLE.labels(error.dependency).set(1)
        log.warning(
            "step.unavailable",
            step=self.name,
            dependency=error.dependency,
            detail=error.detail,
            retry_in_s=round(delay, 2),
        )
        self._consumer.seek(first_offsets(messages))
        self._consumer.pause()
        until = self._clock.monotonic() + delay
        while self._clock.monotonic() < until and not self._clock.wait(self._stop, min(0.1, delay)):
            # a rebalance may bring partitions that are not paused: leave their messages where they are
            early = self._consumer.poll(1, 0.0, 0.0)
            if early:
                self._consumer.seek(first_offsets(early))
                self._consumer.pause()
            self._health.beat(self.name)
        self._consumer.resume()
        telemetry.UNAVAILABLE.labels(error.dependency).set(0)

    def _halt(self, stop: threading.Event, error: TooManyInvalid) -> None:
        """Stop consuming, lose nothing, wait for a person: restarting would only spend a new budget."""
        advice = f"{error}. The deploy is probably bad, not the data: roll back, or mend it, then restart."
        log.critical("step.halted", step=self.name, advice=advice)
        self._health.not_ready(self.name, advice)
        self._consumer.pause()
        while not self._clock.wait(stop, 0.5):
            self._consumer.poll(1, 0.0, 0.0)
            self._health.beat(self.name)

    def _count_invalid(self, messages: Sequence[Message], outcomes: Sequence[object]) -> None:
        """Spend the dead-letter budget. Raises TooManyInvalid."""
        self._budget.spend([isinstance(o, Rejected) for o in outcomes])
        self._counted = True
        self._invalid = [(m, o) for m, o in zip(messages, outcomes, strict=True) if isinstance(o, Rejected)]

    def _tell_invalid(self) -> None:
        """Count and log the dead letters of a batch that is durable."""
        for message, outcome in self._invalid:
            telemetry.DEAD_LETTERS.labels(message.topic, outcome.reason).inc()
            log.error(
                "dead-letter",
                step=self.name,
                reason=outcome.reason,
                advice=outcome.advice,
                topic=message.topic,
                partition=message.partition,
                offset=message.offset,
                **telemetry.trace_field(message.headers.get("traceparent")),
            )
        self._invalid = []

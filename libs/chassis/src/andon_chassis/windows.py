"""Windows: read events of many topics, keep a state for each key in a Faust table with a changelog, send what follows.

At least once, with the effect of once: a state names the offsets it contains, and what follows has ids that a repeat
makes again. Who uses it brings a `Collector`, which knows what the events mean, and installs the extra
`andon-chassis[windows]`.

What Faust gives: the consumer group, the table with its changelog and recovery, the producer. What is done
here by hand, and why:

- Events are acknowledged by hand, after what follows and the states have reached the brokers, in this order. Faust
  would acknowledge when the loop turns, and a crash could lose what was counted but not yet written.
- States are written every few seconds and when something urgent goes out, not at every event: one write for hundreds
  of events keeps the changelog small.
- A bug ends the process. Faust would start the agent again and go on behind the event.

`andon_chassis.bus.faust` sets right what Faust's consumer would get wrong.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import structlog
from aiokafka.errors import KafkaError
from faust.exceptions import ProducerSendError
from prometheus_client import Counter

from andon_chassis import telemetry
from andon_chassis.bus.faust import App, credentials
from andon_chassis.bus.login import KafkaLogin
from andon_chassis.bus.ports import Message, Outgoing
from andon_chassis.clock import Clock
from andon_chassis.codec import Codec
from andon_chassis.deadletter import DeadLetterBudget, TooManyInvalid, dead_letter
from andon_chassis.errors import Invalid, Unavailable
from andon_chassis.events import Event
from andon_chassis.health import Health
from andon_chassis.retry import Backoff

log = structlog.get_logger()

TURN_S = 0.1
PART = "windows"
STEP = f"step {PART}"
WATCH_S = 5.0

STATE_BYTES = Counter("andon_state_written_bytes_total", "Bytes of state written to the changelog")


class States(Protocol):
    """Where a state is read from when its first event arrives."""

    def load(self, key: str) -> bytes | None:
        """The state last made durable under this key, or None."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What must become durable, events first, before the events behind them are acknowledged.

    Attributes:
        events: What follows.
        states: Packed state and partition by key.
    """

    events: Sequence[Event[Any]]
    states: dict[str, tuple[int, bytes]]

    def __bool__(self) -> bool:
        return bool(self.events or self.states)


class Collector(Protocol):
    """What the events mean; owned by one thread."""

    @property
    def urgent(self) -> bool:
        """Something waits that should go out at once."""

    def take(self, seen: Event[Any], partition: int, offset: int) -> bool:
        """Count an event; False when the state already contains this offset."""

    def changes(self) -> Changes:
        """What has changed since the last call."""

    def sent(self, event: Event[Any]) -> None:
        """An event of the changes has reached the brokers."""

    def forget(self) -> None:
        """Partitions went away: drop what is not durable, it will be delivered again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSettings:
    """How the windows run.

    Attributes:
        login: How to log in to the brokers, if at all.
        static_id: Name of this instance when it survives a restart; it then gets its partitions back at once.
        group: Consumer group; also the prefix of the changelog topic.
        sources: Topics that are read, all with the same keys.
        partitions: Of each source, and so of the table: a key's state lies where its events lie.
        table: Name of the table; with the group it names the changelog topic.
        flush_s: A change is durable after so many seconds at the latest.
        flush_events: Or after so many events.
        session_s: A member that is silent for so long has died.
        replication: Copies of the changelog topic when it has to be created.
    """

    bootstrap: str
    login: KafkaLogin | None = None
    static_id: str | None = None
    service: str
    group: str
    sources: Sequence[str]
    partitions: int
    table: str
    state_dir: Path
    flush_s: float = 1.0
    flush_events: int = 1000
    session_s: float = 10.0
    replication: int = 1


class Windows:
    """Runs the collector on Faust; a component of the service, with a thread and a loop of its own."""

    def __init__(
        self,
        settings: WindowSettings,
        codec: Codec,
        health: Health,
        clock: Clock,
        make_collector: Callable[[States], Collector],
        budget: DeadLetterBudget | None = None,
    ) -> None:
        self._settings = settings
        self._codec = codec
        self._health = health
        self._clock = clock
        self._make_collector = make_collector
        self._budget = budget or DeadLetterBudget()
        self._pending: list[Any] = []
        self._letters: list[Outgoing] = []
        self._flushed = time.monotonic()
        self._halted = False
        self._bug: Exception | None = None
        self._assigned = False
        self._steps = self._inside = self._seen_steps = self._seen_turns = 0
        health.not_ready(PART, "recovering state")

    # --- life -----------------------------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        """Consume until stopped. Raises whatever crashed Faust."""
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._main(stop))
        finally:
            loop.close()
            asyncio.set_event_loop(None)

    async def _main(self, stop: threading.Event) -> None:
        self._flushing = asyncio.Lock()
        self._stop = stop
        self._app = self._make_app()
        self._table = self._make_table()
        self._collector = self._make_collector(self)
        self._watch_rebalances()
        self._app.agent(self._sources(), name="collect")(self._collect)
        self._health.beat(STEP)
        watching = asyncio.create_task(self._watch())
        try:
            await self._app.start()
            while not (stop.is_set() or self._app.crashed or self._bug):
                await asyncio.sleep(TURN_S)
                if self._pending and self._due():
                    await self._flush()
            if not (self._app.crashed or self._bug or self._halted):
                await self._flush()
        finally:
            watching.cancel()
            await self._app.stop()
            self._health.forget(STEP)
        crash = self._bug or self._app.crash_reason
        if crash is not None and (self._bug or not stop.is_set()):
            raise crash

    async def _watch(self) -> None:
        """Say that the step turns, as long as it does; the service ends a process whose step stands still."""
        while True:
            kafka = await asyncio.to_thread(lambda: self._health.is_ready().parts.get("kafka", ""))
            if self._moves() or kafka != "answers":
                self._health.beat(STEP)
            await asyncio.sleep(WATCH_S)

    def _moves(self) -> bool:
        """Whether fetches come back and events get through, since the last look; a recovery does neither."""
        consumer: Any = self._app.consumer
        turns = consumer.turns if self._assigned else self._seen_turns
        fetches, works = turns != self._seen_turns, self._steps != self._seen_steps
        self._seen_turns, self._seen_steps = turns, self._steps
        return works or (fetches and not self._inside) or self._halted

    def _make_app(self) -> App:
        s = self._settings
        return App(
            s.group,
            broker=[f"kafka://{server}" for server in s.bootstrap.split(",")],
            broker_credentials=credentials(s.login),
            store="memory://",
            datadir=s.state_dir / "faust",
            autodiscover=False,
            web_enabled=False,
            topic_partitions=s.partitions,
            topic_replication_factor=s.replication,
            topic_disable_leader=True,
            processing_guarantee="at_least_once",
            stream_wait_empty=False,
            stream_recovery_delay=0.0,
            consumer_auto_offset_reset="earliest",
            consumer_group_instance_id=s.static_id,
            broker_commit_interval=1.0,
            broker_session_timeout=s.session_s,
            broker_heartbeat_interval=s.session_s / 4,
            broker_rebalance_timeout=2 * s.session_s,
            broker_request_timeout=max(30.0, 3 * s.session_s),
            producer_acks=-1,
            producer_request_timeout=30.0,
            logging_config=None,
        )

    def _make_table(self) -> Any:
        return self._app.Table(
            self._settings.table,
            key_type=bytes,
            value_type=bytes,
            partitions=self._settings.partitions,
            # A state is written over and over: compact early, or recovery would read hours of old states.
            extra_topic_configs={
                "cleanup.policy": "compact",
                "segment.ms": "600000",
                "segment.bytes": str(32 * 1024 * 1024),
                "min.cleanable.dirty.ratio": "0.2",
            },
        )

    def _sources(self) -> Any:
        return self._app.topic(
            *self._settings.sources,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            allow_empty=True,
        )

    def _watch_rebalances(self) -> None:
        async def revoked(*_: Any, **__: Any) -> None:
            self._assigned = False
            self._health.not_ready(PART, "the group shares out its partitions anew")
            self._drop()

        def complete(*_: Any, **__: Any) -> None:
            log.info("windows.assigned", states=len(self._table.data))
            self._assigned = True
            if not self._halted:
                self._health.ready(PART)

        self._app.on_partitions_revoked.connect(revoked, weak=False)
        self._app.on_rebalance_complete.connect(complete, weak=False)

    # --- events ---------------------------------------------------------------------------------------------

    def load(self, key: str) -> bytes | None:
        """The collector's port: the durable state of a key."""
        state: bytes | None = self._table.data.get(key.encode())
        return state

    async def _collect(self, stream: Any) -> None:
        events: AsyncIterator[Any] = stream.noack().events()
        async for event in events:
            self._inside += 1
            try:
                await self._take(event)
            except TooManyInvalid as error:
                await self._halt(error)
            except Exception as error:
                self._bug = error
                return
            finally:
                self._inside -= 1
                self._steps += 1

    def _is_current(self, event: Any) -> bool:
        """Not from before a rebalance: whoever has the partition now gets it again."""
        return bool(event.message.generation_id == self._app.consumer_generation_id)

    async def _take(self, event: Any) -> None:
        raw = event.message
        headers = {name: value or b"" for name, value in raw.headers or ()}
        message = Message(
            raw.topic, raw.partition, raw.offset, raw.key, raw.value, headers, int(raw.timestamp * 1000)
        )
        outcome = await self._decode(message)
        if not self._is_current(event):
            return
        invalid = isinstance(outcome, Invalid)
        self._budget.spend([invalid])
        if isinstance(outcome, Invalid):
            self._reject(message, outcome)
        elif not self._collector.take(outcome, raw.partition, raw.offset):
            telemetry.REPEATS.labels(raw.topic).inc()
        telemetry.EVENTS_IN.labels(raw.topic).inc()
        self._pending.append(event)
        if self._due():
            await self._flush()

    async def _decode(self, message: Message) -> Event[Any] | Invalid:
        """The event, or why there is none; waits for a registry that is away."""
        backoff = Backoff()
        while True:
            try:
                return self._codec.decode(message)
            except Invalid as error:
                return error
            except Unavailable as error:
                await self._wait_out(error, backoff)

    def _reject(self, message: Message, error: Invalid) -> None:
        telemetry.DEAD_LETTERS.labels(message.topic, error.reason).inc()
        log.error(
            "dead-letter",
            step=PART,
            reason=error.reason,
            advice=error.advice,
            topic=message.topic,
            partition=message.partition,
            offset=message.offset,
            **telemetry.trace_field(message.headers.get("traceparent")),
        )
        now = self._clock.now()
        self._letters.append(dead_letter(self._settings.service, message, error.reason, error.advice, now))

    # --- durability -----------------------------------------------------------------------------------------

    def _due(self) -> bool:
        return (
            self._collector.urgent
            or bool(self._letters)
            or len(self._pending) >= self._settings.flush_events
            or time.monotonic() - self._flushed >= self._settings.flush_s
        )

    async def _flush(self) -> None:
        """What follows and dead letters, then states, then acknowledgements; waits for brokers that are away.

        After a rebalance meanwhile, the states belong to somebody else and nothing is acknowledged: what went out comes
        again under the same ids.
        """
        async with self._flushing:
            if self._halted or self._bug:
                return
            began = time.perf_counter()
            generation = self._app.consumer_generation_id
            pending, self._pending = self._pending, []
            letters, self._letters = self._letters, []
            changes = self._collector.changes()
            follow = [await self._encode(one) for one in changes.events]
            await asyncio.gather(*(self._send(message) for message in (*letters, *follow)))
            for one in changes.events:
                telemetry.EVENTS_OUT.labels(one.topic).inc()
                self._collector.sent(one)
            if generation != self._app.consumer_generation_id:
                return
            await asyncio.gather(*(self._write(key, *state) for key, state in changes.states.items()))
            if generation != self._app.consumer_generation_id:
                return
            for event in pending:
                event.ack()
            self._flushed = time.monotonic()
            self._steps += 1
            telemetry.BATCH_SIZE.labels(PART).observe(len(pending))
            telemetry.BATCH_SECONDS.labels(PART).observe(time.perf_counter() - began)

    async def _encode(self, one: Event[Any]) -> Outgoing:
        backoff = Backoff()
        while True:
            try:
                return self._codec.encode(one)
            except Unavailable as error:
                await self._wait_out(error, backoff)

    async def _write(self, key: str, partition: int, packed: bytes) -> None:
        """Put a state into the changelog, then into the table: recovery must never know less than we do."""
        changelog = Outgoing(self._table.changelog_topic_name, key.encode(), packed)
        await self._send(changelog, partition)
        self._table.data[key.encode()] = packed
        STATE_BYTES.inc(len(packed))

    async def _send(self, message: Outgoing, partition: int | None = None) -> None:
        """Return when the brokers have it; wait for brokers that are away."""
        backoff = Backoff()
        headers = list(message.headers.items())
        while True:
            try:
                await self._app.producer.send_and_wait(
                    message.topic, message.key, message.value, partition, None, headers
                )
                return
            except (ProducerSendError, KafkaError) as error:
                await self._wait_out(Unavailable("kafka", str(error)), backoff)

    async def _wait_out(self, error: Unavailable, backoff: Backoff) -> None:
        delay = backoff.delay()
        telemetry.UNAVAILABLE.labels(error.dependency).set(1)
        log.warning(
            "windows.unavailable",
            dependency=error.dependency,
            detail=error.detail,
            retry_in_s=round(delay, 2),
        )
        if self._stop.is_set():
            raise error
        self._steps += 1  # what we wait for must not get us killed
        await asyncio.sleep(delay)
        telemetry.UNAVAILABLE.labels(error.dependency).set(0)

    def _drop(self) -> None:
        """Forget what is not durable; it is delivered again."""
        self._pending.clear()
        self._letters.clear()
        self._collector.forget()

    async def _halt(self, error: TooManyInvalid) -> None:
        """Stop consuming, lose nothing, wait for a person: restarting would only spend a new budget."""
        advice = f"{error}. The deploy is probably bad, not the data: roll back, or mend it, then restart."
        log.critical("windows.halted", advice=advice)
        self._health.not_ready(PART, advice)
        self._halted = True
        self._drop()
        while not self._stop.is_set():
            await asyncio.sleep(TURN_S)

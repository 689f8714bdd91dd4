"""State step: one PostgreSQL transaction holds the inbox rows, the state and the outbox rows; offsets follow.

Two consumers may hold a partition for a moment. The database decides, not the group: whoever writes the inbox row
first does the work, the other one finds it done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from andon_chassis import telemetry
from andon_chassis.bus.ports import Message
from andon_chassis.consuming import Step, decode_batch, next_offsets, with_trace
from andon_chassis.database import Database, Transaction
from andon_chassis.deadletter import dead_letter, identity
from andon_chassis.events import Event, Outcome, Rejected

StateHandler = Callable[[Sequence[Event[Any]], Transaction], Sequence[Outcome]]
"""One outcome for each event, in order. It sees only events that were not handled before, and finds out what is
invalid before it touches the database."""


class StateStep(Step):
    """Exactly-once effect on a database, and on the bus through the outbox."""

    def __init__(
        self, *, service: str, group: str, handler: StateHandler, database: Database, **common: Any
    ) -> None:
        super().__init__(**common)
        self._service = service
        self._group = group
        self._handler = handler
        self._database = database

    def process(self, messages: Sequence[Message]) -> None:
        start_ns = time.time_ns()
        decoded = decode_batch(self._codec, messages)
        # What cannot be decoded has no event id; its place on the bus identifies it just as well.
        ids = [
            identity(self._service, d.id, m.headers)
            if isinstance(d, Event)
            else f"{m.topic}/{m.partition}/{m.offset}"
            for m, d in zip(messages, decoded, strict=True)
        ]
        with self._database.transaction() as tx:
            fresh = tx.claim(self._group, ids)
            todo: list[tuple[Message, Event[Any] | Rejected]] = []
            for message, one, id_ in zip(messages, decoded, ids, strict=True):
                if id_ in fresh:
                    fresh.discard(id_)  # the same event twice in one batch
                    todo.append((message, one))
                else:
                    telemetry.REPEATS.labels(message.topic).inc()
            events = [one for _, one in todo if isinstance(one, Event)]
            handled = iter(self._handler(events, tx) if events else [])
            outcomes: list[Outcome] = []
            follow: list[Event[Any]] = []
            letters = []
            for message, one in todo:
                outcome = (
                    one if isinstance(one, Rejected) else with_trace(self.name, one, next(handled), start_ns)
                )
                outcomes.append(outcome)
                if isinstance(outcome, Rejected):
                    now = self._clock.now()
                    letters.append(dead_letter(self._service, message, outcome.reason, outcome.advice, now))
                else:
                    follow += outcome
            self._count_invalid([m for m, _ in todo], outcomes)
            tx.emit(follow)
            tx.emit_raw(letters)
        self._consumer.commit(next_offsets(messages))

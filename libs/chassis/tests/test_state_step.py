"""The state step on real PostgreSQL: inbox, state and outbox commit together, whatever crashes."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import andon_chassis.database as database_module
import psycopg
import pytest
from andon_chassis.bus.memory import MemoryBus
from andon_chassis.bus.ports import Outgoing
from andon_chassis.clock import SystemClock
from andon_chassis.codec import Codec, MemorySchemaRegistry
from andon_chassis.database import Database, Relay, Transaction
from andon_chassis.errors import Unavailable
from andon_chassis.events import Event, Outcome, Rejected
from andon_chassis.health import Health
from andon_chassis.testing import capture_recorded, drain, events, publish, state_step

from .test_step_behaviour import audit

CODEC = Codec(MemorySchemaRegistry())

MIGRATION = "CREATE TABLE counted (capture_id text PRIMARY KEY, times integer NOT NULL);"


class Crash(BaseException):
    """As sudden as kill -9."""


@pytest.fixture(scope="module")
def database(infra: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    folder: Path = tmp_path_factory.mktemp("migrations")
    (folder / "0001.counted.sql").write_text(MIGRATION)
    name = f"chassis_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(infra.postgres_admin_url, autocommit=True) as admin:
        admin.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
    url = infra.postgres_admin_url.rsplit("/", 1)[0] + f"/{name}"
    made = Database(url, folder, CODEC)
    made.open()
    yield made
    made.close()
    with psycopg.connect(infra.postgres_admin_url, autocommit=True) as admin:
        admin.execute(psycopg.sql.SQL("DROP DATABASE {} WITH (FORCE)").format(psycopg.sql.Identifier(name)))


@pytest.fixture
def clean(database: Database) -> Database:
    with database.transaction() as tx:
        tx.connection.execute("TRUNCATE counted, inbox, outbox")
    return database


def count(batch: Sequence[Event[Any]], tx: Transaction) -> Sequence[Outcome]:
    """Counts each capture and says that it was audited."""
    outcomes: list[Outcome] = []
    for e in batch:
        if e.data.trigger_id == "bad":
            outcomes.append(Rejected("bad-trigger", "Send a good one."))
            continue
        tx.connection.execute(
            "INSERT INTO counted VALUES (%s, 1) ON CONFLICT (capture_id) DO UPDATE SET times = counted.times + 1",
            (e.data.capture_id,),
        )
        outcomes.append(audit(e))
    return outcomes


def relay(database: Database, bus: MemoryBus) -> int:
    """Publish what the outbox holds."""
    worker = Relay(database, bus.producer(), Health(SystemClock()))
    with database.pool.connection() as connection:
        connection.autocommit = True
        try:
            return worker.publish(connection)
        finally:
            connection.autocommit = False


def counted(database: Database) -> list[int]:
    with database.transaction() as tx:
        return [row["times"] for row in tx.connection.execute("SELECT times FROM counted")]


def test_an_event_that_comes_twice_has_one_effect(clean: Database) -> None:
    bus, codec = MemoryBus(), CODEC
    captures = [capture_recorded(str(n)) for n in range(10)]
    publish(bus, codec, [*captures, *captures[:4], captures[9]])
    step = state_step(bus, codec, "counter", ["capture.recorded"], count, clean)
    drain(step)
    relay(clean, bus)
    assert counted(clean) == [1] * 10
    assert len(events(bus, codec, "capture.audited")) == 10


@pytest.mark.parametrize("crash_at", range(1, 12))
def test_a_crash_at_any_operation_of_the_bus_loses_and_doubles_nothing(
    clean: Database, crash_at: int
) -> None:
    bus, codec = MemoryBus(), CODEC
    captures = [capture_recorded(str(n)) for n in range(9)]
    publish(bus, codec, captures)
    operations = 0

    def crash(name: str) -> None:
        nonlocal operations
        operations += 1
        if operations == crash_at:
            raise Crash(name)

    bus.on_operation = crash
    for _ in range(3):
        step = state_step(bus, codec, "counter", ["capture.recorded"], count, clean, batch_most=4)
        try:
            while step.turn(0.0) or step.turn(0.0):
                relay(clean, bus)
            relay(clean, bus)
        except Crash:
            pass
        bus.leave("counter", step._consumer)  # type: ignore[arg-type]
    assert counted(clean) == [1] * 9
    ids = [e.id for e in events(bus, codec, "capture.audited")]
    assert len(set(ids)) == 9


def test_a_handler_that_fails_leaves_nothing_behind(clean: Database) -> None:
    bus, codec = MemoryBus(), CODEC
    publish(bus, codec, [capture_recorded("1")])

    def fails(batch: Sequence[Event[Any]], tx: Transaction) -> Sequence[Outcome]:
        count(batch, tx)
        raise Unavailable("somewhere", "away")

    step = state_step(bus, codec, "counter", ["capture.recorded"], fails, clean)
    assert step.turn(0.0) == 0
    assert counted(clean) == []
    assert relay(clean, bus) == 0


def test_what_is_rejected_goes_to_the_dead_letters_and_the_rest_goes_on(clean: Database) -> None:
    bus, codec = MemoryBus(), CODEC
    publish(bus, codec, [capture_recorded("1"), capture_recorded("bad")])
    bus.producer().send([Outgoing("capture.recorded", b"line-a/cell-1", b"garbage", {})])
    step = state_step(bus, codec, "counter", ["capture.recorded"], count, clean)
    drain(step)
    relay(clean, bus)
    letters = bus.messages("counter.dead-letter")
    assert sorted(m.headers["dl-reason"] for m in letters) == [b"bad-trigger", b"no-event-id"]
    assert counted(clean) == [1]


def test_a_letter_that_is_put_back_is_handled_by_the_one_who_rejected_it(clean: Database) -> None:
    bus, codec = MemoryBus(), CODEC
    publish(bus, codec, [capture_recorded("bad"), capture_recorded("1")])

    def mended(batch: Sequence[Event[Any]], tx: Transaction) -> Sequence[Outcome]:
        return count([replace(e, data=replace(e.data, trigger_id="2")) for e in batch], tx)

    old = state_step(bus, codec, "counter", ["capture.recorded"], count, clean)
    drain(old)
    relay(clean, bus)
    bus.leave("counter", old._consumer)  # type: ignore[arg-type]
    (letter,) = bus.messages("counter.dead-letter")
    bus.producer().send([Outgoing("capture.recorded", letter.key, letter.value, letter.headers)] * 2)
    drain(state_step(bus, codec, "counter", ["capture.recorded"], mended, clean))
    assert counted(clean) == [1, 1], "once, although it was put back twice"
    foreign = replace(letter, headers=dict(letter.headers) | {"dl-service": b"somebody else"})
    bus.producer().send([Outgoing("capture.recorded", foreign.key, foreign.value, foreign.headers)])
    drain(state_step(bus, codec, "counter", ["capture.recorded"], mended, clean))
    assert counted(clean) == [1, 1], "somebody else's letter is the event that we know"


def test_headers_that_no_text_column_takes_are_kept_in_the_letter(clean: Database) -> None:
    bus, codec = MemoryBus(), CODEC
    everything = bytes(range(256))
    bus.producer().send([Outgoing("capture.recorded", b"line-a/cell-1", b"garbage", {"x": everything})])
    drain(state_step(bus, codec, "counter", ["capture.recorded"], count, clean))
    relay(clean, bus)
    (letter,) = bus.messages("counter.dead-letter")
    assert letter.headers["x"] == everything


def test_the_relay_forgets_old_inbox_rows_and_keeps_the_others(
    clean: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "PRUNED_AT_ONCE", 2)
    with clean.transaction() as tx:
        tx.claim("counter", [str(n) for n in range(7)])
        tx.connection.execute("UPDATE inbox SET seen_at = now() - interval '500 days' WHERE id < '5'")
    stop = threading.Event()
    made = Relay(clean, MemoryBus().producer(), Health(SystemClock()))
    thread = threading.Thread(target=made.run, args=(stop,), daemon=True)
    thread.start()

    def left() -> set[str]:
        with clean.transaction() as tx:
            return {row["id"] for row in tx.connection.execute("SELECT id FROM inbox")}

    for _ in range(300):
        if left() == {"5", "6"}:
            break
        threading.Event().wait(0.05)
    stop.set()
    thread.join(10)
    assert left() == {"5", "6"}


def test_two_relays_do_not_work_at_once_and_the_second_takes_over(clean: Database) -> None:
    bus, codec = MemoryBus(), CODEC
    relays = [Relay(clean, bus.producer(), Health(SystemClock())) for _ in range(2)]
    stops = [threading.Event() for _ in relays]
    threads = [
        threading.Thread(target=r.run, args=(s,), daemon=True) for r, s in zip(relays, stops, strict=True)
    ]
    for t in threads:
        t.start()

    def emit_and_wait(number: int) -> None:
        wanted = len(bus.messages("capture.recorded")) + 1
        with clean.transaction() as tx:
            tx.emit([capture_recorded(str(number))])
        for _ in range(300):
            if len(bus.messages("capture.recorded")) >= wanted:
                break
            threading.Event().wait(0.05)
        assert len(bus.messages("capture.recorded")) == wanted

    emit_and_wait(1)
    stops[0].set()
    threads[0].join(10)
    emit_and_wait(2)
    stops[1].set()
    threads[1].join(10)
    assert [e.data.trigger_id for e in events(bus, codec, "capture.recorded")] == ["1", "2"]


def test_away_is_said_as_unavailable() -> None:
    nowhere = Database("postgresql://nobody@127.0.0.1:1/none", Path("."), Codec(MemorySchemaRegistry()))
    with pytest.raises(Unavailable):
        nowhere.open()
    nowhere.close()

"""The ledger and its in-memory twin give the same answers; PostgreSQL also when several file at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import capture_ingest
import psycopg
import pytest
from andon_chassis.codec import Codec, MemorySchemaRegistry
from andon_chassis.database import Database
from andon_chassis.errors import Unavailable
from andon_chassis.events import Event
from andon_chassis.testing import capture_recorded, image_ref
from andon_events.records import CaptureRecorded
from andon_events.topics import TOPICS
from andon_local.testing import Infra
from capture_ingest.adapters.ledger import PostgresLedger
from capture_ingest.adapters.memory import MemoryLedger
from capture_ingest.ports import Filed, Ledger

MIGRATIONS = Path(capture_ingest.__file__).parent / "migrations"


@pytest.fixture
def database(infra: Infra, unique: Callable[[str], str]) -> Iterator[Database]:
    """A database of its own, gone afterwards."""
    name = unique("ingest").replace("-", "_")
    with psycopg.connect(infra.postgres_admin_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    url = infra.postgres_admin_url.rsplit("/", 1)[0] + f"/{name}"
    database = Database(url, MIGRATIONS, Codec(MemorySchemaRegistry()))
    database.open()
    try:
        yield database
    finally:
        database.close()
        with psycopg.connect(infra.postgres_admin_url, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["memory", "postgresql"])
def ledger(request: pytest.FixtureRequest) -> Ledger:
    if request.param == "memory":
        return MemoryLedger()
    return PostgresLedger(request.getfixturevalue("database"))


def capture(trigger: str, image: bytes = b"one") -> Event[CaptureRecorded]:
    return capture_recorded(trigger, image=image_ref(image))


def published(database: Database) -> list[str | None]:
    """Triggers in the outbox, in order."""
    with database.transaction() as tx:
        rows = tx.connection.execute("SELECT topic, value FROM outbox ORDER BY id").fetchall()
    return [database._codec.read(TOPICS[row["topic"]], bytes(row["value"])).trigger_id for row in rows]


def test_new_known_and_conflicting(ledger: Ledger) -> None:
    assert ledger.file([capture("a"), capture("b")]) == ["recorded", "recorded"]
    assert ledger.file([capture("b"), capture("c"), capture("a", b"other")]) == [
        "known",
        "recorded",
        "conflict",
    ]


def test_repeats_and_conflicts_within_one_batch(ledger: Ledger) -> None:
    batch = [capture("a"), capture("a"), capture("a", b"other"), capture("b", b"other")]
    assert ledger.file(batch) == ["recorded", "known", "conflict", "recorded"]
    assert ledger.file(batch) == ["known", "known", "conflict", "known"]


def test_what_is_new_is_published_once_and_in_the_order_of_arrival(database: Database) -> None:
    ledger = PostgresLedger(database)
    ledger.file([capture(t) for t in ("z", "a", "m", "a")])
    ledger.file([capture(t) for t in ("m", "b", "z")])
    assert published(database) == ["z", "a", "m", "b"]


def test_a_trigger_with_another_identity_is_stopped_by_the_database_itself(database: Database) -> None:
    first = capture("a")
    forged = replace(first, data=replace(first.data, capture_id="00000000-0000-0000-0000-000000000001"))
    ledger = PostgresLedger(database)
    ledger.file([first])
    with pytest.raises(KeyError):
        ledger.file([forged])
    with database.transaction() as tx:
        rows = tx.connection.execute("SELECT count(*) AS n FROM captures").fetchone()
    assert rows == {"n": 1} and published(database) == ["a"]


def test_instances_that_file_the_same_captures_agree_and_do_not_deadlock(database: Database) -> None:
    triggers = [str(n) for n in range(60)]
    answers: list[list[Filed]] = []

    def file(order: list[str]) -> None:
        ledger = PostgresLedger(database)
        for start in range(0, len(order), 10):
            answers.append(ledger.file([capture(t) for t in order[start : start + 10]]))

    orders = [triggers, triggers[::-1], triggers[30:] + triggers[:30], triggers]
    threads = [threading.Thread(target=file, args=(order,)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    flat = [answer for batch in answers for answer in batch]
    assert len(flat) == 240 and flat.count("recorded") == 60 and flat.count("known") == 180
    assert sorted(published(database), key=str) == sorted(triggers)


def test_a_database_that_went_away_is_unavailable_and_files_nothing(infra: Infra, database: Database) -> None:
    ledger = PostgresLedger(database)
    ledger.file([capture("a")])
    with database.pool.connection() as connection:
        name = connection.info.dbname
    with psycopg.connect(infra.postgres_admin_url, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        with pytest.raises(Unavailable):
            ledger.file([capture("b")])
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert ledger.file([capture("b"), capture("a")]) == ["recorded", "known"]

"""PostgreSQL: one transaction holds the inbox row, the state and the outbox rows.

A crash before the commit leaves nothing; a crash after it leaves everything, and the repeat finds the inbox row. The
relay publishes the outbox in order, one relay at a time for each service (advisory lock); after a crash between
sending and deleting it sends again, with the same ids, and consumers drop the repeat.
"""

from __future__ import annotations

import json
import select
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import structlog
import yoyo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from andon_chassis import telemetry
from andon_chassis.bus.ports import Outgoing, Producer
from andon_chassis.codec import Codec
from andon_chassis.errors import Unavailable
from andon_chassis.events import Event
from andon_chassis.health import Health
from andon_chassis.retry import Backoff

log = structlog.get_logger()

Connection = psycopg.Connection[DictRow]

OUTBOX_CHANNEL = "andon_outbox"
RELAY_BATCH = 500
# The server notices within half a minute when the holder of a lock has gone without a word (a node that lost power);
# by its own default it would keep the lock for two hours, and the outbox with it.
LOCK_HOLDER = " ".join(
    f"-c {setting}"
    for setting in (
        "tcp_keepalives_idle=10",
        "tcp_keepalives_interval=5",
        "tcp_keepalives_count=4",
        "statement_timeout=60000",
    )
)
# What the relay deletes, it has sent. Should PostgreSQL crash and bring rows back, they go out again with the same ids;
# waiting for the disk at each delete would cost more than the rest.
RELAY_OPTIONS = f"{LOCK_HOLDER} -c synchronous_commit=off"
INBOX_KEPT_DAYS = 400  # longer than any topic a service reads keeps its events
PRUNED_AT_ONCE = 5_000
PRUNE_EVERY_S = 3600.0


ZERO = "\u0100"


def _lock_number(name: str, schema: str) -> int:
    return zlib.crc32(f"{name}:{schema}".encode())


@contextmanager
def _postgres_errors() -> Iterator[None]:
    """Lost connections, deadlocks and time-outs are worth another try; other errors are bugs."""
    try:
        yield
    except (
        psycopg.OperationalError,
        psycopg.InterfaceError,
        PoolTimeout,
        PoolClosed,
        TooManyRequests,
    ) as error:
        raise Unavailable("postgresql", str(error).strip()) from error


def _check(connection: psycopg.Connection[Any]) -> None:
    """Ask the server whether a pooled connection still lives, but only where something says that it may not: one that
    the server has closed is readable. Asking always would cost each transaction a round trip.
    """
    line = select.poll()
    line.register(connection.fileno(), select.POLLIN)
    if line.poll(0):
        ConnectionPool.check_connection(connection)


def _as_text(header: bytes) -> str:
    """Any bytes as a text that jsonb holds: one character for each byte, and another one for zero."""
    return header.decode("latin-1").replace("\x00", ZERO)


def _as_bytes(text: str) -> bytes:
    return text.replace(ZERO, "\x00").encode("latin-1")


class Transaction:
    """One PostgreSQL transaction: inbox, state and outbox together.

    Attributes:
        connection: For the service's own statements; rows come as dicts.
    """

    def __init__(self, connection: Connection, codec: Codec) -> None:
        self.connection = connection
        self._codec = codec

    def emit(self, events: Iterable[Event[Any]]) -> None:
        """Publish these events, in order, if and only if this transaction commits."""
        self.emit_raw([self._codec.encode(e) for e in events])

    def emit_raw(self, messages: Sequence[Outgoing]) -> None:
        """As `emit`, for bytes (dead letters)."""
        if not messages:
            return
        headers = [json.dumps({k: _as_text(v) for k, v in m.headers.items()}) for m in messages]
        self.connection.execute(
            "INSERT INTO outbox (topic, key, value, headers) "
            # Arrays travel in binary: escaping each element for an array literal costs more than all the rest.
            "SELECT * FROM unnest(%b::text[], %b::bytea[], %b::bytea[], %b::text[]::jsonb[])",
            ([m.topic for m in messages], [m.key for m in messages], [m.value for m in messages], headers),
        )
        self.connection.execute("SELECT pg_notify(%s || '.' || current_schema(), '')", (OUTBOX_CHANNEL,))

    def claim(self, consumer: str, ids: Sequence[str]) -> set[str]:
        """Write inbox rows; gives those ids that had not been seen."""
        rows = self.connection.execute(
            "INSERT INTO inbox (consumer, id) SELECT %s, id FROM unnest(%b::text[]) AS id "
            "ON CONFLICT DO NOTHING RETURNING id",
            (consumer, sorted(set(ids))),  # sorted: two holders of a partition must not deadlock
        )
        return {row["id"] for row in rows}

    def first_time(self, key: str) -> bool:
        """Claim an idempotency key of a command; False when it had been used before."""
        return bool(self.claim("command", [key]))


class Database:
    """A service's own schema.

    Args:
        url: postgresql:// address; the role's search_path names the schema.
        migrations: Folder with the service's NNNN.name.sql files.
    """

    def __init__(self, url: str, migrations: Path, codec: Codec, *, pool_max: int = 8) -> None:
        self.url = url
        self._migrations = migrations
        self._codec = codec
        self.pool: ConnectionPool[Connection] = ConnectionPool(
            url,
            connection_class=psycopg.Connection[DictRow],
            kwargs={
                "row_factory": dict_row,
                "keepalives_idle": 5,
                "keepalives_interval": 2,
                "keepalives_count": 3,
                "tcp_user_timeout": 10_000,
                "connect_timeout": 5,
                "options": (
                    "-c idle_in_transaction_session_timeout=30000 -c lock_timeout=10000 -c statement_timeout=30000"
                ),
            },
            min_size=1,
            max_size=pool_max,
            timeout=5.0,
            reconnect_timeout=5.0,
            check=_check,
            open=False,
        )

    def open(self) -> None:
        """Connect and bring the schema up to date; one instance at a time. Raises Unavailable."""
        self.pool.open()
        with (
            _postgres_errors(),
            psycopg.connect(self.url, autocommit=True, connect_timeout=5, options=LOCK_HOLDER) as holder,
        ):
            schema = str(holder.execute("SELECT current_schema()").fetchone()[0])  # type: ignore[index]
            # An advisory lock ends with its connection; the tool's own lock row would survive a kill.
            holder.execute("SELECT pg_advisory_lock(%s)", (_lock_number("migrate", schema),))
            backend = yoyo.get_backend(self.url.replace("postgresql://", "postgresql+psycopg://", 1))
            try:
                # We hold the advisory lock, so whoever left a row in the tool's lock is dead; with it no start would
                # ever get through again.
                backend.break_lock()
                known = yoyo.read_migrations(str(Path(__file__).parent / "migrations"), str(self._migrations))
                for migration in backend.to_apply(known):
                    # The tool's own `apply_one` notes a migration in a second transaction: killed between the two, the
                    # next start would make the same tables again, and so would every start after it.
                    with backend.transaction():
                        migration.process_steps(backend, "apply")
                        backend.mark_one(migration)
            finally:
                backend.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Commits at the end of the block, or leaves nothing. Raises Unavailable when PostgreSQL is away."""
        with _postgres_errors(), self.pool.connection() as connection:
            yield Transaction(connection, self._codec)

    def ping(self) -> None:
        """Raise Unavailable when PostgreSQL does not answer."""
        with _postgres_errors(), self.pool.connection(timeout=2.0) as connection:
            connection.execute("SELECT 1")

    def close(self) -> None:
        self.pool.close()


class Relay:
    """Publishes the outbox. Every instance has one; the advisory lock lets one of them work.

    Order: rows go out by id. Two transactions that touch the same entity are serialised by its row lock before they
    emit, so their ids have the order of their commits; rows that become visible late belong to other entities.
    """

    def __init__(self, database: Database, producer: Producer, health: Health) -> None:
        self._database = database
        self._producer = producer
        self._health = health
        self._prune_at = 0.0

    def run(self, stop: threading.Event) -> None:
        backoff = Backoff()
        while not stop.is_set():
            self._health.beat("relay")
            try:
                with (
                    _postgres_errors(),
                    psycopg.connect(
                        self._database.url,
                        autocommit=True,
                        row_factory=dict_row,
                        connect_timeout=5,
                        keepalives_idle=5,
                        keepalives_interval=2,
                        keepalives_count=3,
                        tcp_user_timeout=10_000,
                        options=RELAY_OPTIONS,
                    ) as connection,
                ):
                    self._hold(connection, stop, backoff)
            except Unavailable as error:
                telemetry.UNAVAILABLE.labels(error.dependency).set(1)
                log.warning("relay.unavailable", dependency=error.dependency, detail=error.detail)
                stop.wait(backoff.delay())
        self._health.forget("relay")

    def _hold(self, connection: Connection, stop: threading.Event, backoff: Backoff) -> None:
        schema = str(connection.execute("SELECT current_schema() AS s").fetchone()["s"])  # type: ignore[index]
        number = _lock_number("relay", schema)
        while not stop.is_set():
            self._health.beat("relay")
            row = connection.execute("SELECT pg_try_advisory_lock(%s) AS mine", (number,)).fetchone()
            if row is not None and row["mine"]:
                break
            stop.wait(1.0)
        connection.execute(
            psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(f"{OUTBOX_CHANNEL}.{schema}"))
        )
        telemetry.UNAVAILABLE.labels("postgresql").set(0)
        while not stop.is_set():
            self._health.beat("relay")
            if self.publish(connection) < RELAY_BATCH:
                backoff.reset()
                telemetry.UNAVAILABLE.labels("kafka").set(0)
                if not list(connection.notifies(timeout=0.5, stop_after=1)):
                    self._prune(connection)
        self.publish(connection)

    def _prune(self, connection: Connection) -> None:
        """Forget what no replay can reach any more, a little at a time, while there is nothing to publish."""
        if time.monotonic() < self._prune_at:
            return
        pruned = connection.execute(
            "DELETE FROM inbox WHERE ctid = ANY(ARRAY("
            "SELECT ctid FROM inbox WHERE seen_at < now() - make_interval(days => %s) LIMIT %s))",
            (INBOX_KEPT_DAYS, PRUNED_AT_ONCE),
        ).rowcount
        if pruned < PRUNED_AT_ONCE:
            self._prune_at = time.monotonic() + PRUNE_EVERY_S

    def publish(self, connection: Connection) -> int:
        """Send what is visible and unsent, then delete it; gives the number of rows."""
        rows = connection.execute(
            "SELECT id, topic, key, value, headers FROM outbox ORDER BY id LIMIT %s",
            (RELAY_BATCH,),
            binary=True,
        ).fetchall()
        telemetry.OUTBOX_WAITING.set(len(rows))
        if not rows:
            return 0
        self._producer.send(
            [
                Outgoing(
                    row["topic"],
                    row["key"],
                    row["value"],
                    {k: _as_bytes(v) for k, v in row["headers"].items()},
                )
                for row in rows
            ]
        )
        for topic in {row["topic"] for row in rows}:
            telemetry.EVENTS_OUT.labels(topic).inc(sum(row["topic"] == topic for row in rows))
        connection.execute("DELETE FROM outbox WHERE id = ANY(%b)", ([row["id"] for row in rows],))
        return len(rows)

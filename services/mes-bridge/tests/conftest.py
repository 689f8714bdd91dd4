"""A world for the bridge: dispositions as the review-router makes them, a plant's server, a database."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import mes_bridge
import psycopg
import pytest
from andon_chassis.clock import SystemClock
from andon_chassis.codec import Codec, MemorySchemaRegistry
from andon_chassis.database import Database
from andon_chassis.events import Event, deterministic_id, event, station_key
from andon_chassis.testing import context, image_ref
from andon_events import records
from andon_events.topics import TOPICS
from mes_bridge.adapters.postgres import PostgresOutbound
from mes_bridge.handlers import Dispatch


def decided(
    number: int, *, revision: int = 1, kind: str = "pass", line: str = "line-a", **known: Any
) -> Event[records.DispositionDecided]:
    """A disposition of the capture with this number."""
    now = SystemClock().now()
    capture_id = deterministic_id("capture", line, "cell-1", str(number))
    data = records.DispositionDecided(
        disposition_id=deterministic_id("disposition", capture_id, str(revision)),
        revision=revision,
        corrects=deterministic_id("disposition", capture_id, str(revision - 1)) if revision > 1 else None,
        capture_id=capture_id,
        context=context(line, "cell-1", **known),
        image=image_ref(),
        kind=kind,
        reasons=["confident-good"],
        decided_by="policy",
        evidence=records.Evidence(audit_verdict="accepted", policy_version="p1", scores={"crack": 0.1}),
        decided_at=now,
        captured_at=now - timedelta(milliseconds=60),
        received_at=now - timedelta(milliseconds=20),
    )
    return event(
        data,
        source="review-router",
        key=station_key(line, "cell-1"),
        time=data.captured_at,
        cause=data.disposition_id,
    )


@dataclass
class Plant:
    """A plant's web server on this machine: answers as told and writes everything down.

    Attributes:
        answer: Gives status and headers for the n-th request (from 1) with its headers and body.
    """

    answer: Callable[[int, dict[str, str], Any], tuple[int, dict[str, str]]] = lambda n, headers, body: (
        204,
        {},
    )
    seen: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/dispositions"

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.seen]

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body)["data"] for _, body in self.seen]

    def take(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str]]:
        with self._lock:
            self.seen.append((headers, body))
            number = len(self.seen)
        return self.answer(number, headers, json.loads(body))


@pytest.fixture
def plant() -> Iterator[Plant]:
    made = Plant()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers["content-length"]))
            status, more = made.take(headers, body)
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", "2")
            self.end_headers()
            if status != 204:
                self.wfile.write(b"ok")

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def postgres(infra: Any) -> Iterator[Database]:
    """A database of its own with the service's schema."""
    name = f"mes_bridge_{uuid4().hex[:8]}"
    with psycopg.connect(infra.postgres_admin_url, autocommit=True) as admin:
        admin.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
    url = infra.postgres_admin_url.rsplit("/", 1)[0] + f"/{name}"
    database = Database(url, Path(mes_bridge.__file__).parent / "migrations", Codec(MemorySchemaRegistry()))
    database.open()
    yield database
    database.close()
    with psycopg.connect(infra.postgres_admin_url, autocommit=True) as admin:
        admin.execute(psycopg.sql.SQL("DROP DATABASE {} WITH (FORCE)").format(psycopg.sql.Identifier(name)))


@pytest.fixture
def database(postgres: Database) -> Database:
    with postgres.transaction() as tx:
        tx.connection.execute(
            "TRUNCATE dispositions, deliveries, endpoints, findings, inbox, outbox RESTART IDENTITY"
        )
    return postgres


class Bridge:
    """The database side of the bridge in a test's hands."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = SystemClock()
        self.lines: dict[str, tuple[str, ...]] = {"mes": ()}

    def decide(self, *events: Event[Any]) -> None:
        """Let dispositions arrive, as one batch."""
        with self.database.transaction() as tx:
            Dispatch(self.lines, self.clock).handle(events, PostgresOutbound(tx.connection))

    def states(self) -> dict[str, int]:
        """Number of deliveries by state."""
        return {
            row["state"]: row["n"]
            for row in self.rows("SELECT state, count(*) AS n FROM deliveries GROUP BY 1")
        }

    def rows(self, query: str) -> list[dict[str, Any]]:
        with self.database.transaction() as tx:
            return tx.connection.execute(query.encode()).fetchall()

    def emitted(self) -> list[Any]:
        """Records in the outbox, in order."""
        codec = self.database._codec
        rows = self.rows("SELECT topic, value FROM outbox ORDER BY id")
        return [codec.read(TOPICS[row["topic"]], bytes(row["value"])) for row in rows]


@pytest.fixture
def bridge(database: Database) -> Bridge:
    return Bridge(database)


@pytest.fixture
def disposition() -> Callable[..., Event[records.DispositionDecided]]:
    return decided

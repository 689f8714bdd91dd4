"""What a dependency says while it is not itself: nobody may conclude from it that an event or an image is bad."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
from andon_chassis.bus.kafka import KafkaConsumer
from andon_chassis.bus.ports import Fenced, Partition
from andon_chassis.clock import FakeClock
from andon_chassis.codec import Codec, HttpSchemaRegistry, MemorySchemaRegistry
from andon_chassis.consuming import Batching, Step
from andon_chassis.database import Database
from andon_chassis.deadletter import DeadLetterBudget
from andon_chassis.errors import Invalid, Unavailable
from andon_chassis.health import Health
from andon_chassis.objects import IMAGES, NodeObjectStore, S3ObjectStore, object_ref
from confluent_kafka import KafkaError, KafkaException, TopicPartition

Answer = Callable[[], tuple[int, bytes]]


@pytest.fixture
def registry() -> Iterator[tuple[HttpSchemaRegistry, list[tuple[int, bytes]]]]:
    """A registry that gives the answers it is told to."""
    answers: list[tuple[int, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.pop(0)
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield HttpSchemaRegistry(f"http://127.0.0.1:{server.server_address[1]}"), answers
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("body", [b"<html>404 page not found</html>", b'{"detail": "no route"}', b"[]", b""])
def test_a_404_that_is_not_the_registrys_own_means_that_it_is_away(registry: Any, body: bytes) -> None:
    client, answers = registry
    answers.append((404, body))
    with pytest.raises(Unavailable):
        client.schema(7)


@pytest.mark.parametrize("status", [301, 302, 400, 401, 403, 408, 422, 429, 500, 503])
def test_only_the_registrys_own_word_is_a_verdict_about_a_schema(registry: Any, status: int) -> None:
    client, answers = registry
    answers.append((status, b'{"error_code": 40301, "message": "your login has expired"}'))
    with pytest.raises(Unavailable, match=f"answered {status}"):
        client.schema(7)


class Raw:
    """A message as the client hands it out."""

    def __init__(self, partition: int) -> None:
        self._partition = partition

    def topic(self) -> str:
        return "capture.recorded"

    def partition(self) -> int:
        return self._partition

    def error(self) -> None: ...

    def headers(self) -> None: ...

    def key(self) -> bytes:
        return b"line-a/cell-1"

    value = key

    def offset(self) -> int:
        return 5

    def timestamp(self) -> tuple[int, int]:
        return 1, 0


def test_a_message_of_a_partition_that_goes_away_while_others_are_waited_for_is_not_handed_out() -> None:
    class Client:
        """Hands out a message of partition 0, and gives that partition up while it waits for more."""

        asked = 0

        def subscribe(self, topics: list[str], *, on_revoke: Any, **_: Any) -> None:
            self.on_revoke = on_revoke

        def consume(self, most: int, timeout_s: float) -> list[Raw]:
            self.asked += 1
            if self.asked == 1:
                return [Raw(0)]
            self.on_revoke(self, [TopicPartition("capture.recorded", 0)])
            return [Raw(1)]

    consumer = KafkaConsumer({"bootstrap.servers": "127.0.0.1:1"}, "g")
    consumer._consumer.close()
    consumer._consumer = Client()  # type: ignore[assignment]
    revoked: list[Partition] = []
    consumer.subscribe(["capture.recorded"], lambda places: None, revoked.extend)
    assert [m.partition for m in consumer.poll(10, 0.0, 0.0)] == [1]
    assert revoked == [Partition("capture.recorded", 0)]


def test_a_schema_the_registry_does_not_know_is_unknown_for_good(registry: Any) -> None:
    client, answers = registry
    answers.append((404, json.dumps({"error_code": 40403, "message": "Schema not found"}).encode()))
    with pytest.raises(Invalid) as told:
        client.schema(7)
    assert told.value.reason == "unknown-schema"


def test_an_image_is_not_refused_because_the_bucket_is_missing(infra: Any) -> None:
    store = S3ObjectStore(infra.s3, infra.s3_access_key, infra.s3_secret_key)
    with pytest.raises(Unavailable):
        store.put(f"missing-{uuid.uuid4().hex[:8]}", b"an image", "image/png")


@pytest.mark.parametrize("key", ["a//b", "../x", "a\x00b", "a\nb"])
def test_a_key_that_cannot_be_is_a_missing_object(infra: Any, tmp_path: Path, key: str) -> None:
    store = S3ObjectStore(infra.s3, infra.s3_access_key, infra.s3_secret_key)
    ref = replace(object_ref(IMAGES, b"an image", "image/png"), key=key, sha256=key)
    for reader in (store, NodeObjectStore(store, tmp_path, 10_000)):
        with pytest.raises(Invalid, match="missing-object"):
            reader.get(ref)


def test_the_loss_of_a_whole_bucket_is_no_verdict_about_an_image(infra: Any) -> None:
    store = S3ObjectStore(infra.s3, infra.s3_access_key, infra.s3_secret_key)
    foreign = object_ref(f"foreign-{uuid.uuid4().hex[:8]}", b"an image", "image/png")
    with pytest.raises(Invalid, match="missing-object"):
        store.get(foreign)


class _Unseekable:
    """The client under a KafkaConsumer that keeps its partition and cannot seek in it."""

    def __init__(self, assigned: bool) -> None:
        self._places = [TopicPartition("t", 0)]
        self._assigned = assigned

    def assignment(self) -> list[TopicPartition]:
        now, self._places = self._places, self._places if self._assigned else []
        return now

    def seek(self, place: TopicPartition) -> None:
        raise KafkaException(KafkaError(KafkaError._STATE))


def _consumer(client: _Unseekable) -> KafkaConsumer:
    made = KafkaConsumer.__new__(KafkaConsumer)
    made._consumer = client  # type: ignore[assignment]
    return made


def test_a_consumer_that_cannot_go_back_stops_instead_of_skipping() -> None:
    with pytest.raises(Fenced):
        _consumer(_Unseekable(assigned=True)).seek({Partition("t", 0): 5})


def test_a_partition_given_up_meanwhile_needs_no_seek() -> None:
    _consumer(_Unseekable(assigned=False)).seek({Partition("t", 0): 5})


class _FencedForEver:
    """A fenced static member: polling says so once, leaving the group never returns."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def subscribe(self, *given: Any) -> None: ...

    def poll(self, *given: Any) -> list[Any]:
        raise Fenced("Static consumer fenced by other consumer with same group.instance.id")

    def close(self) -> None:
        self.released.wait(30)


def test_a_fenced_step_stops_its_service_although_it_cannot_leave_the_group() -> None:
    consumer, clock = _FencedForEver(), FakeClock()
    step = Step(
        name="step",
        topics=["capture.recorded"],
        consumer=consumer,  # type: ignore[arg-type]
        codec=Codec(MemorySchemaRegistry()),
        clock=clock,
        health=Health(clock),
        batching=Batching(),
        budget=DeadLetterBudget(),
    )
    stop, raised = threading.Event(), []

    def run() -> None:
        try:
            step.run(stop)
        except Fenced as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert stop.wait(5)
    assert thread.is_alive()  # so the service finds it hanging, and ends the process
    consumer.released.set()
    thread.join(5)
    assert len(raised) == 1


OPEN = """
import sys
from pathlib import Path
from andon_chassis.codec import Codec, MemorySchemaRegistry
from andon_chassis.database import Database
database = Database(sys.argv[1], Path(sys.argv[2]), Codec(MemorySchemaRegistry()))
print("go", flush=True)
database.open()
print("done", flush=True)
"""


def test_migrations_killed_midway_are_finished_by_the_next_start(infra: Any, tmp_path: Path) -> None:
    for number in range(1, 9):
        (tmp_path / f"{number:04}.table.sql").write_text(
            f"CREATE TABLE made_{number} (id int PRIMARY KEY);\nINSERT INTO made_{number} VALUES (1);"
        )
    name = f"killed_{uuid.uuid4().hex[:8]}"
    identifier = psycopg.sql.Identifier(name)
    url = infra.postgres_admin_url.rsplit("/", 1)[0] + f"/{name}"
    with psycopg.connect(infra.postgres_admin_url, autocommit=True) as admin:
        admin.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(identifier))
        try:
            _kill_while_opening(url, tmp_path)
            database = Database(url, tmp_path, Codec(MemorySchemaRegistry()))
            database.open()
            database.close()
            with psycopg.connect(url) as connection:
                for number in range(1, 9):
                    table = psycopg.sql.Identifier(f"made_{number}")
                    row = connection.execute(
                        psycopg.sql.SQL("SELECT count(*) FROM {}").format(table)
                    ).fetchone()
                    assert row == (1,)
        finally:
            admin.execute(psycopg.sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))


def test_the_lock_row_of_a_dead_start_keeps_nobody_out(infra: Any, tmp_path: Path) -> None:
    name = f"locked_{uuid.uuid4().hex[:8]}"
    identifier = psycopg.sql.Identifier(name)
    url = infra.postgres_admin_url.rsplit("/", 1)[0] + f"/{name}"
    with psycopg.connect(infra.postgres_admin_url, autocommit=True) as admin:
        admin.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(identifier))
        try:
            with psycopg.connect(url) as connection:  # as the migration tool leaves it when it is killed
                connection.execute(
                    "CREATE TABLE yoyo_lock (locked INT DEFAULT 1, ctime TIMESTAMP, pid INT NOT NULL, "
                    "PRIMARY KEY (locked))"
                )
                connection.execute("INSERT INTO yoyo_lock (ctime, pid) VALUES (now(), 1)")
            database = Database(url, tmp_path, Codec(MemorySchemaRegistry()))
            database.open()
            with database.transaction() as tx:
                assert tx.first_time("works")
            database.close()
        finally:
            admin.execute(psycopg.sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))


def _kill_while_opening(url: str, migrations: Path) -> None:
    """Start and kill at growing moments until a start gets through."""
    rng, patience_s = random.Random(3), 0.01
    while True:
        process = subprocess.Popen(
            [sys.executable, "-c", OPEN, url, str(migrations)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline() == "go\n"
            try:
                process.wait(patience_s)
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
            status = process.wait()
            assert status in (0, -signal.SIGKILL), "the next start does not get through"
            if status == 0:
                return
        patience_s += rng.uniform(0.02, 0.05)

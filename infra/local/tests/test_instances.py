"""An instance is started, broken and stopped for real, with the two components that start fastest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from andon_local import runtime
from andon_local.components import services


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def instance() -> Iterator[runtime.Instance]:
    name = f"self-{uuid.uuid4().hex[:6]}"
    started = runtime.start(name, components=["postgres", "minio"], behind_proxies=True, quiet=True)
    yield started
    runtime.remove(name)
    assert not started.folder.exists()


def processes_of(instance: runtime.Instance) -> list[int]:
    return [process.pid for process in instance._supervisor.marked()]


def test_a_second_start_finds_what_runs(instance: runtime.Instance) -> None:
    before = {name: status.pid for name, status in instance.status().items()}
    again = runtime.start(instance.name, components=["postgres", "minio"], behind_proxies=True, quiet=True)
    assert {name: status.pid for name, status in again.status().items()} == before
    assert again.endpoints == instance.endpoints


def test_each_owner_has_a_schema_that_nobody_else_sees(instance: runtime.Instance) -> None:
    owners = [service.database for service in services().values() if service.database]
    assert len(owners) == len(set(owners)) == 4
    with psycopg.connect(instance.database_url("review_router")) as connection:
        connection.execute("create table if not exists decided (capture_id text primary key)")
        schema = connection.execute("select schemaname from pg_tables where tablename = 'decided'").fetchone()
        assert schema == ("review_router",)
    with (
        psycopg.connect(instance.database_url("mes_bridge")) as other,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        other.execute("select * from review_router.decided")


def test_what_is_killed_comes_back_with_its_data(instance: runtime.Instance) -> None:
    with psycopg.connect(instance.database_url("mes_bridge")) as connection:
        connection.execute("create table kept (n int)")
        connection.execute("insert into kept values (7)")
    old = instance.kill("postgres")
    wait_until(lambda: instance.status()["postgres"].pid not in (0, old))
    instance.wait_ready("postgres")
    with psycopg.connect(instance.database_url("mes_bridge")) as connection:
        assert connection.execute("select n from kept").fetchall() == [(7,)]


def test_a_cut_line_refuses_and_a_mended_one_answers(instance: runtime.Instance) -> None:
    health = f"{instance.endpoints.s3}/minio/health/live"
    with instance.network.without("minio"), pytest.raises(OSError):
        urllib.request.urlopen(health, timeout=5)
    with urllib.request.urlopen(health, timeout=5) as answer:
        assert answer.status == 200


def test_secrets_are_readable_by_their_owner_only(instance: runtime.Instance) -> None:
    for name in ("secrets.json", "env", "supervisord.conf"):
        assert (instance.folder / name).stat().st_mode & 0o077 == 0


def test_who_sources_the_environment_runs_the_same_python(instance: runtime.Instance) -> None:
    script = f". '{instance.folder}/env' && command -v python && echo \"$ANDON_S3_ENDPOINT\" && command -v sh"
    told = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    python, store, shell = told.stdout.split("\n")[:3]
    assert Path(python).parent == Path(sys.executable).parent
    assert store == instance.endpoints.s3
    assert shell.endswith("/sh"), "what was on PATH before still is"


def test_a_service_is_told_only_what_it_needs(instance: runtime.Instance) -> None:
    router, audit = instance.service_env("review-router"), instance.service_env("quality-audit", 2)
    assert "review_router:" in router["ANDON_DATABASE_URL"]
    assert "ANDON_DATABASE_URL" not in audit and "ANDON_WEBHOOK_SECRET" not in audit
    assert audit["ANDON_INSTANCE_ID"] == "quality-audit-2"
    assert audit["ANDON_HTTP_PORT"] != router["ANDON_HTTP_PORT"]
    assert audit["ANDON_KAFKA_BOOTSTRAP"] == instance.endpoints.address("kafka-proxy")


def test_nothing_is_left_even_when_the_supervisor_was_killed() -> None:
    name = f"self-{uuid.uuid4().hex[:6]}"
    started = runtime.start(name, components=["minio", "toxiproxy"], quiet=True)
    supervisor = int((started.folder / "supervisord.pid").read_text())
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(supervisor) or psutil.Process(supervisor).status() == "zombie")
    orphans = [pid for pid in processes_of(started) if pid != supervisor]
    assert len(orphans) >= 2

    runtime.stop(name)

    assert processes_of(started) == []
    with pytest.raises(runtime.NotRunningError):
        runtime.attach(name)
    restarted = runtime.start(name, components=["minio"], quiet=True)
    assert restarted.endpoints == started.endpoints
    runtime.remove(name)
    assert processes_of(restarted) == []

"""Real infrastructure for tests, as a pytest plugin: ``pytest -p andon_local.testing``.

The first test that asks for `infra` starts the instance ``test``; it is stopped when the run ends. With
``ANDON_TEST_INSTANCE=<name>`` a running instance is used instead and left as it is.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import pytest

from andon_local import layout, runtime
from andon_local.browser import chromium
from andon_local.components import required
from andon_local.locks import locked

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@dataclass(frozen=True)
class Infra:
    """Where the real components answer.

    Attributes:
        kafka: Bootstrap server, host:port.
        registry: Base URL of the schema registry's Confluent-compatible API.
        postgres_admin_url: A superuser's URL of the database all services share.
        s3: Base URL of the object store; its keys are beside it.
        triton: gRPC, host:port; triton_http is the base URL of its HTTP API.
        instance: The instance itself: to break things, to read logs, to start services.
    """

    kafka: str
    registry: str
    postgres_admin_url: str
    s3: str
    s3_access_key: str
    s3_secret_key: str
    triton: str
    triton_http: str
    instance: runtime.Instance

    def service_env(self, service: str) -> dict[str, str]:
        """The environment a service would be started with here."""
        return self.instance.service_env(service)


@pytest.fixture(scope="session")
def infra() -> Iterator[Infra]:
    """All components the system needs, ready, and empty unless they ran already."""
    borrowed = os.environ.get("ANDON_TEST_INSTANCE")
    if borrowed:
        yield _infra(runtime.start(borrowed, components=required()))
        return
    with _shared("test"):
        yield _infra(runtime.start("test", components=required()))


@contextmanager
def _shared(name: str) -> Iterator[None]:
    """Several test runs of one checkout may use the instance at once: the first finds it empty, the last stops it.

    Each holds a shared lock; who can have it alone is the only one. A killed run holds nothing.
    """
    folder = layout.instances_dir()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.users").open("a") as users:
        with locked(folder / f"{name}.turn"):
            if _alone(users):
                runtime.remove(name)
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield
        finally:
            with locked(folder / f"{name}.turn"):
                if _alone(users):
                    runtime.stop(name)


def _alone(users: IO[str]) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _infra(instance: runtime.Instance) -> Infra:
    endpoints = instance.endpoints
    return Infra(
        kafka=endpoints.kafka,
        registry=endpoints.registry,
        postgres_admin_url=instance.database_url(),
        s3=endpoints.s3,
        s3_access_key=instance.secret("s3-access"),
        s3_secret_key=instance.secret("s3-secret"),
        triton=endpoints.triton,
        triton_http=endpoints.triton_http,
        instance=instance,
    )


@pytest.fixture(scope="session")
def mosquitto(infra: Infra) -> str:
    """A real MQTT broker on the same instance, host:port."""
    runtime.start(infra.instance.name, components=["mosquitto"], quiet=True)
    return infra.instance.endpoints.mqtt


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The Chromium of the checkout, started once: Playwright drives one at a time from a thread."""
    from playwright.sync_api import sync_playwright  # most tests need no browser

    found = chromium()
    arguments = [one for one in found.arguments if not one.startswith("--headless")]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=found.program, args=arguments, env=dict(found.env)
        )
        yield started
        started.close()


@pytest.fixture
def unique() -> Callable[[str], str]:
    """Makes names nobody else uses, for topics, groups, stations, objects, from a readable beginning."""

    def name(prefix: str) -> str:
        return f"{prefix}-{uuid.uuid4().hex[:10]}"

    return name

"""Where the labeling story is played: the real registry and console on the components of the test session, and three
people, each with a browser of their own."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
from andon_local import layout
from andon_local.testing import Infra
from playwright.sync_api import Browser, ConsoleMessage, Page, expect
from psycopg import sql

LENA, RAVI, OLGA, TOOLS = "lena", "ravi", "olga", "tools"
"""Two who label, the QA owner, and what uses the API."""
ROLES = {LENA: ["labeler"], RAVI: ["labeler", "reviewer"], OLGA: ["qa-owner", "data-lead"]}
PATIENCE_S = 60.0
SIZES = {"desktop": (1440, 900), "tablet": (820, 1180), "phone": (390, 844)}
SCREENSHOTS = layout.root() / "build" / "console"


def until(what: Callable[[], object], of: str, patience_s: float = PATIENCE_S) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + patience_s
    while not what():
        assert time.monotonic() < deadline, f"waited {patience_s:g} s in vain for {of}"
        threading.Event().wait(0.05)


class World:
    """The registry's API and the console, as they answer.

    Attributes:
        console: Base URL of the console.
        password: Of each of the three.
    """

    def __init__(self, registry: str, console: str, token: str, password: str) -> None:
        self.console = console
        self.password = password
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=registry, timeout=PATIENCE_S, headers=headers)

    def get(self, path: str, **query: str) -> Any:
        """A document of the registry's API."""
        answer = self._http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, **sent: Any) -> Any:
        """Carry out a command of the registry's API."""
        answer = self._http.post(path, **sent)
        assert answer.is_success, answer.text
        return answer.json()

    def put(self, path: str, body: Mapping[str, Any]) -> Any:
        answer = self._http.put(path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def close(self) -> None:
        self._http.close()


@contextmanager
def playing(infra: Infra, folder: Path) -> Iterator[World]:
    """Registry and console, with a database of their own; logs lie in the folder."""
    with _database(infra) as database:
        registry_at, console_at = (f"http://127.0.0.1:{_free_port()}" for _ in range(2))
        registry = {
            "ANDON_DATABASE_URL": database,
            "ANDON_STATIC_MEMBER": "false",
        }
        console = {"ANDON_REGISTRY_API_URL": registry_at}
        with (
            _service(infra, "dataset-registry", registry_at, registry, folder),
            _service(infra, "console", console_at, console, folder),
        ):
            token, password = f"andon_t_{secrets.token_urlsafe(32)}", secrets.token_urlsafe(16)
            _admit(database, token, password)
            world = World(registry_at, console_at, token, password)
            try:
                yield world
            finally:
                world.close()


def _admit(database: str, token: str, password: str) -> None:
    """The three may sign in, and the test itself use the API, as the QA owner and data lead."""
    accounts: list[dict[str, Any]] = [
        {"name": name, "display_name": name.title(), "roles": roles, "password": password}
        for name, roles in ROLES.items()
    ]
    accounts.append({"name": TOOLS, "display_name": "Tools", "roles": ROLES[OLGA], "token": token})
    subprocess.run(
        [sys.executable, "-m", "dataset_registry.accounts", "--database", database, "provision"],
        input=json.dumps(accounts),
        text=True,
        check=True,
    )


@contextmanager
def _service(infra: Infra, name: str, url: str, settings: Mapping[str, str], folder: Path) -> Iterator[None]:
    environment = {
        **os.environ,
        **infra.service_env(name),
        "ANDON_INSTANCE_ID": f"{name}-story-{uuid4().hex[:8]}",
        "ANDON_HTTP_PORT": url.rsplit(":", 1)[1],
        "ANDON_TRACE_FILE": str(folder / f"{name}.traces.jsonl"),
        **settings,
    }
    log = folder / f"{name}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", name.replace("-", "_")], env=environment, stdout=out, stderr=out
        )

    def ready() -> bool:
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            return httpx.get(f"{url}/readyz", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    try:
        until(ready, f"{name}: {log}")
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def _database(infra: Infra) -> Iterator[str]:
    """A database of its own, in which the registry's role may do what it may do elsewhere; gone afterwards."""
    name, role = f"story_{uuid4().hex[:8]}", "dataset_registry"
    made, owner = sql.Identifier(name), sql.Identifier(role)

    def inside(url: str) -> str:
        return urllib.parse.urlsplit(url)._replace(path=f"/{name}").geturl()

    with psycopg.connect(infra.postgres_admin_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(made))
    try:
        with psycopg.connect(inside(infra.postgres_admin_url), autocommit=True) as admin:
            admin.execute(sql.SQL("CREATE SCHEMA {0} AUTHORIZATION {0}").format(owner))
        yield inside(infra.instance.database_url(role))
    finally:
        with psycopg.connect(infra.postgres_admin_url, autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(made))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class People:
    """Three people, each at a page of their own browser; what goes wrong in one is collected."""

    def __init__(self, browser: Browser, world: World) -> None:
        self._world = world
        self.wrong: list[str] = []
        self.lena, self.ravi, self.olga = (self._arrives(browser, name) for name in (LENA, RAVI, OLGA))

    def _arrives(self, browser: Browser, name: str) -> Page:
        width, height = SIZES["desktop"]
        context = browser.new_context(
            base_url=self._world.console, viewport={"width": width, "height": height}, reduced_motion="reduce"
        )
        page = context.new_page()
        page.set_default_timeout(1000 * PATIENCE_S)

        def said(message: ConsoleMessage) -> None:
            # A busy registry may be slow for once; pages say so and ask again.
            if message.type == "error" and "503" not in message.text:
                self.wrong.append(f"{name} at {page.url}: {message.text}")

        page.on("pageerror", lambda error: self.wrong.append(f"{name} at {page.url}: {error}"))
        page.on("console", said)
        sign_in(page, name, self._world.password)
        return page


def sign_in(page: Page, person: str, password: str) -> None:
    """The way in, as everybody takes it."""
    page.goto("/quality/work")
    page.get_by_label("Name").fill(person)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").wait_for()


@contextmanager
def people(browser: Browser, world: World) -> Iterator[People]:
    """Three people in a real Chromium."""
    expect.set_options(timeout=1000 * PATIENCE_S)
    there = People(browser, world)
    try:
        yield there
    finally:
        for page in (there.lena, there.ravi, there.olga):
            page.context.close()


def shot(page: Page, name: str, *, whole: bool = False) -> None:
    """A picture of what is on the screen, or of the whole page, in build/console/."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    if whole:
        page.evaluate("scrollTo(0, 0); for (const one of document.images) one.loading = 'eager'")
        while not page.evaluate("[...document.images].every((one) => one.complete)"):
            page.wait_for_timeout(20)
    page.screenshot(path=SCREENSHOTS / f"story-{name}.png", full_page=whole, animations="disabled")


def shots(page: Page, name: str, settled: Callable[[], object] = lambda: None) -> None:
    """The page at the widths of a desk, a tablet and a phone; nothing may be wider than the screen."""
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        settled()
        shot(page, f"{name}-{size}", whole=True)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{page.url} at {size}"
    width, height = SIZES["desktop"]
    page.set_viewport_size({"width": width, "height": height})

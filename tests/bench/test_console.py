"""The labeling room with a full store, as people and their browsers see it: build/bench/console.json.

100,000 captures and 200,000 labels; PostgreSQL, the object store, Kafka, the registry and the console as processes, as
in production, and those who ask them on the same two cores.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from andon_chassis.objects import S3ObjectStore
from andon_local import runtime
from playwright.sync_api import Browser, Page

from . import console_pages, console_sign_in, console_store
from .console_sign_in import CREW, OWNER
from .figures import at_most, write

INSTANCE = "bench-console"
COMPONENTS, SERVICES = ("kafka", "registry", "postgres", "minio"), ("dataset-registry", "console")
SESSION = "andon_session"
SECONDS, THINK_S = 60.0, 10.0
"""Somebody who labels looks at an image for five to fifteen seconds."""
OPENED, TURNED = 20, 40
PATIENCE_S = 120.0
LIST_MS, READY_MS, NEXT_MS, LABELING_MS = 200.0, 300.0, 100.0, 250.0
WORKER = Path(__file__).with_name("console_people.py")
# From a key to the frame that shows the next image, as the page itself sees it.
TURN = """async () => {
    const frame = () => new Promise(requestAnimationFrame);
    const shown = () => performance.getEntriesByName("andon-ready").length;
    while (!andon.queue.ready()) await frame();
    await new Promise((done) => setTimeout(done, 300));
    const before = shown(), began = performance.now();
    document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "s", bubbles: true, cancelable: true }));
    while (shown() === before) await frame();
    await frame();
    return performance.now() - began;
}"""


@dataclass
class Room:
    """The running system, who is signed in, and two who ask it.

    Attributes:
        tokens: Of sessions, by name.
    """

    instance: runtime.Instance
    rows: dict[str, int]
    tokens: dict[str, str]
    registry: httpx.Client
    console: httpx.Client

    def address(self, service: str) -> str:
        return self.instance.endpoints.http(service)


@pytest.fixture(scope="module")
def room() -> Iterator[Room]:
    runtime.remove(INSTANCE)
    try:
        instance = runtime.start(INSTANCE, components=COMPONENTS, services=SERVICES, quiet=True)
        endpoints = instance.endpoints
        objects = S3ObjectStore(endpoints.s3, instance.secret("s3-access"), instance.secret("s3-secret"))
        tokens = console_sign_in.tokens(instance)
        headers, cookies = console_sign_in.bearer(tokens[OWNER]), {SESSION: tokens[OWNER]}
        with (
            httpx.Client(
                base_url=endpoints.http("dataset-registry"), timeout=60, headers=headers
            ) as registry,
            httpx.Client(base_url=endpoints.http("console"), timeout=60, cookies=cookies) as console,
        ):
            rows = console_store.fill(instance.database_url(), "dataset_registry", objects, registry)
            yield Room(instance, rows, tokens, registry, console)
    finally:
        runtime.remove(INSTANCE)


def test_lists(room: Room) -> None:
    found = console_pages.milliseconds(room.registry, console_pages.lists(room.registry))
    slowest = max(times["p95"] for times in found.values())
    write(
        "console",
        {"rows": room.rows, "lists_ms": found},
        {f"slowest of {len(found)} lists and filters of the registry, p95 ms": at_most(slowest, LIST_MS)},
    )


def test_pages(room: Room) -> None:
    found = console_pages.milliseconds(room.console, console_pages.pages(room.registry))
    slowest = max(times["p95"] for times in found.values())
    write(
        "console",
        {"pages_ms": found},
        {f"slowest of {len(found)} list pages of the console, p95 ms": at_most(slowest, LIST_MS)},
    )


def test_annotating_in_a_browser(room: Room, browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    address = room.address("console")
    context.add_cookies([{"name": SESSION, "value": room.tokens[CREW[0]], "url": address}])
    page = context.new_page()
    first, *opened = [ready(page, f"{address}/annotate") for _ in range(1 + OPENED)]
    turned = [page.evaluate(TURN) for _ in range(TURNED)]
    context.close()
    opening, turning = _percentiles(opened), _percentiles(turned)
    write(
        "console",
        {
            "annotate_first_opened_ms": first,
            "annotate_ready_ms": opening,
            "annotate_next_image_ms": turning,
            "annotate_image": f"{console_store.WIDTH} x {console_store.HEIGHT}, PNG",
        },
        {
            "annotation page ready to draw, p95 ms": at_most(opening["p95"], READY_MS),
            "next image from the key to its frame, p95 ms": at_most(turning["p95"], NEXT_MS),
        },
    )


def ready(page: Page, address: str) -> float:
    """Milliseconds from the start of the navigation until the page can be drawn on."""
    page.goto(address)
    page.wait_for_selector("#room[data-shown]:not([data-shown=''])", timeout=1e3 * PATIENCE_S)
    time.sleep(0.5)
    measured: float = page.evaluate("performance.getEntriesByName('andon-ready')[0].startTime")
    return measured


@pytest.mark.parametrize("think_s", [THINK_S, 0.0], ids=["as people", "as fast as they can"])
def test_fifty_people(room: Room, think_s: float) -> None:
    spent = {name: room.instance.cpu_seconds(name) for name in ("dataset-registry", "postgres")}
    command = [sys.executable, str(WORKER), room.address("dataset-registry"), str(SECONDS), str(think_s)]
    crew = json.dumps({name: room.tokens[name] for name in CREW})
    done = subprocess.run(command, input=crew, stdout=subprocess.PIPE, text=True, check=True)
    seen: dict[str, Any] = json.loads(done.stdout)
    assert seen["errors"] == 0, seen["first_errors"]
    requests = seen["requests_per_s"] * seen["seconds"]
    seen["cpu_ms_per_request"] = {
        name: 1e3 * (room.instance.cpu_seconds(name) - before) / requests for name, before in spent.items()
    }
    if think_s:
        goal = {f"{len(CREW)} people labeling, p95 ms": at_most(seen["all"]["p95_ms"], LABELING_MS)}
        write("console", {"people": seen}, goal)
    else:
        write("console", {"people_who_never_think": seen}, {})


def _percentiles(values: list[float]) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(values, q)), 1) for q in (50, 95)}

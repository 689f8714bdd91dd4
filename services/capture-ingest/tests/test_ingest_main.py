"""How the service is put together: what waits for what at the start."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from andon_chassis.clock import SystemClock
from andon_chassis.health import Health
from andon_chassis.objects import MemoryObjectStore
from capture_ingest import main as main_module
from capture_ingest.main import once_known


def started(loaded: threading.Event, most_s: float, stop: threading.Event) -> threading.Event:
    """Whether the part runs."""
    runs = threading.Event()
    part = once_known(loaded, most_s, lambda _: runs.set())
    threading.Thread(target=part, args=(stop,)).start()
    return runs


def test_images_are_taken_without_the_stations_after_a_while() -> None:
    assert started(threading.Event(), 0.1, threading.Event()).wait(5)


def test_what_the_stations_fill_in_is_waited_for() -> None:
    loaded = threading.Event()
    runs = started(loaded, 3600.0, threading.Event())
    assert not runs.is_set()
    loaded.set()
    assert runs.wait(5)


def test_a_stop_is_not_waited_for() -> None:
    stop = threading.Event()
    runs = started(threading.Event(), 3600.0, stop)
    stop.set()
    assert runs.wait(5)


class RecordedService:
    """What `main` asks of a service, without any of it."""

    def __init__(self, settings: Any) -> None:
        self.clock = SystemClock()
        self.health = Health(self.clock)
        self.bus = self.codec = None
        self.parts: dict[str, Any] = {}
        made.append(self)

    def objects(self) -> MemoryObjectStore:
        return MemoryObjectStore()

    def database(self, migrations: Any) -> None:
        return None

    def component(self, name: str, run: Any) -> None:
        self.parts[name] = run

    def reference(self, topics: Any, apply: Any) -> None:
        raise AssertionError("every part would wait for this, as long as Kafka is away")

    def run(self, app: Any) -> int:
        return 0


made: list[RecordedService] = []


def test_a_start_while_kafka_is_away_takes_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main_module, "Service", RecordedService)
    monkeypatch.setattr(main_module, "STATIONS_WAIT_S", 0.0)
    assert main_module.main() == 0
    service = made[-1]
    assert set(service.parts) == {"reference station.published", "admission"}
    stop = threading.Event()
    thread = threading.Thread(target=service.parts["admission"], args=(stop,))
    thread.start()
    try:
        while "admission" in service.health.is_ready().parts:
            threading.Event().wait(0.001)
    finally:
        stop.set()
        thread.join(10)

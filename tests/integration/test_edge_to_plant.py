"""The edge agent and the real capture-ingest understand each other: what the one accepts the other takes."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import uvicorn
from andon_chassis import http
from andon_chassis.clock import SystemClock
from andon_chassis.consuming import Batching
from andon_chassis.errors import Invalid
from andon_chassis.health import Health
from andon_chassis.objects import MemoryObjectStore
from andon_events.standards import NUMBERS, TEXTS
from andon_vision import DecodeLimits, Preprocessing
from andon_vision.release_bundle import ReleaseBundle
from capture_ingest.adapters.memory import MemoryLedger
from capture_ingest.api import UploadLimits, create_app
from capture_ingest.domain import metadata as plants
from capture_ingest.handlers import Admission, AdmissionSettings
from edge_agent.adapters.plant import HttpPlant
from edge_agent.adapters.queue import SqliteQueue
from edge_agent.domain import metadata as agents
from edge_agent.domain.decision import Scored
from edge_agent.handlers import Forwarder, Intake
from edge_agent.ports import SET_ASIDE, Record

NOW = datetime(2026, 5, 4, tzinfo=UTC)
PLACE = {"line": "L1", "station": "S1"}


class Model:
    """Finds everything good."""

    rules = ReleaseBundle("stub-1", Preprocessing(8, 8), ("scratch",), 1.1, 1.1, {})

    def score(self, data: bytes) -> Scored:
        return Scored(0.1, (1.0,), None)


class Silent:
    def write(self, record: Record) -> None: ...


@pytest.fixture
def ledger() -> MemoryLedger:
    return MemoryLedger()


@pytest.fixture
def url(ledger: MemoryLedger) -> Iterator[str]:
    """capture-ingest with its stores in memory."""
    health = Health(SystemClock())
    admission = Admission(
        source="capture-ingest",
        objects=MemoryObjectStore(),
        ledger=ledger,
        station_of=lambda line, station: None,
        clock=SystemClock(),
        health=health,
        limits=DecodeLimits(),
        settings=AdmissionSettings(Batching(50, 0.001), 2),
    )
    app = create_app(admission, UploadLimits())
    http.install(app, health)
    stop = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    threads = [
        threading.Thread(target=admission.run, args=(stop,)),
        threading.Thread(target=server.run, kwargs={"sockets": [listener]}),
    ]
    for thread in threads:
        thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    threads[1].join(10)
    stop.set()
    threads[0].join(10)
    listener.close()


def image(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32), dtype=np.uint8)
    return bytes(cv2.imencode(".png", pixels)[1].tobytes())


def drained(queue: SqliteQueue, forwarder: Forwarder) -> None:
    while queue.fill().waiting:
        if not forwarder.turn():
            threading.Event().wait(0.01)


def test_what_the_agent_took_is_recorded_once(url: str, ledger: MemoryLedger, tmp_path: Path) -> None:
    queue = SqliteQueue(tmp_path / "queue.sqlite", most_bytes=10_000_000)
    forwarder = Forwarder(queue, HttpPlant(url), SystemClock(), Health(SystemClock()))
    intake = Intake(
        queue=queue,
        network=Model(),
        journal=Silent(),
        clock=SystemClock(),
        limits=DecodeLimits(),
        defaults={**PLACE, "camera": "cam-1"},
        accepted=forwarder.wake,
    )
    trace = f"00-{'c' * 32}-{'d' * 16}-01"
    intake.take(image(1), {"trigger_id": "1", "batch": "Ä7"}, via="http", traceparent=trace)
    intake.take(image(2), {}, via="http")
    drained(queue, forwarder)
    # The plant's answer was lost in the network, and the agent sends the same again.
    queue._db.execute("UPDATE captures SET state = 'set-aside'")
    for seq, data in ((1, image(1)), (2, image(2))):
        queue._db.execute("INSERT INTO images VALUES (?, ?)", (seq, data))
    queue.send_again()
    drained(queue, forwarder)
    first, second = (event.data for event in ledger.published)
    assert (first.trigger_id, first.context.batch, first.context.camera) == ("1", "Ä7", "cam-1")
    assert "captured_at" not in second.missing and second.trigger_id is None
    assert "c" * 32 in (ledger.published[0].traceparent or "")
    kept = queue.records(0, 10)
    assert [record.answer and record.answer["capture_id"] for record in kept] == [
        first.capture_id,
        second.capture_id,
    ]
    assert [record.answer and record.answer["status"] for record in kept] == ["already-recorded"] * 2


def test_a_trigger_that_the_plant_knows_otherwise_is_set_aside(url: str, tmp_path: Path) -> None:
    for number in range(2):  # two boxes that count their triggers from 1
        queue = SqliteQueue(tmp_path / f"{number}.sqlite", most_bytes=10_000_000)
        forwarder = Forwarder(queue, HttpPlant(url), SystemClock(), Health(SystemClock()))
        intake = Intake(
            queue=queue,
            network=Model(),
            journal=Silent(),
            clock=SystemClock(),
            limits=DecodeLimits(),
            defaults=PLACE,
            accepted=forwarder.wake,
        )
        intake.take(image(number), {"trigger_id": "1"}, via="http")
        drained(queue, forwarder)
    (aside,) = queue.records(0, 10, SET_ASIDE)
    assert aside.answer is not None and aside.answer["reason"] == "trigger-conflict"
    with pytest.raises(Invalid):
        intake.take(image(7), {"trigger_id": "1"}, via="http")


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"line": "", "station": "S1"},
        {**PLACE, "batch": 7, "trigger_id": 4711, "captured_at": "yesterday"},
        {**PLACE, "batch": " padded ", "nobody": {"knows": "this"}},
        {**PLACE, "batch": ["x"]},
        {**PLACE, "shift": False},
        {**PLACE, "operator": "x" * 201},
        {**PLACE, "origin": "moon"},
        {**PLACE, "part_id": "a\nb"},
        {**PLACE, "trigger_id": "x" * 201},
        {**PLACE, "station": "S1/x"},
        {**PLACE, "line": ".hidden"},
        {**PLACE, "line": "x" * 101},
        {**PLACE, "material": "\udc80"},
        {**PLACE, "customer": "ACME", "settings": {"lens": "25 mm", "exposure_us": 4000, "zoom": 3}},
        {**PLACE, "settings.lens": "25 mm", "settings": {"gain_db": "0"}},
        {**PLACE, "settings.gain_db": "loud", "settings": {"gain_db": None}},
        {**PLACE, "settings": []},
        {**PLACE, "settings": {"gain_db": "loud"}},
        {**PLACE, "settings.focus_mm": "nan"},
    ],
)
def test_both_take_the_same_metadata(said: dict[str, Any]) -> None:
    assert _verdict_of_the_agent(said) == _verdict_of_the_plant(said)


def _verdict_of_the_agent(said: dict[str, Any]) -> object:
    try:
        read = plants.read_metadata(json.loads(agents.read(said, {}, NOW).text))
    except agents.MetadataError as error:
        return error.reason
    return read.fields, read.trigger_id, read.settings, read.ignored


def _verdict_of_the_plant(said: dict[str, Any]) -> object:
    try:
        read = plants.read_metadata(said)
    except plants.MetadataError as error:
        return error.reason
    return read.fields, read.trigger_id, read.settings, read.ignored


def test_the_agent_checks_every_field_that_the_plant_reads() -> None:
    assert set(agents.CHECKED) == {*plants.CONTEXT_FIELDS, "trigger_id"}
    assert (set(agents.SETTING_TEXTS), set(agents.SETTING_NUMBERS)) == (set(TEXTS), set(NUMBERS))
    assert agents.ORIGINS == plants.ORIGINS and agents.LONGEST_VALUE == plants.LONGEST_VALUE

"""What is promised to the plant's programmers: the schemas, the examples, the documents' freshness."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from andon_chassis.clock import SystemClock
from andon_chassis.events import Event
from andon_chassis.health import Health
from andon_events import records
from fastapi import FastAPI
from jsonschema import Draft202012Validator, ValidationError
from mes_bridge.adapters.http import HttpSender
from mes_bridge.adapters.office import Office
from mes_bridge.adapters.postgres import PostgresLedger
from mes_bridge.adapters.signature import Keyring
from mes_bridge.api import make_app
from mes_bridge.contract import CONTRACTS, documents, main
from mes_bridge.domain.delivery import Answer
from mes_bridge.domain.finding import KINDS, read_finding

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"

Decided = Callable[..., Event[records.DispositionDecided]]


def example(name: str) -> Any:
    """One of the consumer examples, as a module."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", CONTRACTS / "webhooks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def schema(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((CONTRACTS / "webhooks" / f"{name}.schema.json").read_text()))


def test_the_contract_is_as_the_code_is() -> None:
    assert main(["--check"]) == 0, "run python -m mes_bridge.contract"
    assert {str(path) for path in documents()} == {
        "openapi/mes-bridge.json",
        "webhooks/disposition.schema.json",
        "webhooks/finding.schema.json",
    }


def test_the_page_names_every_kind_and_every_route() -> None:
    page = (CONTRACTS / "webhooks.md").read_text()
    routes = json.loads(documents()[Path("openapi/mes-bridge.json")])["paths"]
    for word in [*KINDS, *(route.replace("{delivery_id}", "{id}") for route in routes)]:
        assert word in page


@pytest.fixture
def receiver() -> Iterator[tuple[Any, str]]:
    """The example receiver, running: its book and its address."""
    module = example("receive")
    book = module.Book()
    server = module.make_server(SECRET, book)
    server.RequestHandlerClass.log_message = lambda *_: None
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield book, f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def test_the_example_receiver_takes_what_the_bridge_sends_once(
    bridge: Any, receiver: tuple[Any, str], disposition: Decided
) -> None:
    book, url = receiver
    bridge.decide(
        disposition(1, product_variant="größer"), disposition(1, revision=2, kind="reject"), disposition(2)
    )
    ledger, clock = PostgresLedger(bridge.database, "1"), SystemClock()
    jobs = ledger.claim("mes", 10, clock.now(), 60.0)
    sender = HttpSender(url, Keyring([OTHER, SECRET]), connections=1, timeout_s=5)
    stranger = HttpSender(url, Keyring([OTHER]), connections=1, timeout_s=5)
    for job in [*jobs, *jobs]:
        schema("disposition").validate(json.loads(job.body))
        assert sender.send(job, clock.now()) == Answer(204)
        assert stranger.send(job, clock.now()) == Answer(401)
    sender.close()
    stranger.close()
    assert book.taken == {job.delivery_id for job in jobs}
    assert len(book.latest) == 2


def test_the_example_reporter_reports_to_the_real_api(bridge: Any, disposition: Decided) -> None:
    import uvicorn
    from andon_chassis.http import install

    bridge.decide(decided := disposition(1))
    app: FastAPI = make_app(Office(bridge.database, bridge.clock, {}), Keyring([SECRET]), bridge.clock)
    install(app, Health(bridge.clock))
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", 0, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    clock, never = SystemClock(), threading.Event()
    end = clock.monotonic() + 10
    while not server.started:
        assert clock.monotonic() < end
        clock.wait(never, 0.01)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1/findings"
    finding = {"kind": "escape", "capture_id": decided.data.capture_id, "reported_by": "by hand"}
    report = example("report").report
    try:
        assert report(SECRET, url, finding)[0] == 201
        assert report(OTHER, url, finding)[1]["title"] == "signature-wrong"
        assert report(SECRET, url, {**finding, "capture_id": decided.data.disposition_id})[0] == 404
    finally:
        server.should_exit = True
        thread.join(10)
    assert [e.kind for e in bridge.emitted()] == ["escape"]


def test_the_finding_schema_and_the_reader_agree() -> None:
    plain = {"kind": "escape", "capture_id": "0b8f7f0e-7d55-5a6a-9c7e-0d2f6f1c2b3a"}
    now = SystemClock().now()
    for good in [plain, {**plain, "note": None, "class_name": "crack", "found_at": now.isoformat()}]:
        schema("finding").validate(good)
        read_finding(json.dumps(good).encode(), now)
    for bad in [{}, {**plain, "kind": "rumour"}, {**plain, "note": 5}, {**plain, "note": "n" * 5000}]:
        with pytest.raises(ValidationError):
            schema("finding").validate(bad)
        with pytest.raises(ValueError, match=r"\w"):
            read_finding(json.dumps(bad).encode(), now)

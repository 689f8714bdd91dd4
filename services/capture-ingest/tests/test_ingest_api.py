"""HTTP as a sender sees it, over a real socket."""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import httpx
import pytest
import uvicorn
from andon_chassis import http
from andon_chassis.errors import Unavailable
from capture_ingest.adapters.memory import MemoryLedger
from capture_ingest.api import UploadLimits, create_app
from fastapi import FastAPI
from ingest_support import Plant, bomb, metadata, plant, png

UPLOADS = UploadLimits(
    image_bytes=200_000, batch_bytes=400_000, batch_images=4, held_bytes=600_000, seconds=1.0
)


@contextmanager
def client_of(app: FastAPI) -> Iterator[httpx.Client]:
    """A client of the app, which listens on a port of its own until the block ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=10) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


@pytest.fixture
def api(plant: Plant) -> Iterator[httpx.Client]:
    app = create_app(plant.admission, UPLOADS)
    http.install(app, plant.health)
    with client_of(app) as client:
        yield client


def send(api: httpx.Client, data: bytes, said: object, kind: str = "image/png") -> httpx.Response:
    return api.post(
        "/v1/captures", content=data, headers={"Content-Type": kind, "Andon-Metadata": json.dumps(said)}
    )


def reason(response: httpx.Response) -> str:
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == response.status_code and body["detail"]
    return str(body["title"])


def test_one_image_as_the_body(api: httpx.Client, plant: Plant) -> None:
    first, second = (send(api, png(), metadata("t1")) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["status"] == "recorded" and second.json()["status"] == "already-recorded"
    assert first.json()["capture_id"] == second.json()["capture_id"]
    assert first.json()["missing"] == ["captured_at"]
    assert len(plant.recorded) == 1


def test_one_image_as_a_form(api: httpx.Client, plant: Plant) -> None:
    answer = api.post(
        "/v1/captures",
        files={"image": ("part.png", png(), "image/png")},
        data={"metadata": json.dumps(metadata("t1", batch="Los 7 – Süd"))},
    )
    assert answer.status_code == 201
    assert plant.recorded[0].context.batch == "Los 7 – Süd"


def test_metadata_in_the_header_may_be_utf8_or_escaped(api: httpx.Client, plant: Plant) -> None:
    raw = json.dumps(metadata("t1", batch="Süd"), ensure_ascii=False).encode()
    answer = api.post(
        "/v1/captures", content=png(1), headers={b"Content-Type": b"image/png", b"Andon-Metadata": raw}
    )
    assert answer.status_code == 201
    assert send(api, png(2), metadata("t2", batch="Süd")).status_code == 201
    assert {r.context.batch for r in plant.recorded} == {"Süd"}


def test_a_batch_answers_each_image_by_itself(api: httpx.Client, plant: Plant) -> None:
    images = [png(1), b"no image", png(1), png(2)]
    said = [metadata("a"), metadata("b"), metadata("a"), metadata("a")]
    answer = api.post(
        "/v1/captures/batch",
        files=[("image", (f"{n}.png", data, "image/png")) for n, data in enumerate(images)],
        data={"metadata": json.dumps(said)},
    )
    assert answer.status_code == 207
    results = answer.json()["results"]
    assert [r["http_status"] for r in results] == [201, 415, 200, 409]
    assert results[1]["reason"] == "not-an-image"
    assert len(plant.recorded) == 1


@pytest.mark.parametrize(
    ("data", "status", "why"),
    [
        (b"", 422, "empty"),
        (b"text", 415, "not-an-image"),
        (png()[:-20], 422, "truncated"),
        (bomb(), 413, "too-many-pixels"),
    ],
)
def test_what_is_no_usable_image_gets_its_named_answer(
    api: httpx.Client, data: bytes, status: int, why: str
) -> None:
    answer = send(api, data, metadata("t"))
    assert (answer.status_code, reason(answer)) == (status, why)


def test_a_conflict_is_409(api: httpx.Client) -> None:
    send(api, png(1), metadata("t"))
    answer = send(api, png(2), metadata("t"))
    assert (answer.status_code, reason(answer)) == (409, "trigger-conflict")


@pytest.mark.parametrize(
    "said", ["{", "[]", '"x"', "{}", '{"line": "L1"}', '{"line": "a/b", "station": "S"}']
)
def test_unusable_metadata_are_422(api: httpx.Client, said: str) -> None:
    answer = api.post(
        "/v1/captures", content=png(), headers={"Content-Type": "image/png", "Andon-Metadata": said}
    )
    assert answer.status_code == 422
    assert reason(answer) in {"invalid-metadata", "missing-line", "missing-station"}


def test_other_content_types_and_missing_parts_are_refused(api: httpx.Client) -> None:
    assert send(api, png(), metadata(), kind="text/plain").status_code == 415
    assert api.post("/v1/captures", content=png(), headers={"Content-Type": "image/png"}).status_code == 422
    assert api.post("/v1/captures", files={"image": ("a.png", png())}).status_code == 422
    assert api.post("/v1/captures", files={"photo": ("a.png", png())}).status_code == 422
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    assert reason(api.post("/v1/captures", content=b"--x\r\nbroken", headers=form)) == "invalid-form"
    no_boundary = {"Content-Type": "multipart/form-data"}
    assert reason(api.post("/v1/captures", content=b"", headers=no_boundary)) == "invalid-form"


def test_a_batch_with_too_many_or_uncounted_images_is_refused(api: httpx.Client) -> None:
    files = [("image", (f"{n}.png", png(n), "image/png")) for n in range(5)]
    five = api.post("/v1/captures/batch", files=files, data={"metadata": json.dumps([metadata()] * 5)})
    assert (five.status_code, reason(five)) == (413, "too-many-images")
    two = api.post("/v1/captures/batch", files=files[:2], data={"metadata": json.dumps([metadata()])})
    assert (two.status_code, reason(two)) == (422, "invalid-form")


def test_a_large_upload_is_refused_by_its_announcement_before_it_is_read(
    api: httpx.Client, plant: Plant
) -> None:
    head = (
        "POST /v1/captures HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
        f"Andon-Metadata: {json.dumps(metadata())}\r\nContent-Length: 209715200\r\n\r\n"
    )
    with socket.create_connection((api.base_url.host, api.base_url.port or 80), timeout=5) as connection:
        connection.sendall(head.encode())
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413") and b"too-large" in answer
    assert plant.store.objects == {}


def test_a_large_upload_without_announcement_is_cut_off_at_the_limit(api: httpx.Client, plant: Plant) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(3200):  # 200 MB
            sent += 65536
            yield b"\0" * 65536

    try:
        answer = api.post(
            "/v1/captures",
            content=endless(),
            headers={"Content-Type": "image/png", "Andon-Metadata": json.dumps(metadata())},
        )
        assert (answer.status_code, reason(answer)) == (413, "too-large")
    except httpx.TransportError:
        pass  # the connection was closed while this side was still sending
    assert sent < 20_000_000
    assert plant.store.objects == {}


def test_a_form_is_held_to_the_same_limit(api: httpx.Client) -> None:
    answer = api.post(
        "/v1/captures",
        files={"image": ("a.png", b"\0" * 210_000, "image/png")},
        data={"metadata": json.dumps(metadata())},
    )
    assert (answer.status_code, reason(answer)) == (413, "too-large")


def test_a_body_that_does_not_end_is_given_up(api: httpx.Client) -> None:
    head = (
        "POST /v1/captures HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
        f"Andon-Metadata: {json.dumps(metadata())}\r\nContent-Length: 1000\r\n\r\nabc"
    )
    with socket.create_connection((api.base_url.host, api.base_url.port or 80), timeout=10) as connection:
        connection.sendall(head.encode())
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 408") and b"too-slow" in answer


def test_a_sender_that_hangs_up_leaves_nothing_behind(api: httpx.Client, plant: Plant) -> None:
    head = (
        "POST /v1/captures HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
        f"Andon-Metadata: {json.dumps(metadata('gone'))}\r\nContent-Length: {len(png())}\r\n\r\n"
    )
    with socket.create_connection((api.base_url.host, api.base_url.port or 80), timeout=5) as connection:
        connection.sendall(head.encode() + png()[:-30])
    assert send(api, png(), metadata("next")).status_code == 201
    assert [r.trigger_id for r in plant.recorded] == ["next"]


def test_probes_and_metrics_answer(api: httpx.Client) -> None:
    send(api, png(), metadata())
    assert api.get("/healthz").status_code == 200
    assert "andon_captures_total" in api.get("/metrics").text
    paths = api.get("/openapi.json").json()["paths"]
    assert set(paths) == {"/v1/captures", "/v1/captures/batch"}


class AwayLedger(MemoryLedger):
    """PostgreSQL while it is down."""

    def file(self, captures: object) -> list[object]:  # type: ignore[override]
        raise Unavailable("postgresql", "connection refused")


def test_an_absent_dependency_is_503_with_the_advice_to_repeat() -> None:
    with plant(ledger=AwayLedger()) as made, client_of(create_app(made.admission, UPLOADS)) as client:
        answer = send(client, png(), metadata("t"))
    assert (answer.status_code, reason(answer)) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"


def test_uploads_beyond_what_may_be_held_are_asked_to_come_again(plant: Plant) -> None:
    """Several senders that stop in the middle of a body fill the room; the next one hears of it at once.

    No upload is too slow here, so nothing but the lack of room can answer a body that has not ended.
    """
    patient = replace(UPLOADS, seconds=3600.0)
    with client_of(create_app(plant.admission, patient)) as api, ExitStack() as open_connections:
        address = (api.base_url.host, api.base_url.port or 80)
        connections = []
        for n in range(4):
            connection = open_connections.enter_context(socket.create_connection(address, timeout=5))
            connections.append(connection)
            head = (
                "POST /v1/captures HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
                f"Andon-Metadata: {json.dumps(metadata(str(n)))}\r\nContent-Length: 200000\r\n\r\n"
            )
            connection.sendall(head.encode() + b"\0" * 190_000)
        answered, _, _ = select.select(connections, [], [], 30)  # woken by the answer
        assert answered, "nobody was told that there is no room"
        for connection in answered:
            answer = connection.recv(4096)
            assert answer.startswith(b"HTTP/1.1 503") and b"busy" in answer
        assert len(answered) < len(connections)

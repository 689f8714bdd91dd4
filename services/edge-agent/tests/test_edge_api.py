"""The HTTP side: a decision at once, and a clear word where there is none."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from andon_chassis.clock import SystemClock
from andon_chassis.health import Health
from andon_vision import DecodeLimits
from edge_agent.adapters.journal import JsonLines
from edge_agent.adapters.queue import SqliteQueue
from edge_agent.api import Api, UploadLimits
from edge_agent.handlers import Intake
from edge_support import CLASSES, Reply, StubNetwork, ask, bomb, png

LIMITS = UploadLimits(image_bytes=20_000, held_bytes=30_000, seconds=0.5)


@dataclass
class Box:
    """An agent without its forwarder."""

    folder: Path
    network: StubNetwork = field(default_factory=StubNetwork)
    woken: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.queue = SqliteQueue(self.folder / "queue.sqlite", most_bytes=20_000)
        self.intake = Intake(
            queue=self.queue,
            network=self.network,
            journal=JsonLines(self.folder / "decisions.jsonl"),
            clock=SystemClock(),
            limits=DecodeLimits(20_000, 1_000_000),
            defaults={"line": "L1", "station": "S1"},
            accepted=lambda: self.woken.append(1),
        )
        self.api = Api(("127.0.0.1", 0), self.intake, self.queue, Health(SystemClock()), LIMITS)

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", int(self.api.server_address[1])

    def post(self, data: bytes, trigger: str | None = None, **said: Any) -> Reply:
        metadata = {**said, **({} if trigger is None else {"trigger_id": trigger})}
        return ask(f"http://127.0.0.1:{self.address[1]}/v1/captures", data, metadata)

    def get(self, path: str) -> Reply:
        return ask(f"http://127.0.0.1:{self.address[1]}{path}")

    def journal(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "decisions.jsonl").read_text().splitlines()]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    thread = threading.Thread(target=made.api.serve_forever, args=(0.02,))
    thread.start()
    yield made
    made.api.shutdown()
    thread.join(10)
    made.api.server_close()


def test_the_decision_comes_back_at_once_and_the_image_waits(box: Box) -> None:
    reply = box.post(png(20), "4711", batch="B7")
    assert (reply.status, reply.body["status"], reply.body["trigger_id"]) == (201, "taken", "4711")
    decision = reply.body["decision"]
    assert (decision["kind"], decision["release"], decision["provisional"]) == (
        "route-to-reviewer",
        "stub-1",
        True,
    )
    assert set(decision["scores"]) == {*CLASSES, "normal"}
    (head,) = box.queue.heads()
    assert head.metadata["batch"] == "B7" and box.queue.image(head.seq) == png(20) and box.woken == [1]
    assert [line["seq"] for line in box.journal()] == [head.seq]
    assert box.journal()[0]["decision"] == decision


def test_the_same_again_gets_the_same_answer_without_asking_the_model(box: Box) -> None:
    first, again = box.post(png(20), "1"), box.post(png(20), "1")
    assert (again.status, again.body["status"]) == (200, "already-taken")
    assert {**again.body, "status": ""} == {**first.body, "status": ""}
    assert box.network.asked == 1 and len(box.journal()) == 1


def test_without_a_trigger_the_image_is_its_own(box: Box) -> None:
    assert [box.post(png(20, seed)).status for seed in (1, 2, 1)] == [201, 201, 200]


def test_another_image_under_the_same_trigger_is_refused(box: Box) -> None:
    box.post(png(20, 1), "1")
    reply = box.post(png(20, 2), "1")
    assert (reply.status, reply.body["title"]) == (409, "trigger-conflict")
    assert box.post(png(20, 2), "1", station="S2").status == 201


@pytest.mark.parametrize(
    ("data", "said", "status", "reason"),
    [
        (b"line,station", {}, 415, "not-an-image"),
        (b"GIF89a" + b"0" * 100, {}, 415, "unsupported-format"),
        (png(20)[:80], {}, 422, "truncated"),
        (b"", {}, 422, "empty"),
        (bomb(), {}, 413, "too-many-pixels"),
        (b"x" * 20_001, {}, 413, "too-large"),
        (png(20), {"line": "a/b"}, 422, "invalid-metadata"),
    ],
    ids=["foreign", "gif", "cut-off", "nothing", "bomb", "large", "metadata"],
)
def test_what_can_never_be_taken_is_refused_with_its_reason(
    box: Box, data: bytes, said: dict[str, str], status: int, reason: str
) -> None:
    reply = box.post(data, **said)
    assert (reply.status, reply.body["title"]) == (status, reason)
    assert reply.body["detail"]
    assert box.queue.records(0, 10) == [] and box.network.asked == 0


def test_a_full_queue_says_what_to_do_and_takes_again_when_there_is_room(box: Box) -> None:
    taken = 0
    while (reply := box.post(png(20, taken, side=80), str(taken))).status == 201:
        taken += 1
    assert (reply.status, reply.body["title"]) == (507, "queue-full")
    assert "send it again" in reply.body["detail"] and "ANDON_QUEUE_MB" in reply.body["detail"]
    assert taken > 1 and box.queue.fill().waiting == taken
    assert box.network.asked == taken, "nothing is decided that is not taken"
    box.queue.delivered(box.queue.heads()[0].seq, {})
    assert box.post(png(20, taken, side=80), str(taken)).status == 201


def test_metadata_that_are_no_json_are_refused(box: Box) -> None:
    connection = http.client.HTTPConnection(*box.address, timeout=10)
    connection.request("POST", "/v1/captures", png(20), {"Andon-Metadata": "{broken"})
    answer = connection.getresponse()
    assert answer.status == 422 and json.loads(answer.read())["title"] == "invalid-metadata"
    connection.close()


def test_a_body_that_does_not_come_holds_nothing_up(box: Box) -> None:
    slow = http.client.HTTPConnection(*box.address, timeout=10)
    slow.putrequest("POST", "/v1/captures")
    slow.putheader("Content-Length", "20000")
    slow.endheaders(b"x" * 100)
    busy = http.client.HTTPConnection(*box.address, timeout=10)
    while True:  # until the first one's body is counted
        busy.request("POST", "/v1/captures", b"x" * 19_000)
        answer = busy.getresponse()
        body = json.loads(answer.read())
        if answer.status == 503:
            break
        assert answer.status == 415
    assert body["title"] == "busy" and answer.headers["Retry-After"] == "1"
    late = slow.getresponse()
    assert late.status == 408 and json.loads(late.read())["title"] == "too-slow"
    assert box.post(png(20)).status == 201
    slow.close()
    busy.close()


def test_a_body_without_a_length_is_asked_for_one(box: Box) -> None:
    connection = http.client.HTTPConnection(*box.address, timeout=10)
    connection.request("POST", "/v1/captures", iter([png(20)]), encode_chunked=True)
    assert connection.getresponse().status == 411
    connection.close()


def test_one_connection_carries_many_images(box: Box) -> None:
    connection = http.client.HTTPConnection(*box.address, timeout=10)
    for number in range(5):
        connection.request("POST", "/v1/captures", png(20, number))
        answer = connection.getresponse()
        assert answer.status == 201 and answer.read()
        assert connection.sock is not None
    connection.close()


def test_the_records_are_listed_in_order(box: Box) -> None:
    for number in range(3):
        box.post(png(20, number), str(number))
    box.queue.delivered(1, {"capture_id": "c"})
    listed = box.get("/v1/captures?after=0&limit=2").body["captures"]
    assert [(record["seq"], record["state"]) for record in listed] == [(1, "delivered"), (2, "waiting")]
    assert listed[0]["answer"] == {"capture_id": "c"}
    assert [r["trigger_id"] for r in box.get("/v1/captures?after=2").body["captures"]] == ["2"]
    assert box.get("/v1/captures?after=x").status == 422
    assert box.get("/elsewhere").status == 404 and box.get("/healthz").status == 200


def test_the_cameras_trace_is_kept(box: Box) -> None:
    trace = f"00-{'c' * 32}-{'d' * 16}-01"
    box.intake.take(png(20), {}, via="http", traceparent=trace)
    box.intake.take(png(30), {}, via="http", traceparent="nonsense")
    first, second = box.queue.records(0, 10)
    assert first.traceparent == trace and len(second.traceparent.split("-")[1]) == 32

"""The cameras against a real HTTP server: every answer is written down, a busy server is asked again, nothing is sent
twice that was refused for good."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from andon_chassis.events import deterministic_id
from andon_demo.cameras import Cameras
from andon_demo.parts import split_parts
from andon_demo.rehearsal import painted_parts
from andon_demo.scenario import Plan, Play, write_plan


class _Ingest(ThreadingHTTPServer):
    """Behaves as capture-ingest's contract says, with every seventh request answered 503 first."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.requests = 0
        self.known: dict[tuple[str, str], bytes] = {}
        self.order: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    server: _Ingest
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        metadata = json.loads(self.headers["andon-metadata"])
        with self.server.lock:
            self.server.requests += 1
            status, answer = self._decide(body, metadata)
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _decide(self, body: bytes, metadata: dict[str, str]) -> tuple[int, dict[str, str]]:
        if self.server.requests % 7 == 0:
            return 503, {"title": "busy"}
        if not body.startswith(b"\x89PNG"):
            return 415, {"title": "not-an-image"}
        if not body.endswith(b"IEND\xaeB`\x82"):
            return 422, {"title": "truncated"}
        key = (f"{metadata['line']}/{metadata['station']}", metadata["trigger_id"])
        known = self.server.known.setdefault(key, body)
        capture_id = deterministic_id("capture", *key)
        if known is body:
            self.server.order.append(metadata["trigger_id"])
            return 201, {"capture_id": capture_id}
        return (200, {"capture_id": capture_id}) if known == body else (409, {"title": "trigger-conflict"})

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def ingest() -> Iterator[_Ingest]:
    server = _Ingest()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return write_plan(split_parts(painted_parts(tmp_path, 140), 0.2, 1).stream, 90, 1)


def _replayed(plan: Plan, ingest: _Ingest, rate: float | None = None) -> Cameras:
    cameras = Cameras(f"http://127.0.0.1:{ingest.server_port}", parallel=6, rate=rate, may_send=lambda: None)
    cameras.replay(plan, lambda shot: None)
    return cameras


def test_every_shot_has_its_final_answer(plan: Plan, ingest: _Ingest) -> None:
    answers = _replayed(plan, ingest).answers
    assert len(answers.snapshot()) == len(plan.shots)
    assert answers.unanswered() == 0
    assert answers.refused() == Counter(
        {
            "truncated": plan.count(Play.TRUNCATED),
            "not-an-image": plan.count(Play.WRONG_TYPE),
            "trigger-conflict": plan.count(Play.CONFLICT),
        }
    )
    accepted = answers.accepted()
    assert set(accepted.values()) == {1}
    assert sum(accepted.values()) + sum(answers.refused().values()) == plan.images


def test_a_busy_server_is_asked_again(plan: Plan, ingest: _Ingest) -> None:
    _replayed(plan, ingest)
    assert ingest.requests > len(plan.shots) * 8 / 7


def test_of_a_trigger_and_its_retry_exactly_one_is_new(plan: Plan, ingest: _Ingest) -> None:
    answers = _replayed(plan, ingest).answers.snapshot()
    retries = {a.shot.trigger_id for a in answers if a.shot.play is Play.RETRY}
    assert retries
    for trigger in retries:
        assert sorted(a.status for a in answers if a.shot.trigger_id == trigger and a.status < 400) == [
            200,
            201,
        ]


def test_a_twin_is_sent_after_its_original_was_answered(plan: Plan, ingest: _Ingest) -> None:
    _replayed(plan, ingest)
    for shot in plan.shots:
        if shot.play is Play.DUPLICATE and shot.repeats is not None:
            original = plan.shots[shot.repeats].trigger_id
            assert ingest.order.index(original) < ingest.order.index(shot.trigger_id)


def test_a_rate_is_kept(plan: Plan, ingest: _Ingest) -> None:
    cameras = _replayed(plan, ingest, rate=60.0)
    assert cameras.first_at is not None and cameras.last_at is not None
    assert cameras.last_at - cameras.first_at >= (len(plan.shots) - 8) / 60.0


def test_nobody_at_home_is_an_upload_without_an_answer(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("andon_demo.cameras.GIVE_UP_S", 0.2)
    cameras = Cameras("http://127.0.0.1:9", parallel=16, rate=None, may_send=lambda: None)
    cameras.replay(plan, lambda shot: None)
    assert cameras.answers.unanswered() == len(plan.shots)
    assert not cameras.answers.accepted()

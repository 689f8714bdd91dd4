"""The MES stand-in: checks signatures on its own, keeps its book by idempotency key, behaves badly on
purpose.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest
from andon_demo.mes.book import Book, Mood, finding_for, mood_of
from andon_demo.mes.server import MesServer
from andon_demo.mes.webhooks import BadSignatureError, sign, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def _headers(
    body: bytes, key: str = "msg_1", secret: str = SECRET, stamp: int | None = None
) -> dict[str, str]:
    stamp = stamp or int(time.time())
    return {
        "webhook-id": key,
        "webhook-timestamp": str(stamp),
        "webhook-signature": sign(secret, key, stamp, body),
    }


def _disposition(number: int, kind: str = "pass", revision: int = 1) -> bytes:
    return json.dumps(
        {
            "type": "disposition.decided",
            "data": {
                "disposition_id": f"d{number}-{revision}",
                "capture_id": f"c{number}",
                "revision": revision,
                "kind": kind,
                "context": {"part_id": f"SN-{number}"},
            },
        }
    ).encode()


def test_signatures_agree_with_the_published_reference_vector() -> None:
    """The example of the Standard Webhooks specification, as its own libraries test it."""
    body, key, stamp = b'{"test": 2432232314}', "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
    signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert sign(SECRET, key, stamp, body) == signature
    headers = {
        "webhook-id": key,
        "webhook-timestamp": str(stamp),
        "webhook-signature": f"v1,AAAA {signature}",
    }
    assert verify(SECRET, headers, body, stamp + 60) == key


@pytest.mark.parametrize(
    "spoil",
    [
        lambda h, b: (h, b + b" "),
        lambda h, b: (h | {"webhook-id": "msg_2"}, b),
        lambda h, b: (h | {"webhook-timestamp": str(int(h["webhook-timestamp"]) + 1)}, b),
        lambda h, b: ({k: v for k, v in h.items() if k != "webhook-signature"}, b),
        lambda h, b: (_headers(b, secret="whsec_AAAA"), b),
        lambda h, b: (_headers(b, stamp=int(time.time()) - 3600), b),
    ],
)
def test_what_was_changed_replayed_late_or_signed_by_others_is_refused(spoil: Any) -> None:
    body = _disposition(1)
    headers, received = spoil(_headers(body), body)
    with pytest.raises(BadSignatureError):
        verify(SECRET, headers, received, time.time())


def test_moods_are_seeded_and_always_end_well() -> None:
    moods = [mood_of(1, f"k{n}", 1, 0.1) for n in range(2000)]
    assert moods == [mood_of(1, f"k{n}", 1, 0.1) for n in range(2000)]
    wrong = 1 - Counter(moods)[Mood.ACKNOWLEDGE] / len(moods)
    assert 0.07 < wrong < 0.13
    assert set(moods) == set(Mood)
    assert all(mood_of(1, f"k{n}", 3, 1.0) is Mood.ACKNOWLEDGE for n in range(100))


def test_the_book_keeps_a_delivery_once_however_often_it_comes() -> None:
    book = Book()
    body = _disposition(1)
    for mood in (Mood.ANSWER_LOST, Mood.ACKNOWLEDGE, Mood.ACKNOWLEDGE):
        book.settle(book.arrived("k1", body, json.loads(body)["data"]), mood)
    (entry,) = book.entries.values()
    assert (entry.attempts, entry.kept, entry.acknowledged, entry.again_after_acknowledged) == (3, 1, 2, 1)
    assert not entry.changed_content


def test_the_book_sees_that_a_key_came_with_other_content() -> None:
    book = Book()
    for kind in ("pass", "reject"):
        body = _disposition(1, kind)
        entry = book.arrived("k1", body, json.loads(body)["data"])
    assert entry.changed_content


def test_only_wrong_decisions_lead_to_findings() -> None:
    kinds = Counter(finding_for("pass", True, 1, f"c{n}") for n in range(500))
    assert kinds["escape"] > 380 and kinds[None] > 30 and len(kinds) == 2
    assert {finding_for("pass", False, 1, f"c{n}") for n in range(100)} == {None}
    assert {finding_for("reject", True, 1, f"c{n}") for n in range(100)} == {None}
    assert {finding_for("hold", True, 1, f"c{n}") for n in range(100)} == {None}
    assert "false-reject" in {finding_for("reject", False, 1, f"c{n}") for n in range(100)}


class _Findings(HTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _TakeFinding)
        self.taken: list[dict[str, Any]] = []
        self.enough = threading.Event()
        self.failures = 1


class _TakeFinding(BaseHTTPRequestHandler):
    server: _Findings

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        verify(SECRET, {k.lower(): v for k, v in self.headers.items()}, body, time.time())
        if self.server.failures:
            self.server.failures -= 1
            self.send_response(503)
        else:
            self.server.taken.append(json.loads(body))
            self.send_response(202)
        self.send_header("content-length", "0")
        self.end_headers()
        if len(self.server.taken) >= 2:
            self.server.enough.set()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def findings() -> Iterator[_Findings]:
    server = _Findings()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def mes(monkeypatch: pytest.MonkeyPatch) -> Iterator[MesServer]:
    monkeypatch.setattr("andon_demo.mes.server.FOUND_AFTER_S", (0.0, 0.05))
    server = MesServer(SECRET, trouble=0.0)
    server.start()
    yield server
    server.stop()


def test_it_answers_over_http_and_reports_escapes_and_false_rejects(
    mes: MesServer, findings: _Findings
) -> None:
    url = f"http://127.0.0.1:{mes.port}"
    truth = {f"SN-{n}": {"defect": n % 2 == 1, "class": "crack" if n % 2 else None} for n in range(20)}
    httpx.post(
        f"{url}/demo/begin",
        json={"findings_url": f"http://127.0.0.1:{findings.server_port}/v1/findings", "truth": truth},
    )
    for number in range(20):
        body = _disposition(number, "pass" if number % 2 else "reject")
        answer = httpx.post(f"{url}/dispositions", content=body, headers=_headers(body, key=f"msg_{number}"))
        assert answer.status_code == 200
    assert httpx.post(f"{url}/dispositions", content=b"{}", headers=_headers(b"[]")).status_code == 401
    assert findings.enough.wait(20)
    book = httpx.get(f"{url}/demo/book").json()
    assert len(book["entries"]) == 20
    assert all(e["kept"] == e["acknowledged"] == 1 for e in book["entries"])
    assert book["turned_away"] == {"BadSignatureError": 1}
    assert {f["kind"] for f in findings.taken} <= {"escape", "false-reject"}
    assert all((f["class_name"] == "crack") == (f["kind"] == "escape") for f in findings.taken)


def test_a_sender_that_dies_in_the_middle_has_sent_no_bad_signature(mes: MesServer) -> None:
    body = _disposition(1, "pass")
    head = "POST /dispositions HTTP/1.1\r\nhost: mes\r\n"
    signed = "".join(f"{name}: {value}\r\n" for name, value in _headers(body).items())
    for part in (
        head + signed[:40],
        head + signed + f"content-length: {len(body)}\r\n\r\n" + body.decode()[:-5],
    ):
        with socket.create_connection(("127.0.0.1", mes.port)) as line:
            line.sendall(part.encode())
            line.shutdown(socket.SHUT_WR)
            assert line.recv(1) == b"", "nobody is there to be answered"
    assert mes.summary()["turned_away"] == {}


def test_its_process_ends_when_whoever_started_it_is_gone() -> None:
    command = [sys.executable, "-m", "andon_demo.mes", "--secret", SECRET]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdin is not None
    port = json.loads(process.stdout.readline())["port"]
    assert httpx.get(f"http://127.0.0.1:{port}/demo/book").json()["entries"] == []
    process.stdin.close()
    assert process.wait(10) == 0
    process.stdout.close()

"""The MES stand-in's HTTP server and the inspector who sends findings back."""

from __future__ import annotations

import heapq
import http.client
import json
import sys
import threading
import time
import urllib.parse
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from andon_demo.mes.book import Book, Entry, Mood, finding_for, mood_of
from andon_demo.mes.webhooks import BadSignatureError, sign, verify

FOUND_AFTER_S = (2.0, 5.0)
"""A part is inspected again this long after its disposition, first and last."""


@dataclass(order=True, slots=True)
class _Finding:
    due: float
    kind: str = field(compare=False)
    capture_id: str = field(compare=False)
    class_name: str | None = field(compare=False)


class MesServer:
    """Takes dispositions at `/dispositions`, keeps its book, reports findings, and shows the book at
    `/demo/book`.

    Args:
        secret: Shared webhook secret, `whsec_<base64>`; signs findings as well.
        trouble: Share of first attempts that go wrong.
        silence_s: How long an answer takes that comes too late.
    """

    def __init__(
        self, secret: str, *, port: int = 0, seed: int = 1, trouble: float = 0.05, silence_s: float = 3.0
    ) -> None:
        self.book = Book()
        self._secret = secret
        self._seed = seed
        self._trouble = trouble
        self._silence_s = silence_s
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._truth: dict[str, dict[str, Any]] = {}
        self._findings_url: str | None = None
        self._due: list[_Finding] = []
        self._under_way = 0
        self._inspected: set[str] = set()
        self._sent: list[dict[str, Any]] = []
        self._refused: list[str] = []
        self._http = _HttpServer(("127.0.0.1", port), _handler(self))
        self.port = int(self._http.server_address[1])
        self._threads = [
            threading.Thread(target=self._http.serve_forever, args=(0.1,), name="mes-http", daemon=True),
            threading.Thread(target=self._inspect, name="mes-inspector", daemon=True),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._http.shutdown()
        self._http.server_close()
        self._threads[1].join()

    def begin(self, findings_url: str, truth: dict[str, dict[str, Any]]) -> None:
        """From now on report findings there; `truth` says by part_id whether it is defective, and
        which class.
        """
        with self._lock:
            self._truth = truth
            self._findings_url = findings_url

    def take(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], float]:
        """One delivery attempt: status, answer, and how long to wait with it."""
        try:
            key = verify(self._secret, headers, body, time.time())
            message = json.loads(body)
            disposition = message.get("data", message)
        except (BadSignatureError, ValueError) as error:
            with self._lock:
                self.book.turned_away[type(error).__name__] += 1
            return 401, {"error": str(error)}, 0.0
        with self._lock:
            entry = self.book.arrived(key, body, disposition)
            mood = mood_of(self._seed, key, entry.attempts, self._trouble)
            self.book.settle(entry, mood)
            if mood is not Mood.SILENT and entry.kept:
                self._plan_inspection(entry)
        if mood is Mood.ERROR:
            return 500, {"error": "the MES database is being reorganised"}, 0.0
        return 200, {"received": key}, self._silence_s if mood in (Mood.SILENT, Mood.ANSWER_LOST) else 0.0

    def summary(self) -> dict[str, Any]:
        with self._lock:
            return self.book.summary() | {
                "findings": {
                    "sent": list(self._sent),
                    "waiting": len(self._due) + self._under_way,
                    "refused": list(self._refused),
                }
            }

    def _plan_inspection(self, entry: Entry) -> None:
        truth = self._truth.get(entry.part_id or "")
        if truth is None or entry.capture_id in self._inspected:
            return
        kind = finding_for(entry.kind, bool(truth["defect"]), self._seed, entry.capture_id)
        if kind is None:
            return
        self._inspected.add(entry.capture_id)
        first, last = FOUND_AFTER_S
        delay = first + (last - first) * (int(entry.body_sha256[:4], 16) / 0xFFFF)
        heapq.heappush(
            self._due, _Finding(time.monotonic() + delay, kind, entry.capture_id, truth.get("class"))
        )

    def _inspect(self) -> None:
        while not self._stop.wait(0.05):
            with self._lock:
                url = self._findings_url
                if url is None or not self._due or self._due[0].due > time.monotonic():
                    continue
                ready = heapq.heappop(self._due)
                self._under_way = 1
            status = self._report(url, ready)
            with self._lock:
                self._under_way = 0
                if status is None or status >= 500 or status == 429:
                    ready.due = time.monotonic() + 0.5
                    heapq.heappush(self._due, ready)
                elif status < 300:
                    self._sent.append({"kind": ready.kind, "capture_id": ready.capture_id})
                else:
                    self._refused.append(f"{ready.kind} {ready.capture_id}: {status}")

    def _report(self, url: str, finding: _Finding) -> int | None:
        """Send one signed finding; None when nobody answers."""
        now = datetime.now(UTC)
        body = json.dumps(
            {
                "kind": finding.kind,
                "capture_id": finding.capture_id,
                "class_name": finding.class_name if finding.kind == "escape" else None,
                "reported_by": "end-of-line test" if finding.kind == "escape" else "re-inspection",
                "note": None,
                "found_at": now.isoformat(),
            }
        ).encode()
        message_id = "msg_" + uuid.uuid5(uuid.NAMESPACE_URL, f"{finding.kind}/{finding.capture_id}").hex
        stamp = int(now.timestamp())
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(stamp),
            "webhook-signature": sign(self._secret, message_id, stamp, body),
        }
        parts = urllib.parse.urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=10)
        try:
            connection.request("POST", parts.path, body, headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        except OSError:
            return None
        finally:
            connection.close()


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that died in the middle of a request is nothing to write about."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _handler(mes: MesServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers.get("content-length") or -1)
            body = self.rfile.read(max(0, length))
            if len(body) != length:
                # The sender died in the middle of it: that is no message, and no bad signature.
                self.close_connection = True
                return
            wait_s = 0.0
            if self.path == "/dispositions":
                status, answer, wait_s = mes.take({k.lower(): v for k, v in self.headers.items()}, body)
            elif self.path == "/demo/begin":
                order = json.loads(body)
                mes.begin(order["findings_url"], order["truth"])
                status, answer = 200, {"begun": "yes"}
            else:
                status, answer = 404, {"error": "no such page"}
            if wait_s:
                time.sleep(wait_s)
            self._answer(status, answer)

        def do_GET(self) -> None:
            if self.path == "/demo/book":
                self._answer(200, mes.summary())
            else:
                self._answer(404, {"error": "no such page"})

        def _answer(self, status: int, content: dict[str, Any]) -> None:
            data = json.dumps(content).encode()
            try:
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                # The sender gave up waiting, which is what a silent answer is for.
                self.close_connection = True

        def log_message(self, *_: object) -> None: ...

    return Handler

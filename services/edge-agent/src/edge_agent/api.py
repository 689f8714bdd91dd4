"""The HTTP side, for the camera and for programs beside it.

    POST /v1/captures                  an image with its metadata in the header Andon-Metadata; the decision comes back
    GET  /v1/captures?after=0&limit=100   the agent's records, in order
    GET  /healthz, /readyz, /metrics

The standard library's server: a box has a handful of clients, and a start within two seconds.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import structlog
from andon_chassis import health as probes
from andon_chassis.errors import Invalid, Unavailable
from andon_chassis.health import Health

from edge_agent.domain.metadata import MetadataError, parse
from edge_agent.handlers import Intake, Receipt
from edge_agent.ports import Full, Queue

log = structlog.get_logger()

CAPTURES: Final = "/v1/captures"
_STATUS: Final = {
    "too-large": 413,
    "too-many-pixels": 413,
    "not-an-image": 415,
    "unsupported-format": 415,
    "trigger-conflict": 409,
}
_PROBES: Final = ("/healthz", "/readyz", "/metrics")
_MOST_RECORDS: Final = 1000
_CHUNK: Final = 1 << 16
_LINGER_S: Final = 2.0


class Problem(Exception):
    """An answer that is not what was hoped for, as in RFC 9457."""

    def __init__(self, status: int, reason: str, advice: str) -> None:
        super().__init__(f"{status} {reason}: {advice}")
        self.status = status
        self.reason = reason
        self.advice = advice


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """How much the HTTP side takes.

    Attributes:
        image_bytes: Of one image.
        held_bytes: Of all uploads at a time; beyond it cameras are asked to come again.
        seconds: For one body to arrive.
    """

    image_bytes: int = 64 * 1024 * 1024
    held_bytes: int = 96 * 1024 * 1024
    seconds: float = 30.0


class Uploads:
    """Counts what all uploads hold in memory at a time."""

    def __init__(self, limits: UploadLimits) -> None:
        self.limits = limits
        self._held = 0
        self._lock = threading.Lock()

    @contextmanager
    def one(self, size: int) -> Iterator[None]:
        """An upload of this size. Raises Problem."""
        if size > self.limits.image_bytes:
            raise Problem(413, "too-large", f"At most {self.limits.image_bytes} bytes are accepted.")
        with self._lock:
            if self._held + size > self.limits.held_bytes:
                raise Problem(503, "busy", "Too many uploads at a time; send this one again shortly.")
            self._held += size
        try:
            yield
        finally:
            with self._lock:
                self._held -= size


class Api(ThreadingHTTPServer):
    """Listens from the moment it is made; `serve_forever` answers."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self, address: tuple[str, int], intake: Intake, queue: Queue, health: Health, limits: UploadLimits
    ) -> None:
        self.intake = intake
        self.queue = queue
        self.health = health
        self.uploads = Uploads(limits)
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    """One connection of a camera."""

    protocol_version = "HTTP/1.1"
    timeout = 60  # of a connection on which nothing is said
    server: Api

    def do_POST(self) -> None:
        self._answered(self._post)

    def do_GET(self) -> None:
        self._answered(self._get)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are counted, not logged."""

    # --- routes ---

    def _post(self) -> None:
        if urlsplit(self.path).path != CAPTURES:
            raise Problem(404, "not-found", f"Send images to {CAPTURES}.")
        length = self.headers.get("Content-Length", "")
        if not length.isdigit():
            raise Problem(411, "length-required", "Say the image's size in Content-Length.")
        with self.server.uploads.one(int(length)):
            data = self._body(int(length))
            receipt = self._taken(data)
        self._send(201 if receipt.created else 200, receipt_body(receipt))

    def _taken(self, data: bytes) -> Receipt:
        text = self.headers.get("Andon-Metadata")
        said = {} if text is None else parse(text.encode("latin-1"))
        return self.server.intake.take(data, said, via="http", traceparent=self.headers.get("traceparent"))

    def _get(self) -> None:
        url = urlsplit(self.path)
        if url.path in _PROBES:
            status, kind, body = probes.answer(self.server.health, url.path)
            self._write(status, kind, body)
        elif url.path == CAPTURES:
            asked = parse_qs(url.query)
            after, most = _number(asked, "after", 0), _number(asked, "limit", 100)
            records = self.server.queue.records(after, min(most, _MOST_RECORDS))
            self._send(200, {"captures": [record.as_json() for record in records]})
        else:
            raise Problem(404, "not-found", f"Try {CAPTURES}, {', '.join(_PROBES)}.")

    # --- reading and writing ---

    def _body(self, length: int) -> bytes:
        """The body, within its time. Raises Problem."""
        deadline = time.monotonic() + self.server.uploads.limits.seconds
        parts, missing = [], length
        self.connection.settimeout(self.server.uploads.limits.seconds)
        while missing:
            part = self.rfile.read1(min(missing, _CHUNK))
            if not part:
                raise Problem(400, "incomplete", "The connection ended before the body did.")
            if time.monotonic() > deadline:
                raise TimeoutError
            parts.append(part)
            missing -= len(part)
        self.connection.settimeout(self.timeout)
        return b"".join(parts)

    def _answered(self, work: Any) -> None:
        """Whatever comes of it, the camera hears it; its connection is closed where a body may be unread."""
        try:
            work()
        except (Problem, Invalid, MetadataError, Full, Unavailable) as error:
            self._refuse(problem_of(error))
        except TimeoutError:
            self._refuse(Problem(408, "too-slow", "The body took too long; send the same request again."))
        except ConnectionError:
            self.close_connection = True  # the camera went; it will ask again
        except Exception:
            log.error("api.bug", exc_info=True)
            self._refuse(Problem(500, "bug", "The agent failed; its log says more. Send the image again."))

    def _refuse(self, problem: Problem) -> None:
        body = {
            "type": f"urn:andonloop:problem:{problem.reason}",
            "title": problem.reason,
            "status": problem.status,
            "detail": problem.advice,
        }
        self.close_connection = True
        try:
            self._send(problem.status, body, "application/problem+json")
            self._linger()
        except OSError:
            return  # nobody is there to hear it

    def _linger(self) -> None:
        """Closed over bytes that nobody read, a connection is reset, and the camera may never see its answer."""
        self.connection.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + _LINGER_S
        while (left_s := deadline - time.monotonic()) > 0:
            self.connection.settimeout(left_s)
            if not self.connection.recv(_CHUNK):
                return

    def _send(self, status: int, body: dict[str, Any], kind: str = "application/json") -> None:
        self._write(status, kind, json.dumps(body).encode())

    def _write(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if status in (503, 507):
            self.send_header("Retry-After", "1" if status == 503 else "30")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


def receipt_body(receipt: Receipt) -> dict[str, Any]:
    """What the camera gets."""
    status = "taken" if receipt.created else "already-taken"
    whole = receipt.record.as_json()
    return {"status": status, **{n: v for n, v in whole.items() if n not in ("state", "answer")}}


def problem_of(error: Exception) -> Problem:
    """The same in the words of HTTP."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Full):
        advice = (
            f"{error} This image was not taken; keep it and send it again. Room comes when the plant answers "
            "(/readyz says whether it does), or with a larger ANDON_QUEUE_MB."
        )
        return Problem(507, "queue-full", advice)
    if isinstance(error, Invalid | MetadataError):
        return Problem(_STATUS.get(error.reason, 422), error.reason, error.advice)
    return Problem(503, "unavailable", f"{error}. Keep the image and send it again.")


def _number(asked: dict[str, list[str]], name: str, default: int) -> int:
    text = asked.get(name, [str(default)])[-1]
    if not text.isdigit() or len(text) > 18:
        raise Problem(422, "invalid-request", f"{name} is a number.")
    return int(text)

"""Health and readiness, which are two different questions.

Alive: every loop of the process turned recently; else the process hangs and should be restarted.
Ready: the dependencies answered recently; a broken dependency must not get every replica killed.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import generate_latest

from andon_chassis.clock import Clock
from andon_chassis.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Report:
    """Answer to a probe: `ok`, and what each part says."""

    ok: bool
    parts: dict[str, str]

    def body(self) -> bytes:
        return json.dumps({"ok": self.ok, "parts": self.parts}).encode()


class Health:
    """Collects heartbeats of loops and answers of dependencies (safe among threads)."""

    def __init__(self, clock: Clock, *, alive_within_s: float = 180.0, probe_every_s: float = 2.0) -> None:
        self._clock = clock
        self._alive_within_s = alive_within_s
        self._probe_every_s = probe_every_s
        self._beats: dict[str, float] = {}
        self._probes: dict[str, Callable[[], None]] = {}
        self._answers: dict[str, tuple[float, str]] = {}
        self._waiting: dict[str, str] = {}
        self._spared: set[str] = set()
        self._lock = threading.Lock()

    def beat(self, loop: str) -> None:
        """This loop has just turned."""
        self._beats[loop] = self._clock.monotonic()

    def forget(self, loop: str) -> None:
        """This loop has ended on purpose."""
        self._beats.pop(loop, None)

    def depends_on(self, name: str, probe: Callable[[], None]) -> None:
        """Ask `probe` for readiness; it raises Unavailable when the dependency is away."""
        self._probes[name] = probe

    def goes_on_without(self, name: str) -> None:
        """This dependency is still asked and shown, but the service does its work while it is away."""
        self._spared.add(name)

    def not_ready(self, part: str, why: str) -> None:
        """Not ready until `ready(part)` is called."""
        self._waiting[part] = why

    def ready(self, part: str) -> None:
        self._waiting.pop(part, None)

    def ages(self) -> dict[str, float]:
        """Seconds since each loop last turned."""
        now = self._clock.monotonic()
        return {loop: now - beat for loop, beat in list(self._beats.items())}

    def alive(self) -> Report:
        ages = self.ages()
        ok = all(age <= self._alive_within_s for age in ages.values())
        return Report(ok, {loop: f"turned {age:.1f} s ago" for loop, age in ages.items()})

    def is_ready(self) -> Report:
        """Probes run at most every few seconds, however often they are asked for."""
        parts: dict[str, str] = dict(self._waiting)
        ok = not parts
        with self._lock:
            for name, probe in self._probes.items():
                asked, answer = self._answers.get(name, (float("-inf"), ""))
                if self._clock.monotonic() - asked > self._probe_every_s:
                    try:
                        probe()
                        answer = ""
                    except Unavailable as error:
                        answer = str(error)
                    self._answers[name] = self._clock.monotonic(), answer
                parts[name] = answer or "answers"
                ok = ok and (not answer or name in self._spared)
        return Report(ok, parts)


def answer(health: Health, path: str) -> tuple[int, str, bytes]:
    """Status, content type and body for a probe's path; the one place both HTTP servers ask."""
    if path == "/metrics":
        return 200, "text/plain; version=0.0.4", generate_latest()
    if path not in {"/healthz", "/readyz"}:
        return 404, "text/plain", b"Try /healthz, /readyz or /metrics.\n"
    report = health.alive() if path == "/healthz" else health.is_ready()
    return (200 if report.ok else 503), "application/json", report.body()


def serve(health: Health, host: str, port: int) -> ThreadingHTTPServer:
    """A small probe server in a thread, for services without an API of their own."""

    class Probe(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body = answer(health, self.path.split("?")[0])
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Probes are not worth a log line."""

    server = ThreadingHTTPServer((host, port), Probe)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="probes", daemon=True).start()
    return server

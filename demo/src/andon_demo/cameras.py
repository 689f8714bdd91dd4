"""The cameras: replay the script over real HTTP, several uploads at once, and write down every answer."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx

from andon_demo.pictures import upload_of
from andon_demo.scenario import Plan, Play, Shot

GIVE_UP_S = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What capture-ingest said about one shot.

    Attributes:
        status: HTTP status; 0 when no final answer came.
        capture_id: For a capture that is recorded, now or before.
        reason: Why it was refused.
        seconds: From sending to the answer.
    """

    shot: Shot
    status: int
    capture_id: str | None
    reason: str | None
    seconds: float


def accepted_in(answers: Sequence[Answer]) -> Counter[str]:
    """capture_ids that were newly recorded, and how often each was said to be new.

    When a 201 is lost on its way the camera asks again and is told 200, recorded before. Nobody else was told 201
    then, so that 200 stands for it: the image was taken in, once.
    """
    said = Counter(a.capture_id for a in answers if a.status == 201 and a.capture_id)
    lost = {a.capture_id for a in answers if a.status == 200 and a.capture_id} - set(said)
    return said + Counter(lost)


@dataclass(slots=True)
class Answers:
    """All answers so far; thread-safe by its lock."""

    all: list[Answer] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, answer: Answer) -> None:
        with self.lock:
            self.all.append(answer)

    def snapshot(self) -> list[Answer]:
        with self.lock:
            return list(self.all)

    def accepted(self) -> Counter[str]:
        """As `accepted_in`, of all answers so far."""
        return accepted_in(self.snapshot())

    def refused(self) -> Counter[str]:
        return Counter(a.reason or f"http-{a.status}" for a in self.snapshot() if 400 <= a.status < 500)

    def unanswered(self) -> int:
        return sum(a.status == 0 for a in self.snapshot())


class Cameras:
    """Sends the shots of a plan in order, `parallel` at a time.

    Args:
        ingest_url: Base URL of capture-ingest.
        rate: Images a second; None: as fast as captures are decided.
        may_send: Asked before each shot; waits until the plant has room for one more.
    """

    def __init__(
        self, ingest_url: str, *, parallel: int, rate: float | None, may_send: Callable[[], None]
    ) -> None:
        self.answers = Answers()
        self._url = f"{ingest_url}/v1/captures"
        self._parallel = parallel
        self._rate = rate
        self._may_send = may_send
        self._http = httpx.Client(
            timeout=httpx.Timeout(20.0),
            limits=httpx.Limits(max_connections=parallel, max_keepalive_connections=parallel),
        )
        self.sent = 0
        self.first_at: float | None = None
        self.last_at: float | None = None

    def replay(self, plan: Plan, before: Callable[[Shot], None]) -> None:
        """Send everything; `before` is called with each shot just before it is sent."""
        done: dict[int, Future[None]] = {}
        start = time.monotonic()
        with ThreadPoolExecutor(self._parallel, thread_name_prefix="camera") as pool:
            room = threading.Semaphore(2 * self._parallel)
            for shot in plan.shots:
                before(shot)
                if self._rate:
                    _until(start + shot.number / self._rate)
                self._may_send()
                room.acquire()
                original = done.get(shot.repeats) if shot.repeats is not None else None
                future = pool.submit(self._send, shot, original)
                future.add_done_callback(lambda _: room.release())
                done[shot.number] = future
                self.sent += 1
        for future in done.values():
            future.result()
        self._http.close()

    def _send(self, shot: Shot, original: Future[None] | None) -> None:
        if original is not None and shot.play is not Play.RETRY:
            # A twin comes after its original by definition; a retry may well overtake it.
            original.result()
        data, media_type = upload_of(shot)
        headers = {
            "content-type": media_type,
            "andon-metadata": json.dumps(
                dict(shot.metadata)
                | {
                    "trigger_id": shot.trigger_id,
                    "captured_at": datetime.now(UTC).isoformat(timespec="microseconds"),
                }
            ),
        }
        began = time.monotonic()
        if self.first_at is None:
            self.first_at = began
        response = self._post(data, headers, began + GIVE_UP_S)
        self.last_at = time.monotonic()
        status, body = (0, {}) if response is None else (response.status_code, _json(response))
        self.answers.add(
            Answer(
                shot=shot,
                status=status,
                capture_id=body.get("capture_id") if status in (200, 201) else None,
                reason=body.get("title"),
                seconds=time.monotonic() - began,
            )
        )

    def _post(self, data: bytes, headers: dict[str, str], give_up_at: float) -> httpx.Response | None:
        """As an edge agent does it: the same upload again until there is a final answer."""
        pause = 0.1
        while True:
            try:
                response = self._http.post(self._url, content=data, headers=headers)
                if response.status_code < 500 and response.status_code != 429:
                    return response
            except httpx.HTTPError:
                response = None
            if time.monotonic() + pause > give_up_at:
                return None
            time.sleep(pause)
            pause = min(2.0, pause * 2)


def _json(response: httpx.Response) -> dict[str, str]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _until(moment: float) -> None:
    left = moment - time.monotonic()
    if left > 0:
        time.sleep(left)

"""A camera that costs little: it shares the two cores with what it measures.

Requests made by hand on raw sockets, images read once, one connection for each thread.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import cycle
from urllib.parse import urlsplit
from zlib import crc32

from andon_vision.sources import SourceImage

METADATA = (
    '{"line": "%s", "station": "%s", "camera": "bench", "part_number": "solar-cell", "part_id": "bench-%d", '
    '"product_variant": "poly", "batch": "b1", "shift": "day", "trigger_id": "bench-%d", "captured_at": "%s"}'
)
END = 12
"""Bytes of a PNG's last chunk."""
STATIONS = (("line-a", "cell-1"), ("line-a", "cell-2"), ("line-b", "cell-1"), ("line-b", "cell-2"))


class Load:
    """Sends images as captures of four stations.

    Image i always goes to the same station, so that a station sees its like again only after hundreds of others. Each
    is a file of its own, as from a camera: the store never sees the same bytes twice.

    Args:
        images: PNG.
    """

    def __init__(self, ingest_url: str, images: Sequence[bytes], threads: int = 16) -> None:
        self._address = urlsplit(ingest_url).netloc
        self._images = images[: len(images) // len(STATIONS) * len(STATIONS)]
        self._head = f"POST /v1/captures HTTP/1.1\r\nHost: {self._address}\r\nContent-Type: image/png\r\n"
        self._threads = threads
        self._local = threading.local()
        self.number = 0

    def send(
        self, count: int, *, per_s: float | None = None, may_send: Callable[[int], None] = lambda n: None
    ) -> float:
        """Send captures, evenly at `per_s` or as fast as `may_send` lets them; gives the start (monotonic)."""
        start = time.monotonic()
        room = threading.Semaphore(2 * self._threads)
        with ThreadPoolExecutor(self._threads, thread_name_prefix="camera") as pool:
            futures = []
            for n in range(count):
                if per_s:
                    time.sleep(max(0.0, start + n / per_s - time.monotonic()))
                may_send(n)
                room.acquire()
                future = pool.submit(self._one, self.number)
                future.add_done_callback(lambda _: room.release())
                futures.append(future)
                self.number += 1
            for future in futures:
                future.result()
        return start

    def _one(self, number: int) -> None:
        line, station = STATIONS[number % len(STATIONS)]
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        metadata = METADATA % (line, station, number, number, now)
        image = numbered(self._images[number % len(self._images)], number)
        head = f"{self._head}Content-Length: {len(image)}\r\nAndon-Metadata: {metadata}\r\n\r\n"
        request = head.encode() + image
        status, body = self._exchange(request)
        if not status:  # the server has closed a connection that was idle for some seconds
            self._local.answers = None
            status, body = self._exchange(request)
        if b" 201 " not in status:
            raise RuntimeError(f"capture-ingest answered {status!r}: {body[:300]!r}")

    def _exchange(self, request: bytes) -> tuple[bytes, bytes]:
        """Status line and body of the answer; nothing where the connection had been closed."""
        answers = getattr(self._local, "answers", None)
        if answers is None:
            host, _, port = self._address.rpartition(":")
            self._local.line = socket.create_connection((host, int(port)), timeout=60)
            answers = self._local.answers = self._local.line.makefile("rb")
        try:
            self._local.line.sendall(request)
            status, length = answers.readline(), 0
        except ConnectionError:
            return b"", b""
        while status and (header := answers.readline()) != b"\r\n":
            if header.lower().startswith(b"content-length:"):
                length = int(header.split(b":")[1])
        return status, answers.read(length)


def under_control(images: Sequence[SourceImage]) -> list[bytes]:
    """What a line sends whose process is under control: one defective part in ten, where ELPV has one in three."""
    good = [image for image in images if not image.is_defect]
    defective = cycle(image for image in images if image.is_defect)
    return [(next(defective) if n % 10 == 9 else image).read() for n, image in enumerate(good)]


def numbered(png: bytes, number: int) -> bytes:
    """The same picture with a number in its comment."""
    text = b"tEXtComment\0" + str(number).encode()
    chunk = (len(text) - 4).to_bytes(4, "big") + text + crc32(text).to_bytes(4, "big")
    return png[:-END] + chunk + png[-END:]

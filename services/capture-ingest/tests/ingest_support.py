"""An admission on in-memory twins, and images that need no file."""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from andon_chassis.clock import FakeClock, SystemClock
from andon_chassis.consuming import Batching
from andon_chassis.health import Health
from andon_chassis.objects import MemoryObjectStore
from andon_vision import DecodeLimits
from capture_ingest.adapters.memory import MemoryLedger
from capture_ingest.handlers import Admission, AdmissionSettings
from capture_ingest.ports import StationDefaults

LIMITS = DecodeLimits(max_bytes=200_000, max_pixels=1_000_000)


def png(seed: int = 0, width: int = 8, height: int = 8) -> bytes:
    """A grey PNG; another seed gives another image."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes((seed * 31 + x * 7 + y) % 256 for x in range(width)) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def bomb() -> bytes:
    """A small file that claims 900 million pixels."""
    image = png()
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    start = 8
    ihdr = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return image[:start] + ihdr + image[start + len(ihdr) :]


def metadata(trigger: str | None = None, **said: Any) -> dict[str, Any]:
    """Metadata of a well-behaved camera."""
    return {
        "line": "L1",
        "station": "S1",
        "camera": "cam-1",
        "part_number": "P-1",
        "product_variant": "poly",
        "batch": "B7",
        "shift": "early",
        "origin": "production",
        "capture_standard_version": "cs-1",
        **({} if trigger is None else {"trigger_id": trigger}),
        **said,
    }


class Plant:
    """An admission whose stores can be looked at."""

    def __init__(self, store: MemoryObjectStore, ledger: Any, settings: AdmissionSettings) -> None:
        self.store = store
        self.ledger = ledger
        self.stations: dict[tuple[str, str], StationDefaults] = {}
        self.clock = FakeClock()
        self.health = Health(SystemClock())
        self.admission = Admission(
            source="capture-ingest",
            objects=store,
            ledger=ledger,
            station_of=lambda line, station: self.stations.get((line, station)),
            clock=self.clock,
            health=self.health,
            limits=LIMITS,
            settings=settings,
        )

    @property
    def recorded(self) -> list[Any]:
        """What was published, as records."""
        return [e.data for e in self.ledger.published]


@contextmanager
def plant(
    store: MemoryObjectStore | None = None, ledger: Any = None, linger_s: float = 0.001, most: int = 200
) -> Iterator[Plant]:
    """An admission that runs until the block ends."""
    made = Plant(
        store or MemoryObjectStore(), ledger or MemoryLedger(), AdmissionSettings(Batching(most, linger_s), 4)
    )
    stop = threading.Event()
    thread = threading.Thread(target=made.admission.run, args=(stop,))
    thread.start()
    while "admission" in made.health.is_ready().parts:
        threading.Event().wait(0.001)
    try:
        yield made
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()

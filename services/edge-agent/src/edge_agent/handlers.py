"""Taking images in, and handing them on.

`Intake.take` is the one way in; `Forwarder` the one way out. Between them lies the queue, and it alone says what the
agent has accepted: a process that dies at any line leaves either no trace of an image, and its sender was not answered,
or the whole of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog
from andon_chassis.clock import Clock
from andon_chassis.errors import Invalid, Unavailable
from andon_chassis.health import Health
from andon_chassis.retry import Backoff
from andon_vision import DecodeLimits, ImageRefused, inspect_image
from prometheus_client import Counter

from edge_agent.domain.decision import decide
from edge_agent.domain.metadata import MetadataError, Said, read
from edge_agent.ports import Full, Journal, Network, Plant, Queue, Record, Taken

log = structlog.get_logger()

DECISIONS = Counter("andon_edge_decisions_total", "Provisional decisions", ["line", "station", "kind"])
REFUSED = Counter("andon_edge_refused_total", "Images that were not taken", ["via", "reason"])
SENT = Counter("andon_edge_sent_total", "What came of sending an image", ["line", "station", "outcome"])

CONFLICT = "trigger-conflict"
PLANT = "plant"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a camera gets: the record with its decision; `created` is False when it had been taken before."""

    record: Record
    created: bool


class Intake:
    """Takes images from any thread.

    Args:
        defaults: Metadata of the box's station, for cameras that do not say them.
        accepted: Called after each image that was taken.
    """

    def __init__(
        self,
        *,
        queue: Queue,
        network: Network,
        journal: Journal,
        clock: Clock,
        limits: DecodeLimits,
        defaults: Mapping[str, str],
        accepted: Callable[[], None],
    ) -> None:
        self._queue = queue
        self._network = network
        self._journal = journal
        self._clock = clock
        self._limits = limits
        self._defaults = defaults
        self._accepted = accepted
        self._order = threading.Lock()
        self._wanted = 1

    def check_room(self) -> None:
        """For readiness. Raises Full while an image like the last one would not be taken."""
        self._queue.check_room(self._wanted)

    def take(self, data: bytes, said: object, *, via: str, traceparent: str | None = None) -> Receipt:
        """Decide, and keep. When it returns, the image is durable.

        Raises:
            Invalid: The plant would never take this image.
            Full: There is no room; nothing was taken.
            Unavailable: The disk fails; nothing is known to be taken, and sending again is safe.
        """
        try:
            return self._take(data, said, traceparent)
        except (MetadataError, ImageRefused) as error:
            REFUSED.labels(via, error.reason).inc()
            raise Invalid(error.reason, error.advice) from error
        except Invalid as error:
            REFUSED.labels(via, error.reason).inc()
            raise
        except Full:
            self._wanted = len(data)
            REFUSED.labels(via, "queue-full").inc()
            raise

    def _take(self, data: bytes, said: object, traceparent: str | None) -> Receipt:
        now = self._clock.now()
        metadata = read(said, self._defaults, now)
        header = inspect_image(data, self._limits)
        sha256 = hashlib.sha256(data).hexdigest()
        identity = metadata.identity(sha256)
        known = self._queue.find(metadata.line, metadata.station, identity)
        if known is not None:
            return Receipt(_same(known, sha256, metadata), created=False)
        self._queue.check_room(len(data))
        decision = decide(self._network.rules, self._network.score(data))
        taken = Taken(
            line=metadata.line,
            station=metadata.station,
            identity=identity,
            sha256=sha256,
            media_type=header.media_type,
            metadata=metadata.text,
            traceparent=_trace(traceparent),
            decision=json.dumps(decision.as_json()),
            taken_at=now.isoformat(),
            data=data,
        )
        # One at a time, so that the journal's lines have the queue's order and none is missing before its last.
        with self._order:
            record, created = self._queue.add(taken)
            if created:
                self._journal.write(record)
        if created:
            self._wanted = 1
            DECISIONS.labels(metadata.line, metadata.station, decision.kind).inc()
            self._accepted()
        return Receipt(_same(record, sha256, metadata), created)


def _same(record: Record, sha256: str, metadata: Said) -> Record:
    """The record, when it is of this very image. Raises Invalid."""
    if record.sha256 != sha256:
        advice = (
            f"Trigger {metadata.trigger_id} of this station has another image, which stays. "
            "Give each trigger an id of its own."
        )
        raise Invalid(CONFLICT, advice)
    return record


def _trace(traceparent: str | None) -> str:
    """The camera's trace, or a new one: it joins the agent's record and the plant's."""
    parts = (traceparent or "").split("-")
    if traceparent and len(parts) == 4 and [len(part) for part in parts] == [2, 32, 16, 2]:
        return traceparent
    return f"00-{os.urandom(16).hex()}-{os.urandom(8).hex()}-01"


@dataclass(slots=True)
class _Station:
    """When a station's oldest image is sent again."""

    backoff: Backoff
    due: float = 0.0


class Forwarder:
    """Sends the oldest image of each station until the plant has it, then the next.

    A station whose image gets no good answer waits with it; the others go on.

    Args:
        longest_pause_s: Most seconds between two attempts.
    """

    def __init__(
        self, queue: Queue, plant: Plant, clock: Clock, health: Health, *, longest_pause_s: float = 15.0
    ) -> None:
        self._queue = queue
        self._plant = plant
        self._clock = clock
        self._health = health
        self._longest_pause_s = longest_pause_s
        self._stations: dict[tuple[str, str], _Station] = {}
        self._wake = threading.Event()
        self._trouble = ""

    def wake(self) -> None:
        """There is something new to send, or it is time to stop."""
        self._wake.set()

    def probe(self) -> None:
        """For readiness. Raises Unavailable when the last attempt found no plant."""
        if self._trouble:
            raise Unavailable(PLANT, self._trouble)

    def run(self, stop: threading.Event) -> None:
        """Send until stopped; what is being sent is finished."""
        while not stop.is_set():
            self._health.beat("forwarder")
            self._wake.clear()
            if not self.turn():
                self._wake.wait(self._pause())
        self._health.forget("forwarder")

    def turn(self) -> int:
        """One look at every station; gives the number of images that left the queue."""
        try:
            heads = self._queue.heads()
            return sum(self._try(head) for head in heads if self._is_due(head))
        except (Unavailable, Full) as error:  # the disk, not the plant; deleting needs a little room as well
            log.error("queue.unavailable", detail=str(error))
            return 0

    def _station(self, head: Record) -> _Station:
        key = head.line, head.station
        return self._stations.setdefault(key, _Station(Backoff(0.2, self._longest_pause_s)))

    def _is_due(self, head: Record) -> bool:
        return self._clock.monotonic() >= self._station(head).due

    def _pause(self) -> float:
        """Until the next station is due; commands of other processes are noticed within a second."""
        now = self._clock.monotonic()
        dues = [station.due - now for station in self._stations.values() if station.due > now]
        return min([1.0, *dues])

    def _try(self, head: Record) -> bool:
        """Send one image; True when its station may send the next."""
        station = self._station(head)
        data = self._queue.image(head.seq)
        if data is None:
            return False  # a person took it out meanwhile
        try:
            answer = self._plant.send(head, _whole(head, data))
        except Invalid as error:
            self._set_aside(head, error)
        except Unavailable as error:
            self._wait(head, station, error)
            return False
        else:
            # Dying here, or when the disk fails: it is sent again, and the plant knows it by its identity.
            self._queue.delivered(head.seq, answer)
            SENT.labels(head.line, head.station, "delivered").inc()
        station.backoff.reset()
        station.due = 0.0
        if self._trouble:
            log.info("plant.available")
        self._trouble = ""
        return True

    def _set_aside(self, head: Record, error: Invalid) -> None:
        self._queue.set_aside(head.seq, {"reason": error.reason, "advice": error.advice})
        SENT.labels(head.line, head.station, "set-aside").inc()
        log.error(
            "capture.set-aside", seq=head.seq, station=head.station, reason=error.reason, advice=error.advice
        )

    def _wait(self, head: Record, station: _Station, error: Unavailable) -> None:
        pause = station.backoff.delay()
        station.due = self._clock.monotonic() + pause
        SENT.labels(head.line, head.station, "unavailable").inc()
        if error.detail != self._trouble:  # once, not at every attempt of a long night
            log.warning("plant.unavailable", seq=head.seq, station=head.station, detail=error.detail)
        self._trouble = error.detail


def _whole(head: Record, data: bytes) -> bytes:
    """The bytes as they were taken. Raises Invalid when the disk gives others: they are no evidence."""
    if hashlib.sha256(data).hexdigest() != head.sha256:
        raise Invalid("damaged-on-disk", "The disk gave back other bytes than were written; replace it.")
    return data

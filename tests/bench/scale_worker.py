"""One member of the bus path: audit and a model that costs nothing, each a stream step of the chassis.

    python tests/bench/scale_worker.py BOOTSTRAP REGISTRY PREFIX INSTANCE

Runs until it is told to stop (SIGTERM).
"""

from __future__ import annotations

import signal
import sys
import threading
from datetime import UTC, datetime
from typing import Any

from andon_chassis.bus.kafka import KafkaBus
from andon_chassis.bus.namespaced import Namespaced
from andon_chassis.clock import SystemClock
from andon_chassis.codec import Codec, HttpSchemaRegistry
from andon_chassis.events import Event, event
from andon_chassis.stream import StreamStep, each
from andon_chassis.testing import stream_step
from andon_events import records as r


def audit(e: Event[r.CaptureRecorded]) -> list[Event[Any]]:
    """Accept."""
    d = e.data
    made = r.CaptureAudited(
        capture_id=d.capture_id,
        context=d.context,
        image=d.image,
        verdict="accepted",
        audited_at=datetime.now(UTC),
        captured_at=d.captured_at,
        received_at=d.received_at,
    )
    return [event(made, source="audit", key=e.key, time=e.time, cause=e.id)]


def infer(e: Event[r.CaptureAudited]) -> list[Event[Any]]:
    """A model that knows without looking."""
    d = e.data
    made = r.InferenceCompleted(
        capture_id=d.capture_id,
        context=d.context,
        image=d.image,
        status="scored",
        release="stub",
        predicted_class="good",
        defect_score=0.01,
        completed_at=datetime.now(UTC),
        captured_at=d.captured_at,
        received_at=d.received_at,
    )
    return [event(made, source="inference", key=e.key, time=e.time, cause=e.id)]


def main() -> None:
    bootstrap, registry, prefix, instance = sys.argv[1:]
    bus, codec = Namespaced(KafkaBus(bootstrap), prefix), Codec(HttpSchemaRegistry(registry))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    def run(service: str, topic: str, rule: Any) -> None:
        step: StreamStep = stream_step(
            bus, codec, service, [topic], each(rule), clock=SystemClock(), instance=instance, batch_most=200
        )
        while not stop.is_set():
            step.turn(0.1)
        step.close()

    steps = [("audit", "capture.recorded", audit), ("inference", "capture.audited", infer)]
    threads = [threading.Thread(target=run, args=arguments) for arguments in steps]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()

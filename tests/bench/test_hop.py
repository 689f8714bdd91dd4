"""A stream step of the chassis against a bare exactly-once loop, FastStream and Faust: build/bench/hop.json."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

from andon_chassis.bus.kafka import KafkaBus
from andon_chassis.bus.namespaced import Namespaced
from andon_chassis.codec import Codec, HttpSchemaRegistry
from andon_chassis.testing import capture_recorded, publish
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from .figures import at_least, write

ENGINES = Path(__file__).with_name("hop_engines.py")
EVENTS = 20_000
BATCH = 200
ROUNDS = 3


def one_round(kafka: str, registry: str, engine: str) -> dict[str, float]:
    """Fresh topics, the same events, one engine."""
    prefix = f"hop{uuid.uuid4().hex[:8]}."
    admin = AdminClient({"bootstrap.servers": kafka})
    names = [prefix + t for t in ("capture.recorded", "capture.audited", "chassis.dead-letter")]
    for future in admin.create_topics([NewTopic(n, 1, 1) for n in names]).values():
        future.result(20)
    bus, codec = Namespaced(KafkaBus(kafka), prefix), Codec(HttpSchemaRegistry(registry))
    captures = [capture_recorded(str(n), part_number="cell", batch="b1") for n in range(EVENTS)]
    for start in range(0, EVENTS, 5_000):
        publish(bus, codec, captures[start : start + 5_000])
    done = subprocess.run(
        [sys.executable, str(ENGINES), engine, kafka, registry, prefix, str(EVENTS), str(BATCH)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    lines = re.findall(r"\{.*\}", done.stdout)
    assert lines, f"{engine} gave no figure:\n{done.stdout}\n{done.stderr[-3000:]}"
    for future in admin.delete_topics(names).values():
        future.result(20)
    measured: dict[str, float] = json.loads(lines[-1])
    return {
        "events_per_s": EVENTS / measured["seconds"],
        "cpu_us_per_event": 1e6 * measured["cpu_seconds"] / EVENTS,
    }


def test_hop(infra: Any) -> None:
    best: dict[str, dict[str, float]] = {}
    for _ in range(ROUNDS):
        for engine in ("bare", "chassis", "faststream", "faust"):
            figures = one_round(infra.kafka, infra.registry, engine)
            if engine not in best or figures["events_per_s"] > best[engine]["events_per_s"]:
                best[engine] = figures
    speed = {engine: figures["events_per_s"] for engine, figures in best.items()}
    ratios = {f"ratio_to_{peer}": speed["chassis"] / speed[peer] for peer in ("bare", "faststream", "faust")}
    write(
        "hop",
        {
            "events": EVENTS,
            "batch": BATCH,
            "rounds": ROUNDS,
            "engines": best,
            **ratios,
        },
        {
            "ratio to a bare loop": at_least(ratios["ratio_to_bare"], 0.7),
            "ratio to FastStream": at_least(ratios["ratio_to_faststream"], 1.0),
            "ratio to Faust": at_least(ratios["ratio_to_faust"], 1.0),
        },
    )

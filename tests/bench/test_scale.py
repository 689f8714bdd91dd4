"""The bus path with 1, 2 and 4 partitions and consumers, the model a stub that costs nothing: build/bench/scale.json.

The path is capture.recorded -> audit -> capture.audited -> stub -> inference.completed. On two cores, where the broker
runs as well, four consumers cannot be four times as fast: the figure says where the curve bends.
"""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from andon_chassis.bus.kafka import KafkaBus
from andon_chassis.bus.namespaced import Namespaced
from andon_chassis.codec import Codec, HttpSchemaRegistry
from andon_chassis.testing import capture_recorded, publish
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from .figures import write

WORKER = Path(__file__).with_name("scale_worker.py")
TOPICS = (
    "capture.recorded",
    "capture.audited",
    "inference.completed",
    "audit.dead-letter",
    "inference.dead-letter",
)
EVENTS = 12_000
PATIENCE_S = 240


def throughput(kafka: str, registry: str, width: int) -> float:
    """Events a second through the whole path with `width` partitions and consumers."""
    prefix = f"scale{uuid.uuid4().hex[:8]}."
    admin = AdminClient({"bootstrap.servers": kafka})
    names = [prefix + t for t in TOPICS]
    for future in admin.create_topics([NewTopic(n, width, 1) for n in names]).values():
        future.result(20)
    bus, codec = Namespaced(KafkaBus(kafka), prefix), Codec(HttpSchemaRegistry(registry))
    command = [sys.executable, str(WORKER), kafka, registry, prefix]
    workers = [subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE, text=True) for n in range(width)]
    try:
        follower = bus.follower(["inference.completed"])
        _wait_for_members(admin, [prefix + "audit", prefix + "inference"], width)
        _through(bus, codec, follower, 256, "warm-up")  # everybody has met the registry
        started = time.perf_counter()
        _through(bus, codec, follower, EVENTS, "measured")
        seconds = time.perf_counter() - started
        follower.close()
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(30)
        for future in admin.delete_topics(names).values():
            future.result(20)
    return EVENTS / seconds


def _wait_for_members(admin: AdminClient, groups: list[str], width: int) -> None:
    """Until every worker has its share: a rebalance is not what is measured here."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = [future.result(20) for future in admin.describe_consumer_groups(groups).values()]
        shares = [len(m.assignment.topic_partitions) for g in found for m in g.members if m.assignment]
        if len(shares) == 2 * width and min(shares) == 1:
            return
        assert time.monotonic() < deadline, f"{shares} instead of {width} members with a partition each"


def _through(bus: Namespaced, codec: Codec, follower: Any, count: int, name: str) -> None:
    publish(bus, codec, [capture_recorded(f"{name}-{n}", station=f"cell-{n % 64}") for n in range(count)])
    arrived, deadline = 0, time.monotonic() + PATIENCE_S
    while arrived < count:
        arrived += len(follower.poll(0.05))
        assert time.monotonic() < deadline, f"{name}: {arrived} of {count} came through"


def test_scale(infra: Any) -> None:
    figures = {str(width): throughput(infra.kafka, infra.registry, width) for width in (1, 2, 4)}
    write(
        "scale",
        {
            "events": EVENTS,
            "events_per_s_by_width": figures,
            "speedup_by_width": {width: rate / figures["1"] for width, rate in figures.items()},
        },
        {},
    )

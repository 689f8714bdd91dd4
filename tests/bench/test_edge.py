"""The edge agent with a release of the real size: start, memory and time for a decision: build/bench/edge.json."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import psutil

from .figures import at_most, write

STARTS, IMAGES = 5, 200
SIDE = 300
MB = 1e6


def plate(seed: int, scratched: bool) -> bytes:
    """A brushed metal plate, as large as a solar cell's image; `scratched` draws a dark line across it."""
    random = np.random.default_rng(seed)
    pixels = (140 + random.normal(0, 12, (SIDE, SIDE)) + random.normal(0, 20, (SIDE, 1))).astype(np.float32)
    if scratched:
        ends = random.integers(20, SIDE - 20, 2)
        cv2.line(pixels, (int(ends[0]), 10), (int(ends[1]), SIDE - 10), 10.0, 4)
    return bytes(cv2.imencode(".png", pixels.clip(0, 255).astype(np.uint8))[1].tobytes())


def large() -> bytes:
    """12 million pixels in colour, as a bigger camera sends them."""
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    return bytes(cv2.imencode(".jpg", cv2.resize(pixels, (4000, 3000)))[1].tobytes())


def trainer(*arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "trainer", *(str(argument) for argument in arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def real_release(home: Path) -> tuple[Path, Path]:
    """A release on the real backbone, of a few synthetic plates: its size counts, not what it knows."""
    for seed in range(48):
        folder = home / "plates" / ("scratch" if seed % 3 == 0 else "good")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{seed}.png").write_bytes(plate(seed, seed % 3 == 0))
    trainer("backbone", "--out", home)
    trainer("keys", "--out", home / "keys")
    given = ["--backbone", home / "backbone.onnx", "--key", home / "keys" / "release.key"]
    kept = ["--cache", home / "features.sqlite", "--out", home / "releases", "--release", "edge"]
    trainer("train", "--dataset", home / "plates", *given, *kept)
    (release,) = [path for path in (home / "releases").iterdir() if not path.name.startswith(".")]
    return release, home / "keys" / "release.pub"


class Box:
    """An agent in a process of its own; the plant is away, so that everything stays in its queue."""

    def __init__(self, home: Path, release: Path, key: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        environment = {
            **os.environ,
            "ANDON_BUNDLE": str(release),
            "ANDON_RELEASE_KEY": str(key),
            "ANDON_INGEST_URL": "http://127.0.0.1:9",
            "ANDON_STATE_DIR": str(home),
            "ANDON_HTTP_PORT": str(self.port),
            "ANDON_LINE": "L1",
            "ANDON_STATION": "S1",
        }
        started = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edge_agent"], env=environment, stderr=subprocess.DEVNULL
        )
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        self.first = self._first_decision()
        self.start_s = time.perf_counter() - started

    def _first_decision(self) -> dict[str, object]:
        data = plate(0, False)
        while True:
            try:
                return self.decide(data, "first")
            except ConnectionRefusedError:
                assert self.process.poll() is None
                self.connection.close()
                time.sleep(0.005)

    def decide(self, data: bytes, trigger: str) -> dict[str, object]:
        headers = {"Andon-Metadata": json.dumps({"trigger_id": trigger})}
        self.connection.request("POST", "/v1/captures", data, headers)
        answer = self.connection.getresponse()
        body: dict[str, object] = json.loads(answer.read())
        assert answer.status in (200, 201), body
        return body

    def memory_mb(self) -> dict[str, float]:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        return {"now": psutil.Process(self.process.pid).memory_info().rss / MB, "peak": peak * 1024 / MB}

    def stop(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.wait(30)


def test_edge(tmp_path: Path) -> None:
    release, key = real_release(tmp_path)
    starts = []
    for _ in range(STARTS):
        shutil.rmtree(tmp_path / "state", ignore_errors=True)
        box = Box(tmp_path / "state", release, key)
        starts.append(box.start_s)
        box.stop()
    box = Box(tmp_path / "state", release, key)
    try:
        images = [plate(seed, seed % 3 == 0) for seed in range(100, 100 + IMAGES)]
        times = []
        for number, data in enumerate(images):
            began = time.perf_counter()
            box.decide(data, str(number))
            times.append(time.perf_counter() - began)
        memory = box.memory_mb()
        box.decide(large(), "large")
        with_large = box.memory_mb()["peak"]
    finally:
        box.stop()
    start_s = statistics.median(starts)
    write(
        "edge",
        {
            "images": IMAGES,
            "image_px": f"{SIDE}x{SIDE}",
            "network_mb": (release / "model.onnx").stat().st_size / MB,
            "start_to_first_decision_s": {"median": start_s, "each": [round(each, 3) for each in starts]},
            "memory_mb": {**memory, "peak_after_a_12_megapixel_image": with_large},
            "decision_ms": {
                "median": 1e3 * statistics.median(times),
                "p99": 1e3 * statistics.quantiles(times, n=100)[98],
            },
        },
        {
            "start to the first decision, s": at_most(start_s, 2.0),
            "memory at its most, MB": at_most(memory["peak"], 300.0),
        },
    )

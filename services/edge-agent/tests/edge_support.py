"""A small signed release, a plant server that misbehaves on demand, and an agent in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx
from andon_vision import Preprocessing
from andon_vision.release_bundle import ReleaseBundle, load_private_key, make_keys, write_bundle
from edge_agent.domain.decision import Scored
from onnx import TensorProto, helper, numpy_helper

SIDE, CLASSES = 16, ("crack", "scratch", "stain")
PIXELS = SIDE * SIDE * 3


def network() -> bytes:
    """The defect score is the brightness, 0 to 1; the classes are a softmax of random weights. An image of nothing but
    white breaks it: its brightness is looked up in a table that ends before 255.
    """
    random = np.random.default_rng(3)
    constants = {
        "flat": np.array([0, PIXELS], np.int64),
        "axes": np.array([1], np.int64),
        "full": np.array(255.0, np.float32),
        "cells": np.array([0, 2, 8, 2, 8, 3], np.int64),
        "table": np.zeros(255, np.float32),
        "within": np.array([2, 4, 5], np.int64),
        "weights": random.normal(0, 0.02, (PIXELS, len(CLASSES))).astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["floats", "flat"], ["pixels"]),
        helper.make_node("MatMul", ["pixels", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["class_probabilities"], axis=1),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("Cast", ["mean"], ["brightness"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "brightness"], ["nothing"]),
        helper.make_node("Add", ["mean", "nothing"], ["checked"]),
        helper.make_node("Div", ["checked", "full"], ["defect_score"]),
        helper.make_node("Reshape", ["floats", "cells"], ["blocks"]),
        helper.make_node("ReduceMax", ["blocks", "within"], ["brightest"], keepdims=0),
        helper.make_node("Cast", ["brightest"], ["heat_map"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])],
        [
            helper.make_tensor_value_info("defect_score", TensorProto.FLOAT, ["batch"]),
            helper.make_tensor_value_info("class_probabilities", TensorProto.FLOAT, ["batch", len(CLASSES)]),
            helper.make_tensor_value_info("heat_map", TensorProto.UINT8, ["batch", 2, 2]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@dataclass(frozen=True)
class Release:
    """A signed bundle on the disk."""

    folder: Path
    public_key: Path

    @property
    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}


def make_release(home: Path, name: str = "edge", model: bytes | None = None) -> Release:
    """A release signed by the key pair in `home`."""
    private, public = make_keys(home / "keys")
    description = {
        "task": "classification",
        "classes": list(CLASSES),
        "preprocessing": {"width": SIDE, "height": SIDE, "fit": "stretch", "interpolation": "area"},
        "thresholds": {"pass_below": 0.25, "reject_from": 0.75},
        "trained_at": "2026-01-01T00:00:00+00:00",
    }
    files = {"model.onnx": network() if model is None else model}
    write_bundle(home / name, name, description, files, load_private_key(private))
    return Release(home / name, public)


def png(brightness: int = 0, seed: int = 0, side: int = 24) -> bytes:
    """A grey image of about this brightness; another seed gives another image."""
    random = np.random.default_rng(seed)
    grey = np.clip(brightness + random.integers(-3, 4, (side, side)), 0, 255).astype(np.uint8)
    return encoded(grey)


def encoded(pixels: npt.NDArray[Any], suffix: str = ".png") -> bytes:
    return bytes(cv2.imencode(suffix, pixels)[1].tobytes())


def bomb() -> bytes:
    """A small file that claims 900 million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


class StubNetwork:
    """Scores every image the same, and counts."""

    rules = ReleaseBundle("stub-1", Preprocessing(8, 8), CLASSES, 0.0, 1.1, {})
    """Uncertain whatever the score."""

    def __init__(self) -> None:
        self.asked = 0

    def score(self, data: bytes) -> Scored:
        self.asked += 1
        return Scored(0.5, (0.2, 0.3, 0.5), None)


# --- a plant server ---


@dataclass
class FakePlant:
    """Behaves as capture-ingest does, or as `mode()` says: ok, away, 500, lose (takes the image, the answer is lost),
    portal (somebody else answers 200), refuse (409), proxy (413 of somebody else).
    """

    mode: Callable[[str], str] = lambda station: "ok"
    stored: dict[tuple[str, str, str], bytes] = field(default_factory=dict)
    order: list[tuple[str, str, str]] = field(default_factory=list)
    """First arrivals."""
    again: int = 0
    metadata: list[dict[str, Any]] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)
    url: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, metadata: dict[str, Any], data: bytes, trace: str) -> tuple[int, dict[str, Any]]:
        import hashlib

        sha256 = hashlib.sha256(data).hexdigest()
        key = (metadata["line"], metadata["station"], metadata.get("trigger_id") or sha256)
        with self._lock:
            known = self.stored.get(key)
            if known is not None and known != data:
                return 409, problem("trigger-conflict", 409)
            if known is None:
                self.stored[key] = data
                self.order.append(key)
                self.metadata.append(metadata)
                self.traces.append(trace)
            else:
                self.again += 1
        body = {"capture_id": f"capture-{len(self.order)}", "sha256": sha256, "missing": [], "ignored": []}
        return (201 if known is None else 200), body


def problem(reason: str, status: int) -> dict[str, Any]:
    return {
        "type": f"urn:andonloop:problem:{reason}",
        "title": reason,
        "status": status,
        "detail": "a sentence",
    }


@contextmanager
def serving(plant: FakePlant) -> Iterator[FakePlant]:
    """The plant on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            metadata = json.loads(self.headers["Andon-Metadata"])
            mode = plant.mode(metadata["station"])
            if mode == "away":
                self.close_connection = True
                return
            data = self.rfile.read(int(self.headers["Content-Length"]))
            if mode == "500":
                self.answer(500, b"oops")
            elif mode == "portal":
                self.answer(200, b"<html>log in first</html>")
            elif mode == "proxy":
                self.answer(413, b"<html>too large</html>")
            elif mode == "refuse":
                self.answer(409, json.dumps(problem("trigger-conflict", 409)).encode())
            else:
                status, body = plant.take(metadata, data, self.headers["traceparent"])
                if mode == "lose":
                    self.close_connection = True
                    return
                self.answer(status, json.dumps(body).encode())

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    plant.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield plant
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


# --- an agent ---


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Reply:
    status: int
    body: dict[str, Any]


def ask(url: str, data: bytes | None = None, metadata: Mapping[str, Any] | None = None) -> Reply:
    """One request. Raises OSError when nobody answers."""
    headers = {"Content-Type": "image/png"}
    if metadata is not None:
        headers["Andon-Metadata"] = json.dumps(metadata)
    request = urllib.request.Request(url, data=data, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return Reply(answer.status, json.loads(answer.read()))
    except urllib.error.HTTPError as error:
        with error:
            return Reply(error.code, json.loads(error.read()))


@dataclass
class AgentProcess:
    """`python -m edge_agent` that can be killed and started again on the same state."""

    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.environment['ANDON_HTTP_PORT']}"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edge_agent"],
                env={**os.environ, **self.environment},
                stdout=log,
                stderr=log,
            )

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            assert self.process is not None and self.process.poll() is None, self.log.read_text()
            try:
                ask(f"{self.url}/healthz")
                return
            except OSError:
                time.sleep(0.02)
        raise AssertionError(f"not ready:\n{self.log.read_text()}")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(20)

    def stop(self) -> int:
        """As a supervisor does; gives the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def agent_process(home: Path, release: Release, plant_url: str, **settings: str) -> AgentProcess:
    """Not started yet."""
    environment = {
        "ANDON_BUNDLE": str(release.folder),
        "ANDON_RELEASE_KEY": str(release.public_key),
        "ANDON_INGEST_URL": plant_url,
        "ANDON_STATE_DIR": str(home / "state"),
        "ANDON_HTTP_PORT": str(free_port()),
        "ANDON_LINE": "L1",
        "ANDON_STATION": "S1",
        "ANDON_LONGEST_PAUSE_S": "0.5",
        "ANDON_MIN_FREE_MB": "0",
        **settings,
    }
    return AgentProcess(environment, home / "agent.log")


def eventually(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)

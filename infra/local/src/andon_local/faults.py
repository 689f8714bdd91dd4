"""Breaks the network between the services and the components on purpose, through toxiproxy's API."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


class Network:
    """The lines kafka, registry, postgres, minio and triton of an instance started behind proxies."""

    def __init__(self, api: str) -> None:
        self._api = api

    def cut(self, line: str) -> None:
        """Close all connections of a line and refuse new ones."""
        self._call("POST", f"/proxies/{line}", {"enabled": False})

    def mend(self, line: str) -> None:
        """Let connections through again and take away delays."""
        self._call("POST", f"/proxies/{line}", {"enabled": True})
        for toxic in self._call("GET", f"/proxies/{line}/toxics"):
            self._call("DELETE", f"/proxies/{line}/toxics/{toxic['name']}")

    def slow(self, line: str, latency_ms: int, jitter_ms: int = 0) -> None:
        """Delay what the component answers."""
        self._call(
            "POST",
            f"/proxies/{line}/toxics",
            {"type": "latency", "attributes": {"latency": latency_ms, "jitter": jitter_ms}},
        )

    def hang(self, line: str) -> None:
        """Keep connections open but let nothing through, as a switch does that lost its way."""
        for stream in ("upstream", "downstream"):
            toxic = {
                "name": f"hang_{stream}",
                "type": "timeout",
                "stream": stream,
                "attributes": {"timeout": 0},
            }
            self._call("POST", f"/proxies/{line}/toxics", toxic)

    @contextmanager
    def without(self, line: str) -> Iterator[None]:
        """The line is cut for the length of the block."""
        self.cut(line)
        try:
            yield
        finally:
            self.mend(line)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            self._api + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            text = answer.read()
        return json.loads(text) if text else None

"""Chooses the ports of an instance once and remembers them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

# Below the range from which the kernel picks the local end of outgoing connections: a component that is
# restarted must find its port free.
_LOWEST, _HIGHEST = 20_000, 31_999


class PortsTakenError(Exception):
    """A port that was asked for by name is in use."""


def choose(
    folder: Path, names: Iterable[str], *, remembered: Mapping[str, int], fixed: Mapping[str, int]
) -> dict[str, int]:
    """A port for each name: the fixed one, else the remembered one while it is free, else a new free one.

    ``folder`` seeds the choice, so that two checkouts on one machine look in different places.
    Raises PortsTakenError when a fixed port is in use.
    """
    seed = int.from_bytes(hashlib.sha256(str(folder).encode()).digest()[:8], "big")
    candidates = random.Random(seed)
    taken = _taken_by_neighbours(folder) | set(fixed.values())
    chosen: dict[str, int] = {}
    for name in names:
        wanted = fixed.get(name)
        if wanted is not None:
            if not is_free(wanted):
                raise PortsTakenError(f"port {wanted}, asked for as {name}, is in use")
            chosen[name] = wanted
            continue
        port = remembered.get(name)
        while port is None or port in taken or port in chosen.values() or not is_free(port):
            port = candidates.randint(_LOWEST, _HIGHEST)
            if port in remembered.values():
                port = None
        chosen[name] = port
    return chosen


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def from_environment() -> dict[str, int]:
    """Ports fixed by ``ANDON_PORT_<NAME>``: ``ANDON_PORT_KAFKA=9092``, ``ANDON_PORT_HTTP_CONSOLE=8080``."""
    prefix = "ANDON_PORT_"
    return {
        key.removeprefix(prefix).lower().replace("_", "-"): int(value)
        for key, value in os.environ.items()
        if key.startswith(prefix)
    }


def _taken_by_neighbours(folder: Path) -> set[int]:
    """Ports other instances of this checkout remember; they may be down just now."""
    ports: set[int] = set()
    for file in folder.parent.glob("*/endpoints.json"):
        if file.parent != folder:
            ports.update(json.loads(file.read_text())["ports"].values())
    return ports

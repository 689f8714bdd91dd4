"""A file of JSON lines, one for each decision, for programs beside the agent that cannot ask by HTTP.

It never holds an image up: it is a file, not a pipe that somebody must read, and it may fail. The queue's records are
the truth; after a crash the lines that are missing at the end are written from them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import structlog

from edge_agent.ports import Record

log = structlog.get_logger()

MOST_BYTES: Final = 20_000_000
_TAIL = 1 << 20


class JsonLines:
    """See `ports.Journal`. A file that has grown to `most_bytes` is put aside as `<name>.1`, in the place of the one
    before."""

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES) -> None:
        self._path = path
        self._aside = path.with_name(f"{path.name}.1")
        self._most_bytes = most_bytes

    def write(self, record: Record) -> None:
        """See `ports.Journal`."""
        self._append([record])

    def catch_up(self, records: Callable[[int], Iterable[Record]]) -> None:
        """Write what came after the last whole line; nothing where there is none."""
        last = _last(self._path) or _last(self._aside)
        if last is not None:
            self._append(records(last))

    def _append(self, records: Iterable[Record]) -> None:
        try:
            if self._path.exists() and self._path.stat().st_size >= self._most_bytes:
                self._path.replace(self._aside)
            with self._path.open("a+b") as file:
                if _is_torn(file.seek(0, os.SEEK_END), self._path):
                    file.write(b"\n")
                for record in records:
                    file.write(json.dumps(_line(record)).encode() + b"\n")
        except OSError as error:
            log.error("journal.unavailable", path=str(self._path), detail=str(error))


def _last(path: Path) -> int | None:
    """Number of the last whole line; None where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            lines = file.read().split(b"\n")
    except OSError:
        return None
    for line in reversed(lines[:-1]):
        try:
            return int(json.loads(line)["seq"])
        except (ValueError, KeyError, TypeError):
            continue  # a power cut tears lines
    return None


def _is_torn(size: int, path: Path) -> bool:
    """Whether the last line has no end."""
    if size == 0:
        return False
    with path.open("rb") as file:
        file.seek(size - 1)
        return file.read(1) != b"\n"


def _line(record: Record) -> dict[str, object]:
    """What is known when the decision is made."""
    return {name: value for name, value in record.as_json().items() if name not in ("state", "answer")}

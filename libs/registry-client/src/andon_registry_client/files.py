"""Files that are sent and received, piece by piece."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from uuid import uuid4

import httpx

Source = str | os.PathLike[str] | IO[bytes]
"""A file to send: its path, or a binary file that can be read twice, from its start."""
Target = str | os.PathLike[str] | IO[bytes]
"""Where to keep a file: a path, or a binary file that can be written twice."""


@dataclass(frozen=True)
class Received:
    """A file that was received.

    Attributes:
        unchanged: True where `if_none_match` names what there is: nothing was written.
    """

    size_bytes: int
    media_type: str
    etag: str | None
    headers: Mapping[str, str]
    unchanged: bool = False


@contextmanager
def opened(sent: tuple[str, Source] | None) -> Iterator[dict[str, tuple[str, IO[bytes]]] | None]:
    """A file for one attempt, from where the caller has it."""
    if sent is None:
        yield None
        return
    field, source = sent
    if isinstance(source, (str, os.PathLike)):
        with Path(source).open("rb") as file:
            yield {field: (Path(source).name, file)}
        return
    source.seek(0)
    yield {field: (Path(str(getattr(source, "name", "archive"))).name, source)}


def keep(answer: httpx.Response, to: Target) -> int:
    """Write an answer; gives its size in bytes. Nothing is written where the caller has it already."""
    if answer.status_code == 304:
        return 0
    if not isinstance(to, (str, os.PathLike)):
        start = to.tell()
        try:
            return _copy(answer, to)
        except httpx.TransportError:
            to.seek(start)
            to.truncate()
            raise
    path = Path(to)
    beside = path.with_name(f"{path.name}.{uuid4().hex[:8]}.part")
    try:
        with beside.open("wb") as file:
            size = _copy(answer, file)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return size


def _copy(answer: httpx.Response, file: IO[bytes]) -> int:
    size = 0
    for piece in answer.iter_bytes(1 << 16):
        size += file.write(piece)
    return size

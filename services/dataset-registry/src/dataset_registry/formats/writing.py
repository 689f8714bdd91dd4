"""Files on their way out: parts of an archive that is sent while it is made, the same bytes each time."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from pydantic_core import to_json

FIXED_TIME = (1980, 1, 1, 0, 0, 0)
_CHUNK = 1 << 16
_KEPT_AS_THEY_ARE = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


class Part(NamedTuple):
    """A piece of a file; pieces with the same name follow one another and are one file."""

    name: str
    data: bytes


class _Sink(io.RawIOBase):
    """What the archive has written and nobody has taken yet."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._held += data
        return len(data)

    def __len__(self) -> int:
        return len(self._held)

    def take(self) -> bytes:
        data = bytes(self._held)
        self._held.clear()
        return data


def zipped(parts: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """A zip file of these parts. The same parts give the same bytes: times are fixed, names come as they are given."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        name, member = None, None
        for part, data in parts:
            if member is None or part != name:
                if member is not None:
                    member.close()
                name, member = part, archive.open(_info(part), "w", force_zip64=True)
            member.write(data)
            if len(sink) >= _CHUNK:
                yield sink.take()
        if member is not None:
            member.close()
    yield sink.take()


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, FIXED_TIME)
    info.compress_type = (
        zipfile.ZIP_STORED if name.lower().endswith(_KEPT_AS_THEY_ARE) else zipfile.ZIP_DEFLATED
    )
    info.external_attr = 0o644 << 16
    info.create_system = 3
    return info


def as_json(value: Any) -> bytes:
    """Compact JSON, keys in the order in which they are given."""
    return to_json(value)


def stem(name: str) -> str:
    """The name without its suffix, folders kept."""
    return str(PurePosixPath(name).with_suffix("")) if PurePosixPath(name).suffix else name


def plain(value: float) -> float | int:
    """A whole number without its fraction: shorter, and what other readers wrote themselves."""
    return int(value) if value == int(value) and abs(value) < 1e15 else value

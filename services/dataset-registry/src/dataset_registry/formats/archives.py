"""Archives and folders from strangers, opened so that they can do no harm.

Nothing of a zip file is unpacked: members are read where they lie. A tar file has no index, so its plain files go to a
folder of our own. No name is followed that leads out of the archive, no link at all, and nothing that would grow beyond
its limits.
"""

from __future__ import annotations

import gzip
import lzma
import os
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from dataset_registry.domain.interchange import Place, Unreadable, unreadable
from dataset_registry.formats.trees import DAMAGED, Tree, truncated

_DRIVE = re.compile(r"^[A-Za-z]:")
_GROWS = "it would unpack to many times its size, as only a bomb does; pack it again from its files"


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may cost.

    Attributes:
        members: Files in it.
        member_bytes: One file, unpacked.
        total_bytes: All of them.
        ratio: How many times larger a file may get, once it is larger than `ratio_from_bytes`.
    """

    members: int = 2_000_000
    member_bytes: int = 2 << 30
    total_bytes: int = 16 << 30
    ratio: int = 200
    ratio_from_bytes: int = 16 << 20


@contextmanager
def opened(path: Path, limits: Limits = Limits(), name: str | None = None) -> Iterator[Tree]:
    """A folder, a zip or tar file, or a single annotation file as a tree of one. Raises Unreadable.

    Args:
        name: What the person calls it.
    """
    called = name or path.name
    if path.is_dir():
        yield _Folder(path, called, limits)
    elif zipfile.is_zipfile(path):
        with _zip(path, called) as archive:
            yield _Zip(archive, called, limits)
    elif _starts_like_an_archive(path):
        with tempfile.TemporaryDirectory() as folder:
            _untar(path, Path(folder), called, limits)
            yield _Folder(Path(folder), called, limits)
    else:
        yield _Single(path, called)


class _Folder:
    def __init__(self, root: Path, called: str, limits: Limits) -> None:
        self._root = root
        self._sizes: dict[str, int] = {}
        budget = _Budget(called, limits)
        for folder, _, files in os.walk(root):
            for file in files:
                path = Path(folder, file)
                name = path.relative_to(root).as_posix()
                if path.is_symlink() or not path.is_file():
                    raise _link(name)
                self._sizes[name] = path.stat().st_size
                budget.take(name, self._sizes[name], None)
        self.names = sorted(self._sizes)

    def size(self, name: str) -> int:
        return self._sizes[name]

    def open(self, name: str) -> IO[bytes]:
        return (self._root / name).open("rb")


class _Single:
    def __init__(self, path: Path, called: str) -> None:
        self._path = path
        self.names = [called]

    def size(self, name: str) -> int:
        return self._path.stat().st_size

    def open(self, name: str) -> IO[bytes]:
        return self._path.open("rb")


class _Zip:
    def __init__(self, archive: zipfile.ZipFile, called: str, limits: Limits) -> None:
        self._archive = archive
        self._members: dict[str, zipfile.ZipInfo] = {}
        budget = _Budget(called, limits)
        for member in archive.infolist():
            # Names are looked at as they were written: the library would quietly cut or turn some of them.
            name = _safe(member.orig_filename)
            if member.is_dir() or _left_by_a_desktop(name):
                continue
            if stat.S_ISLNK(member.external_attr >> 16):
                raise _link(name)
            if member.flag_bits & 0x1:
                raise unreadable(Place(name), "encrypted", "The archive has a password; pack it without one.")
            if name in self._members:
                raise unreadable(Place(name), "duplicate-file", "The archive has it twice; pack it once.")
            budget.take(name, member.file_size, member.compress_size)
            self._members[name] = member
        self.names = sorted(self._members)

    def size(self, name: str) -> int:
        return self._members[name].file_size

    def open(self, name: str) -> IO[bytes]:
        try:
            return self._archive.open(self._members[name])
        except DAMAGED as error:
            raise truncated(name, error) from error


class _Budget:
    """What is left of the limits."""

    def __init__(self, called: str, limits: Limits) -> None:
        self._called = called
        self._limits = limits
        self._members = 0
        self._bytes = 0

    def take(self, name: str, size: int, packed: int | None) -> None:
        limits = self._limits
        self._members += 1
        self._bytes += size
        if self._members > limits.members:
            raise unreadable(
                Place(self._called), "too-many-files", f"More than {limits.members} files; split the archive."
            )
        if size > limits.member_bytes or self._bytes > limits.total_bytes:
            raise unreadable(
                Place(name),
                "archive-too-large",
                f"A file may have {limits.member_bytes} bytes and all together {limits.total_bytes}; split it.",
            )
        if packed is not None and size > limits.ratio_from_bytes and size > limits.ratio * max(1, packed):
            raise unreadable(Place(name), "archive-bomb", f"From {packed} to {size} bytes: {_GROWS}.")


def _safe(name: str) -> str:
    """The name, when it stays inside the archive."""
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or _DRIVE.match(name) or ".." in parts or "\0" in name:
        shown = repr(name)
        raise unreadable(
            Place(shown),
            "path-outside-archive",
            "A name in the archive leads out of it; nothing was read. Pack it again with plain relative names,"
            " and ask where it came from.",
        )
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        raise unreadable(Place(repr(name)), "unusable-name", "The name of the file is not UTF-8; rename it.")
    return "/".join(part for part in parts if part not in ("", "."))


def _left_by_a_desktop(name: str) -> bool:
    """What macOS and Windows put beside the files: it looks like them and is none."""
    last = name.rsplit("/", 1)[-1]
    return name.startswith("__MACOSX/") or last.startswith("._") or last in (".DS_Store", "Thumbs.db")


def _link(name: str) -> Unreadable:
    return unreadable(
        Place(name),
        "link-in-archive",
        "It is a link or a device; nothing was read. Pack the files themselves.",
    )


@contextmanager
def _zip(path: Path, called: str) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(path)
    except DAMAGED as error:
        raise truncated(called, error) from error
    with archive:
        yield archive


def _starts_like_an_archive(path: Path) -> bool:
    """By its content, not by its name; a zip file that has lost its end is one too, and is found damaged."""
    with path.open("rb") as file:
        head = file.read(262)
    tar = head[257:262] == b"ustar"
    return tar or head.startswith((b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00"))


def _untar(path: Path, folder: Path, called: str, limits: Limits) -> None:
    budget, packed = _Budget(called, limits), path.stat().st_size
    unpacked = 0
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                name = _safe(member.name)
                if member.isdir() or _left_by_a_desktop(name):
                    continue
                if not member.isreg():
                    raise _link(name)
                unpacked += member.size
                budget.take(name, member.size, None)
                if unpacked > limits.ratio_from_bytes and unpacked > limits.ratio * packed:
                    raise unreadable(Place(name), "archive-bomb", f"From {packed} bytes: {_GROWS}.")
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                source = archive.extractfile(member)
                assert source is not None  # it is a regular file
                with source, target.open("xb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)
    except FileExistsError as error:
        raise unreadable(
            Place(called), "duplicate-file", f"The archive has {error.filename} twice; pack it once."
        ) from error
    except (*DAMAGED, gzip.BadGzipFile, lzma.LZMAError) as error:
        raise truncated(called, error) from error

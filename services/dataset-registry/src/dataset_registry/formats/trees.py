"""Files by name, wherever they come from, and how the pictures among them are found."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Protocol

from dataset_registry.domain.interchange import Place, Unreadable, unreadable

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, NotImplementedError)
"""What reading from a damaged archive raises."""


class Tree(Protocol):
    """Files by name."""

    @property
    def names(self) -> list[str]:
        """All of them, sorted, `/` between folders."""

    def size(self, name: str) -> int:
        """Bytes, unpacked."""

    def open(self, name: str) -> IO[bytes]:
        """Read from the start. Raises Unreadable when the archive is damaged there."""


def read(tree: Tree, name: str, most: int) -> bytes:
    """A whole file of at most so many bytes. Raises Unreadable."""
    if tree.size(name) > most:
        raise unreadable(
            Place(name),
            "file-too-large",
            f"It has {tree.size(name)} bytes, at most {most} are read; split it.",
        )
    try:
        with tree.open(name) as file:
            return file.read()
    except DAMAGED as error:
        raise truncated(name, error) from error


@contextmanager
def seekable(tree: Tree, name: str) -> Iterator[IO[bytes]]:
    """The file on disk, for readers that look twice. Raises Unreadable."""
    with tempfile.TemporaryFile() as copy:
        try:
            with tree.open(name) as file:
                shutil.copyfileobj(file, copy, 1 << 20)
        except DAMAGED as error:
            raise truncated(name, error) from error
        copy.seek(0)
        yield copy


def is_picture(name: str) -> bool:
    """By its suffix."""
    return name.lower().endswith(PICTURES)


def truncated(name: str, error: Exception) -> Unreadable:
    """The archive cannot be read on here."""
    return unreadable(
        Place(name),
        "truncated-archive",
        f"The archive is cut off or damaged here ({error}); upload it again, or pack it again.",
    )


class Pictures:
    """Finds the picture that a file means: by its path, by the end of it, by its bare name if that is unique."""

    def __init__(self, tree: Tree) -> None:
        self._paths = {path for path in tree.names if is_picture(path)}
        self._ends: dict[str, str | None] = {}
        for path in self._paths:
            rest = path
            while "/" in rest:
                rest = rest.split("/", 1)[1]
                # Two pictures end alike: only a longer path tells which is meant.
                self._ends[rest] = None if rest in self._ends else path

    def find(self, name: str) -> str | None:
        """Path in the tree; None when it is not there, or could be more than one."""
        name = name.replace("\\", "/").lstrip("./")
        while True:
            if name in self._paths:
                return name
            if name in self._ends:
                return self._ends[name]
            if "/" not in name:
                return None
            name = name.split("/", 1)[1]

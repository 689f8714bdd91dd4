"""Writes files whole or not at all, also where two processes make the same one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO
from uuid import uuid4


@contextmanager
def whole_file(file: Path) -> Iterator[BinaryIO]:
    """What is written here takes the place of `file` at the end of the block, unless that is left by an error.

    The folder is made if needed. Each writer has a file of its own beside it, so the last one's stays.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{uuid4().hex}.partial")
    try:
        with partial.open("xb") as stream:
            yield stream
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def written_whole(write: Callable[[Path], Path], folder: Path) -> Path:
    """The file that `write` makes in a folder of its own, moved into `folder` (made if needed) when it is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as aside:
        file = write(Path(aside))
        return file.replace(folder / file.name)

"""Text files from strangers, line by line."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO

from dataset_registry.domain.interchange import Place, unreadable
from dataset_registry.formats.trees import Tree, read

MOST_BYTES = 64 << 20
LONGEST_LINE = 64 << 20


def lines(tree: Tree, name: str) -> Iterator[tuple[int, str]]:
    """Number, from 1, and text of each line of a small file that is not empty. Raises Unreadable."""
    data = read(tree, name, MOST_BYTES)
    for number, line in enumerate(data.split(b"\n"), 1):
        text = decoded(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line, name, number).strip()
        if text:
            yield number, text


def decoded(line: bytes, name: str, number: int) -> str:
    """UTF-8. Raises Unreadable."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise _wrong_encoding(name, number) from error
    if "\0" in text:
        raise _wrong_encoding(name, number)
    return text


def _wrong_encoding(name: str, number: int) -> Exception:
    return unreadable(Place(name, number), "wrong-encoding", "The text is not UTF-8; save the file as UTF-8.")


def streamed(file: IO[bytes], name: str) -> Iterator[str]:
    """Lines with their ends, of a file of any size. Raises Unreadable."""
    number = 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE:
            raise unreadable(
                Place(name, number), "element-too-large", f"A line has {LONGEST_LINE} bytes or more."
            )
        yield decoded(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line, name, number)


def buffered(file: IO[bytes]) -> IO[bytes]:
    """For `streamed`: members of archives read line by line are slow without it."""
    return io.BufferedReader(file, 1 << 18) if isinstance(file, io.RawIOBase) else file

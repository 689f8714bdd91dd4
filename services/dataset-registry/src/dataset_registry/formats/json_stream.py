"""Large JSON files, a portion of elements at a time, each with its path and line.

A file is an array of elements, or an object with such arrays; nothing of it is held but a portion. Where elements end
is found with numpy for a whole portion, by counting brackets outside of texts; pydantic's parser then takes all
elements of the portion at its full speed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, NoReturn

import numpy as np
import numpy.typing as npt
from pydantic_core import from_json

from dataset_registry.domain.interchange import Place, unreadable

PORTION = 1 << 20
LARGEST = 64 << 20
"""Bytes of one element; no label is larger."""

_QUOTE, _BACKSLASH, _COMMA = b'"\\,'
_STEP = np.zeros(256, np.int8)
_STEP[list(b"[{")], _STEP[list(b"]}")] = 1, -1
_MARK = _STEP != 0
_MARK[_COMMA] = True
_KEY = re.compile(rb'\s*"((?:[^"\\]|\\.)*)"\s*:\s*(.)', re.DOTALL)
_SPACE = re.compile(rb"\s*")
Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Portion:
    """Elements that follow one another.

    Attributes:
        key: Of the array in the object; empty where the file is an array itself.
        single: The value is that of the key itself, not an element of its array.
        first: Index of the first one in its array.
        values: Parsed.
        starts, ends: Their bytes in the file.
        lines: On which they start.
    """

    key: str
    single: bool
    first: int
    values: list[Any]
    starts: Positions
    ends: Positions
    lines: Positions


@dataclass(frozen=True, slots=True)
class Element:
    """One of them, with its place."""

    key: str
    value: Any
    place: Place


def elements(file: IO[bytes], name: str) -> Iterator[Element]:
    """All elements, in order. Raises Unreadable."""
    for portion in portions(file, name):
        for step, (value, line) in enumerate(zip(portion.values, portion.lines.tolist(), strict=True)):
            where = portion.key if portion.single else f"{portion.key}[{portion.first + step}]"
            yield Element(portion.key, value, Place(name, line, where))


def portions(file: IO[bytes], name: str, size: int = PORTION) -> Iterator[Portion]:
    """All elements, a portion of about `size` bytes at a time, in order. Raises Unreadable."""
    return _Walk(file, name, size).run()


class _Walk:
    """The bytes not looked at yet, and where they are; the buffer never starts inside of a text."""

    def __init__(self, file: IO[bytes], name: str, size: int) -> None:
        self._file = file
        self._name = name
        self._size = size
        self._buffer = b""
        self._offset = 0
        self._line = 1
        self._where = ""

    def run(self) -> Iterator[Portion]:
        self._more()
        if self._buffer.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in self._buffer[:4]:
            self._refuse("wrong-encoding", "The file is not UTF-8; save it as UTF-8.")
        if self._buffer.startswith(b"\xef\xbb\xbf"):
            self._skip(3)
        root = self._next()
        self._skip(1)
        if root == b"[":
            yield from self._array("")
        elif root == b"{":
            yield from self._object()
        else:
            self._refuse("broken-json", "The file starts with neither [ nor {; it is no JSON of this format.")
        self._where = ""
        if self._peek():
            self._refuse(
                "broken-json", "Something follows after the end; the file holds more than one document."
            )

    def _object(self) -> Iterator[Portion]:
        while self._next() != b"}":
            if self._peek() == b",":
                self._skip(1)
            while (found := _KEY.match(self._buffer)) is None:
                if len(self._buffer) > LARGEST or not self._more():
                    self._refuse("broken-json", "A name in quotation marks and a colon are missing here.")
            key = self._parsed(b'"' + found[1] + b'"', self._line)
            self._where = str(key)
            self._skip(found.start(2))
            if found[2] == b"[":
                self._skip(1)
                yield from self._array(str(key))
            else:
                ends, last = self._boundaries()
                end = int(ends[0]) if len(ends) else last
                at = np.array([0], np.int64)
                lines = at + self._line
                value = self._parsed(self._buffer[:end], self._line)
                yield Portion(str(key), True, 0, [value], at + self._offset, at + self._offset + end, lines)
                self._skip(end)
        self._skip(1)

    def _array(self, key: str) -> Iterator[Portion]:
        """From behind its bracket to behind the closing one."""
        index, last = 0, -1
        while last < 0:
            commas, last = self._boundaries()
            stop = last if last >= 0 else int(commas[-1])
            ends = np.append(commas, last) if last >= 0 else commas
            if last >= 0 and not self._buffer[(int(commas[-1]) + 1 if len(commas) else 0) : last].strip():
                if len(commas):
                    self._where = f"{key}[{index + len(commas)}]"
                    self._refuse("broken-json", "An element is missing after the last comma of the list.")
                ends = commas  # an empty array
            if len(ends):
                yield self._portion(key, index, ends, stop)
            index += len(ends)
            self._where = f"{key}[{index}]"
            self._skip(stop + 1)

    def _portion(self, key: str, index: int, ends: Positions, stop: int) -> Portion:
        starts = np.concatenate(([0], ends[:-1] + 1))
        breaks = np.flatnonzero(np.frombuffer(self._buffer, np.uint8, stop) == 10)
        text = np.frombuffer(self._buffer, np.uint8, stop)
        # An element starts at its first character that is no space.
        for place in np.flatnonzero(text[starts] <= 32).tolist():
            space = _SPACE.match(self._buffer, int(starts[place]))
            starts[place] = space.end() if space else starts[place]
        lines = np.searchsorted(breaks, starts) + self._line
        try:
            values = from_json(b"[" + self._buffer[:stop] + b"]", allow_inf_nan=False)
        except ValueError:
            values = []
            for step, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
                self._where = f"{key}[{index + step}]"
                values.append(self._parsed(self._buffer[start:end], int(lines[step])))
        return Portion(key, False, index, values, starts + self._offset, ends + self._offset, lines)

    def _boundaries(self) -> tuple[Positions, int]:
        """Commas between the values that start here, and the bracket that closes around them, -1 where it is not in
        the buffer yet; one of the two is there. Raises Unreadable."""
        while True:
            commas, last = _boundaries(self._buffer)
            if len(commas) or last >= 0:
                return commas, last
            if len(self._buffer) > LARGEST:
                self._refuse("element-too-large", f"One element has more than {LARGEST} bytes; split it.")
            if not self._more():
                self._refuse("truncated-file", "The file ends in the middle; write or upload it again.")

    def _parsed(self, text: bytes, line: int) -> Any:
        try:
            return from_json(text, allow_inf_nan=False)
        except ValueError as error:
            place = Place(self._name, line, self._where)
            try:
                text.decode()
            except UnicodeDecodeError:
                raise unreadable(
                    place, "wrong-encoding", "The text is not UTF-8; save the file as UTF-8."
                ) from error
            raise unreadable(place, "broken-json", f"It is no JSON: {error}.") from error

    def _next(self) -> bytes:
        found = self._peek()
        if not found:
            self._refuse("truncated-file", "The file ends in the middle; write or upload it again.")
        return found

    def _peek(self) -> bytes:
        """The next character that is no space; empty at the end of the file."""
        while True:
            space = _SPACE.match(self._buffer)
            self._skip(space.end() if space else 0)
            if self._buffer or not self._more():
                return self._buffer[:1]

    def _skip(self, count: int) -> None:
        self._line += self._buffer.count(b"\n", 0, count)
        self._buffer = self._buffer[count:]
        self._offset += count

    def _more(self) -> bool:
        new = self._file.read(max(self._size, len(self._buffer)))
        self._buffer += new
        return bool(new)

    def _refuse(self, reason: str, advice: str) -> NoReturn:
        raise unreadable(Place(self._name, self._line, self._where), reason, advice)


def _boundaries(buffer: bytes) -> tuple[Positions, int]:
    """Commas outside of all brackets, and the first bracket that closes what was not opened here, or -1."""
    text = np.frombuffer(buffer, np.uint8)
    quotes = np.flatnonzero(text == _QUOTE)
    if _BACKSLASH in buffer:
        escaped = [_is_escaped(buffer, at) for at in quotes.tolist()]
        quotes = quotes[~np.array(escaped, bool)]
    marks = np.flatnonzero(_MARK[text])
    marks = marks[np.searchsorted(quotes, marks) % 2 == 0]
    steps = _STEP[text[marks]]
    depths = np.cumsum(steps, dtype=np.int64)
    closing = np.flatnonzero(depths < 0)
    if len(closing):
        marks, steps, depths = (part[: closing[0] + 1] for part in (marks, steps, depths))
    commas = marks[(steps == 0) & (depths == 0)]
    return commas, int(marks[-1]) if len(closing) else -1


def _is_escaped(buffer: bytes, at: int) -> bool:
    before = at
    while before > 0 and buffer[before - 1] == _BACKSLASH:
        before -= 1
    return (at - before) % 2 == 1

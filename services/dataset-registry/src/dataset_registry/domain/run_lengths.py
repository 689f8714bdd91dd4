"""COCO's run-length masks: pixels column by column, as lengths of runs of zeros and ones in turn.

The compressed form writes each length as little-endian groups of five bits in printable characters, from the fourth
one on as the difference to the length two before. Small enough to keep here: the library that has it brings a
compiler's worth of dependencies for these two loops.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.bool_]

_FIRST = 48
"""The character of the value 0."""
_MORE, _SIGN = 0x20, 0x10
_LONGEST = 7
"""Groups; a longer number counts more pixels than any image has."""


class BrokenRuns(ValueError):
    """The text is no compressed run-length mask of this size; the message says why."""


def decode(counts: str, height: int, width: int) -> Pixels:
    """The pixels of a mask, shape (height, width). Raises BrokenRuns."""
    runs = run_lengths(counts, height, width)
    ones = np.arange(len(runs)) % 2 == 1
    return np.repeat(ones, runs).reshape(width, height).T


def encode(pixels: Pixels) -> str:
    """The compressed text of a mask, shape (height, width)."""
    flat = pixels.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    bounds = [0, *edges.tolist(), len(flat)]
    runs = [after - before for before, after in pairwise(bounds)]
    return _compressed([0, *runs] if len(flat) and flat[0] else runs)


def extent(counts: str, height: int, width: int) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom of the ones, right and bottom exclusive, without making the pixels; None where there
    are none. Raises BrokenRuns."""
    ends = np.cumsum(run_lengths(counts, height, width))
    first, last = ends[: len(ends) // 2 * 2 : 2], ends[1::2] - 1  # of each run of ones
    first, last = first[last >= first], last[last >= first]
    if not len(first):
        return None
    left, right = int(first[0]) // height, int(last[-1]) // height
    whole = first // height != last // height  # it goes on in the next column, so it reaches both edges
    top = 0 if whole.any() else int((first % height).min())
    bottom = height - 1 if whole.any() else int((last % height).max())
    return left, top, right + 1, bottom + 1


def run_lengths(counts: str, height: int, width: int) -> npt.NDArray[np.int64]:
    """Lengths of the runs, zeros first; they fill the image exactly. Raises BrokenRuns."""
    runs: list[int] = []
    value, groups = 0, 0
    for character in counts:
        code = ord(character) - _FIRST
        if not 0 <= code < 64:
            raise BrokenRuns(f"the character {character!r} does not occur in one")
        value |= (code & 0x1F) << (5 * groups)
        groups += 1
        if groups > _LONGEST:
            raise BrokenRuns("a run is longer than any image")
        if code & _MORE:
            continue
        if code & _SIGN:
            value -= 1 << (5 * groups)
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, groups = 0, 0
    if groups:
        raise BrokenRuns("it ends in the middle of a number")
    lengths = np.array(runs, np.int64)
    if (lengths < 0).any():
        raise BrokenRuns("a run has a negative length")
    if lengths.sum() != height * width:
        raise BrokenRuns(f"its runs have {int(lengths.sum())} pixels, the image has {height * width}")
    return lengths


def _compressed(runs: list[int]) -> str:
    text = bytearray()
    for place, run in enumerate(runs):
        value = run - runs[place - 2] if place > 2 else run
        more = True
        while more:
            group = value & 0x1F
            value >>= 5
            more = value != (-1 if group & _SIGN else 0)
            text.append(group + (_MORE if more else 0) + _FIRST)
    return text.decode("ascii")

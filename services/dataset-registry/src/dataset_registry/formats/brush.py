"""Label Studio's run lengths of brush marks: bits of the pack format of @thi.ng/rle-pack.

A head of 32 bits for the number of values, 5 for their width less one, four times 4 for the widths of run lengths less
one; then runs: a bit that says repeated or not, 2 bits that choose the width, the length less one, the value or values.
Values are the bytes of a picture in red, green, blue and opacity, row by row; what is opaque is marked.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dataset_registry.domain.geometry import Flaw

Pixels = npt.NDArray[np.bool_]

CHANNELS = 4
_WIDTHS = (3, 4, 8, 16)


def unpack(packed: list[Any], height: int, width: int) -> Pixels:
    """Marked pixels, shape (height, width). Raises Flaw."""
    try:
        bits = "".join(f"{byte:08b}" for byte in bytes(packed))
        return _unpacked(bits, height * width * CHANNELS).reshape(height, width, CHANNELS)[:, :, 3] > 0
    except (ValueError, TypeError, IndexError) as error:
        raise Flaw("broken-mask", f"It is no brush mark of {width} x {height} pixels: {error}.") from error


def _unpacked(bits: str, expected: int) -> npt.NDArray[np.uint8]:
    at = 0

    def take(count: int) -> int:
        nonlocal at
        at += count
        return int(bits[at - count : at], 2)

    size, word = take(32), take(5) + 1
    if size != expected or word != 8:
        raise ValueError(f"its head names {size} values of {word} bits")
    widths = [take(4) + 1 for _ in _WIDTHS]
    values, done = np.zeros(size, np.uint8), 0
    while done < size:
        repeated = take(1)
        count = take(widths[take(2)]) + 1
        if done + count > size:
            raise ValueError("a run is longer than what is left")
        if repeated:
            values[done : done + count] = take(word)
        else:
            values[done : done + count] = [take(word) for _ in range(count)]
        done += count
    return values


def pack(pixels: Pixels) -> list[int]:
    """The inverse of `unpack`, in runs of one value."""
    flat = pixels.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    bounds = np.concatenate(([0], edges, [len(flat)]))
    bits = [f"{len(flat) * CHANNELS:032b}", f"{7:05b}", *(f"{width - 1:04b}" for width in _WIDTHS)]
    for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        value, left = 255 if flat[start] else 0, (end - start) * CHANNELS
        while left:
            count = min(left, 1 << _WIDTHS[-1])
            choice = next(at for at, width in enumerate(_WIDTHS) if count <= 1 << width)
            bits.append(f"1{choice:02b}{count - 1:0{_WIDTHS[choice]}b}{value:08b}")
            left -= count
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]

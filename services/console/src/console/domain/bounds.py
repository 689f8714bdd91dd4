"""The numbers of a capture standard as people write them, a line for each: `exposure_us 3900 to 4100`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

_NUMBER = r"[-+]?[0-9.]+(?:e[-+]?[0-9]+)?"
_LINE = re.compile(
    rf"(?P<name>\S+)\s+(?:at\s+least\s+(?P<low>{_NUMBER})|at\s+most\s+(?P<high>{_NUMBER})"
    rf"|(?P<start>{_NUMBER})\s+to\s+(?P<end>{_NUMBER})|(?P<only>{_NUMBER}))",
    re.IGNORECASE,
)

EXAMPLE = "exposure_us 3900 to 4100"


def written(bounds: Sequence[Mapping[str, Any]]) -> str:
    """The lines of a form."""
    return "\n".join(f"{bound['name']} {between(bound['low'], bound['high'])}" for bound in bounds)


def between(low: float | None, high: float | None) -> str:
    """Two ends in words; None where there is no end."""
    if low is None or high is None:
        return f"at most {high:.12g}" if low is None else f"at least {low:.12g}"
    return f"{low:.12g} to {high:.12g}" if low < high else f"{low:.12g}"


def read(text: str) -> tuple[list[dict[str, Any]], str | None]:
    """Bounds for the registry, and what is wrong with the first line that cannot be read."""
    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        match = _LINE.fullmatch(line)
        ends = _ends(match) if match else None
        if match is None or ends is None:
            return [], f"“{line}” is not like {EXAMPLE}."
        found.append({"name": match["name"], "low": ends[0], "high": ends[1]})
    return found, None


def _ends(match: re.Match[str]) -> tuple[float | None, float | None] | None:
    only = match["only"]
    low, high = match["low"] or match["start"] or only, match["high"] or match["end"] or only
    try:
        ends = tuple(None if text is None else float(text) for text in (low, high))
    except ValueError:
        return None
    return (ends[0], ends[1]) if all(end is None or math.isfinite(end) for end in ends) else None

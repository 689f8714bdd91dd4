"""What the board shows of a station: its light, its shares, its pulse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from console.domain.words import DISPOSITIONS, sentence

QUIET_AFTER = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Light:
    """The andon light of a station.

    Attributes:
        colour: green, amber, red or off; never the only carrier of the meaning.
        word: What it means.
        why: The reason, in a few words.
    """

    colour: str
    word: str
    why: str


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a bar; left and width in percent."""

    kind: str
    count: int
    left: float
    width: float


def light(station: Mapping[str, Any], now: datetime) -> Light:
    """Which light a station shows: red stops somebody, amber asks for somebody, green flows."""
    if not station["registered"]:
        return Light("red", "Not registered", "no capture standard")
    last = station["last_capture_at"]
    quiet = last is None or now - last > QUIET_AFTER
    if station["disputed"]:
        return Light("red", "Disputed", _plural(station["disputed"], "disputed review"))
    if station["open_actions"]:
        return Light("amber", "Needs action", _plural(station["open_actions"], "open action"))
    if quiet:
        return Light("off", "Quiet", "no capture lately" if last else "no capture yet")
    if behind(station):
        return Light("amber", "Waiting", f"{station['captured'] - station['decided']} not decided")
    if over_takt(station):
        return Light("amber", "Slow", "slower than its takt")
    return Light("green", "Running", "in step")


def behind(station: Mapping[str, Any]) -> bool:
    """Whether more captures wait for a decision than came in the last full minute or two."""
    lately = sum(station["captured_per_minute"][-3:])
    return bool(station["captured"] - station["decided"] > max(20, lately))


def over_takt(station: Mapping[str, Any]) -> bool:
    """Whether one decision in twenty takes longer than the line has for a part."""
    slow = station["recent_latency_ms"]["p95"]
    return bool(slow and station["takt_ms"] and slow > station["takt_ms"])


def shares(dispositions: Mapping[str, int], undecided: int = 0) -> list[Share]:
    """The bar of dispositions, in the usual order; kinds nobody knows come last."""
    order = [*DISPOSITIONS, *sorted(set(dispositions) - set(DISPOSITIONS))]
    counts = [(kind, dispositions.get(kind, 0)) for kind in order] + [("pending", max(0, undecided))]
    total = sum(number for _, number in counts)
    bar: list[Share] = []
    left = 0.0
    for kind, number in counts:
        if number:
            width = 100.0 * number / total
            bar.append(Share(kind, number, round(left, 2), round(width, 2)))
            left += width
    return bar


def gaps(missing: Mapping[str, int]) -> list[tuple[str, int]]:
    """Which metadata captures came without, and how many: the most frequent first, in people's words."""
    found = [(sentence(name), number) for name, number in missing.items() if number > 0]
    return sorted(found, key=lambda gap: (-gap[1], gap[0]))


def pulse(per_minute: Sequence[int], width: int, height: int) -> str:
    """The path of a sparkline that fills width x height; flat at the bottom when nothing came."""
    top = max(1, *per_minute)
    step = width / max(1, len(per_minute) - 1)
    points = [f"{i * step:.1f},{height - 1 - (height - 3) * n / top:.1f}" for i, n in enumerate(per_minute)]
    return "M" + " L".join(points)


def _plural(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"

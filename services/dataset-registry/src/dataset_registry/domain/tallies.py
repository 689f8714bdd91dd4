"""Counts per station that grow with each batch, so that asking for the state of a line never reads the
captures.

Each count is kept at three resolutions: in total, by hour and by minute. Latencies are counted into
logarithmic buckets, from which percentiles come with an error of at most half a bucket (about 5 %).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

TOTAL, HOUR, MINUTE = "total", "hour", "minute"
ALL_TIME = datetime(1970, 1, 1, tzinfo=UTC)
KEEP_MINUTES = timedelta(hours=3)

_BUCKETS_PER_OCTAVE = 8
_LATENCY = "latency:"
_PLAUSIBLE_DELAY = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, order=True)
class TallyRow:
    """What one batch adds to one count."""

    resolution: str
    period: datetime
    line: str
    station: str
    measure: str
    count: int


class Tallies:
    """Collects what a batch changes; a station of None is the line as a whole, a line of None is the
    plant."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str]] = Counter()

    def add(self, line: str | None, station: str | None, measure: str, count: int = 1) -> None:
        self._counts[line or "", station or "", measure] += count

    def rows(self, now: datetime) -> list[TallyRow]:
        """All changes at all resolutions, in one fixed order so that two writers never wait for each other in
        a ring."""
        minute = now.replace(second=0, microsecond=0)
        periods = ((TOTAL, ALL_TIME), (HOUR, minute.replace(minute=0)), (MINUTE, minute))
        return sorted(
            TallyRow(resolution, period, line, station, measure, count)
            for (line, station, measure), count in self._counts.items()
            if count
            for resolution, period in periods
        )


def latency_ms(captured_at: datetime, received_at: datetime, decided_at: datetime) -> float:
    """Milliseconds from the trigger to the decision.

    Where the station's clock runs ahead, or the image was held back on its way (store-and-forward), the time
    since the plant server had it is all that can be said honestly.
    """
    honest = timedelta(0) <= received_at - captured_at <= _PLAUSIBLE_DELAY
    start = captured_at if honest else received_at
    return max(0.0, (decided_at - start).total_seconds() * 1000.0)


def latency_measure(milliseconds: float) -> str:
    """The count that a latency belongs to."""
    return f"{_LATENCY}{round(math.log2(max(1.0, milliseconds)) * _BUCKETS_PER_OCTAVE):03d}"


def percentiles(counts: Mapping[str, int], shares: Iterable[float]) -> list[float | None]:
    """Latency percentiles in milliseconds, from the latency counts among `counts`; None when there are none.

    Args:
        counts: Count by measure; other measures are passed over.
        shares: For example 0.5 and 0.99.
    """
    buckets = sorted(
        (int(m.removeprefix(_LATENCY)), n) for m, n in counts.items() if m.startswith(_LATENCY) and n > 0
    )
    total = sum(n for _, n in buckets)
    return [_at_rank(buckets, math.ceil(share * total)) if total else None for share in shares]


def _at_rank(buckets: list[tuple[int, int]], rank: int) -> float:
    seen, last = 0, 0
    for last, count in buckets:  # noqa: B007 (the bucket in which the rank lies)
        seen += count
        if seen >= rank:
            break
    return round(math.exp2(last / _BUCKETS_PER_OCTAVE), 2)


def parts(counts: Mapping[str, int], prefix: str) -> dict[str, int]:
    """The counts named `<prefix>:<part>`, by part, without the empty ones."""
    start = f"{prefix}:"
    return {m.removeprefix(start): n for m, n in sorted(counts.items()) if m.startswith(start) and n}

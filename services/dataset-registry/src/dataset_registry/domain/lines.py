"""The state of each line and station, put together from counts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from dataset_registry.domain.releases import Place as ReleasePlace
from dataset_registry.domain.releases import deciding
from dataset_registry.domain.tallies import parts, percentiles

RATE_MINUTES = 30
LATENCY_MINUTES = 15
_SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

Row = Mapping[str, Any]
Place = tuple[str, str]


def recently(now: datetime) -> tuple[datetime, datetime]:
    """From which minute on captures are counted by minute, and from which one latencies together."""
    minute = now.replace(second=0, microsecond=0)
    return minute - timedelta(minutes=RATE_MINUTES - 1), minute - timedelta(minutes=LATENCY_MINUTES - 1)


def line_states(
    total: Iterable[Row],
    recent: Iterable[Row],
    stations: Sequence[Row],
    last_captures: Iterable[Row],
    deployments: Sequence[Row],
    now: datetime,
) -> list[dict[str, Any]]:
    """The state of every line that has a station or a count.

    Args:
        total: Counts of all time: line, station, measure, count.
        recent: The same by minute, with period, of `recently`; latencies may be one sum.
        stations: What is registered.
        last_captures: The last image of each station: capture_id, received_at.
        deployments: Releases in force by scope.
    """
    counts = _by_place(total)
    minutes: dict[Place, list[Row]] = defaultdict(list)
    for row in recent:
        minutes[row["line"], row["station"]].append(row)
    registered = {(s["line"], s["station"]): s for s in stations}
    last = {(c["line"], c["station"]): c for c in last_captures}
    places = sorted({*counts, *registered} - {("", "")})
    lines: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line, station in places:
        lines[line]  # a line that only has counts of its own is a line too
        if station:
            state = _counts(counts.get((line, station), {}), minutes[line, station], now)
            lines[line].append(
                {
                    "station": station,
                    "registered": (line, station) in registered,
                    "capture_standard_version": registered.get((line, station), {}).get(
                        "capture_standard_version"
                    ),
                    "takt_ms": registered.get((line, station), {}).get("takt_ms"),
                    "active_release": deciding(deployments, ReleasePlace(line, station)),
                    "last_capture_id": last.get((line, station), {}).get("capture_id"),
                    "last_capture_at": last.get((line, station), {}).get("received_at"),
                    **state,
                }
            )
    return [
        {
            "line": line,
            "stations": states,
            **_counts(
                _sum(counts[place] for place in counts if place[0] == line),
                [row for place, rows in minutes.items() if place[0] == line for row in rows],
                now,
            ),
        }
        for line, states in lines.items()
    ]


def _counts(counts: Mapping[str, int], minutes: Sequence[Row], now: datetime) -> dict[str, Any]:
    start, since = recently(now)
    rate, lately = [0] * RATE_MINUTES, Counter[str]()
    for row in minutes:
        if row["measure"] == "captured":
            age = int((row["period"] - start).total_seconds() // 60)
            if 0 <= age < RATE_MINUTES:
                rate[age] += row["count"]
        elif row["period"] >= since:
            lately[row["measure"]] += row["count"]
    return {
        "captured": counts.get("captured", 0),
        "decided": counts.get("decided", 0),
        "dispositions": parts(counts, "standing"),
        "corrected": counts.get("corrected", 0),
        "in_review": counts.get("in-review", 0),
        "disputed": counts.get("disputed", 0),
        "reviews_requested": counts.get("review-requested", 0),
        "reviews_completed": counts.get("review-completed", 0),
        "labelled": counts.get("labelled", 0),
        "signals": parts(counts, "signal"),
        "open_actions": counts.get("actions-open", 0),
        "actions_opened": parts(counts, "action-opened"),
        "actions_closed": parts(counts, "action-closed"),
        "mes_delivered": counts.get("mes-delivered", 0),
        "findings": parts(counts, "finding"),
        "missing_metadata": parts(counts, "missing"),
        "latency_ms": _latency(counts),
        "recent_latency_ms": _latency(lately),
        "captured_per_minute": rate,
    }


def _latency(counts: Mapping[str, int]) -> dict[str, float | None]:
    return dict(zip(_SHARES, percentiles(counts, _SHARES.values()), strict=True))


def _by_place(rows: Iterable[Row]) -> dict[Place, Counter[str]]:
    counts: dict[Place, Counter[str]] = defaultdict(Counter)
    for row in rows:
        counts[row["line"], row["station"]][row["measure"]] += row["count"]
    return counts


def _sum(counters: Iterable[Counter[str]]) -> Counter[str]:
    added: Counter[str] = Counter()
    for counter in counters:
        added.update(counter)
    return added

"""Which kinds of signals must have been raised, judged by what was seen to happen and not by what was planned.

A kind is expected only where its cause is plain: ten times surer than the rule itself has to be, so that a small sample
never makes the demo fail for a signal that a careful rule rightly held back. Pure.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict

from andon_demo.ledger import Ledger
from andon_demo.scenario import DARKEST, Plan, Play, Shot
from andon_demo.settings import TAKT_MS, Windows

CHANCE = 0.001
"""What could come about by chance more often than this is not plain."""

PLAYED_KINDS = frozenset(
    {
        "capture-drift",
        "new-variant",
        "missed-defect",
        "false-reject-spike",
        "reviewer-disagreement",
        "slow-decision",
    }
)
"""What the whole demo on its own images plays in, plainly enough that each kind must be raised."""

FALSE_REJECTS, DISAGREED, SLOW = 0.10, 0.15, 0.05
"""The shares that are tolerated, as feedback-collector has them unless told otherwise."""


def expected_kinds(plan: Plan, shots: dict[str, Shot], ledger: Ledger, windows: Windows) -> frozenset[str]:
    """Kinds of signals whose cause was plain to see. `shots` are the recorded ones by capture_id."""
    happened = {
        "capture-drift": _drifted(plan, shots, ledger, windows),
        "new-variant": any(shots[i].play is Play.NEW_VARIANT for i in ledger.captures if i in shots),
        "missed-defect": any(f.kind == "escape" for f in ledger.findings.values()),
        "false-reject-spike": _false_rejects(ledger, windows),
        "reviewer-disagreement": _disagreed(ledger, windows),
        "slow-decision": _slow(ledger, windows),
    }
    return frozenset(kind for kind, yes in happened.items() if yes)


def _drifted(plan: Plan, shots: dict[str, Shot], ledger: Ledger, windows: Windows) -> bool:
    """The dark station had its baseline, and then enough captures in the dark."""
    at_station = [
        (shots[i], c)
        for i, c in ledger.captures.items()
        if i in shots and shots[i].station == plan.dark_station and c.audited
    ]
    variants = Counter(
        shot.metadata["product_variant"]
        for shot, c in at_station
        if shot.light == 1.0 and c.verdict == "accepted"
    )
    known = {variant for variant, times in variants.items() if times >= 2 * windows.drift_reference}
    dark = [
        shot
        for shot, _ in at_station
        if shot.light < (1 + DARKEST) / 2 and shot.metadata["product_variant"] in known
    ]
    return len(dark) >= 2 * windows.drift_recent


def _false_rejects(ledger: Ledger, windows: Windows) -> bool:
    rejects = Counter(
        _window(c.line, c.station, c.captured_at.timestamp(), windows)
        for c in ledger.captures.values()
        if c.first and c.captured_at and c.first.kind in ("reject", "rework")
    )
    found = Counter(
        _window(f.context.line, f.context.station, f.found_at.timestamp(), windows)
        for f in ledger.findings.values()
        if f.kind == "false-reject"
    )
    return any(
        _plain(hits, max(hits, rejects[place]), FALSE_REJECTS, windows) for place, hits in found.items()
    )


def _disagreed(ledger: Ledger, windows: Windows) -> bool:
    """At a station as a whole, or over one class there."""
    twice: Counter[tuple[str, str, int, str]] = Counter()
    apart: Counter[tuple[str, str, int, str]] = Counter()
    for review in ledger.reviews_completed.values():
        if len(review.answers) < 2:
            continue
        place = _window(review.context.line, review.context.station, review.completed_at.timestamp(), windows)
        for name in {"", review.class_name or "", *(answer.class_name or "" for answer in review.answers)}:
            twice[*place, name] += 1
            apart[*place, name] += not review.agreed
    return any(_plain(apart[scope], count, DISAGREED, windows) for scope, count in twice.items())


def _slow(ledger: Ledger, windows: Windows) -> bool:
    """In some window of some station so many decisions took longer than the takt time that it is no chance."""
    took: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    for capture in ledger.captures.values():
        if capture.first and capture.captured_at and capture.latency_ms is not None:
            place = _window(capture.line, capture.station, capture.captured_at.timestamp(), windows)
            took[place].append(capture.latency_ms)
    return any(
        len(times) >= 2 * windows.slow_samples
        and _beyond_chance(sum(t > TAKT_MS for t in times), len(times), SLOW)
        for times in took.values()
    )


def _plain(hits: int, trials: int, share: float, windows: Windows) -> bool:
    return (
        hits >= windows.share_hits and trials >= windows.share_samples and _beyond_chance(hits, trials, share)
    )


def _beyond_chance(hits: int, trials: int, share: float) -> bool:
    """Whether so many hits would hardly ever come about if each trial hit with this probability."""
    below = sum(math.comb(trials, n) * share**n * (1 - share) ** (trials - n) for n in range(hits))
    return 1 - below <= CHANCE


def _window(line: str, station: str, seconds: float, windows: Windows) -> tuple[str, str, int]:
    return line, station, int(seconds // windows.window_s)

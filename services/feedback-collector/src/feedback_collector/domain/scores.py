"""Score drift and unknown defects: the last scores of a release at a station against its first ones there.

A release is compared with itself only; another release learns its own reference. Drift is the population
stability index over ten bins, and counts only beyond what samples of that size show by chance. A growing
share of scores between the release's thresholds says that the model meets something it was not taught.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from feedback_collector.domain import signals
from feedback_collector.domain.observations import Scored
from feedback_collector.domain.shares import Result
from feedback_collector.domain.signals import Circumstances, Signal, best, suspect
from feedback_collector.domain.statistics import (
    clearly_above,
    lower_bound,
    stability_index,
    stability_noise,
    upper_bound,
)
from feedback_collector.domain.thresholds import Thresholds
from feedback_collector.domain.windows import Json, Windows

BINS = 10
UNCERTAIN = "u"
CERTAIN = "c"
JUDGE_EVERY = 5
LOOKS = 100
"""Scores are judged again and again as they come in; one look of many must be that many times surer."""
KEPT_CAPTURES = 40


def surely(limits: Thresholds) -> float:
    """The confidence of one look of many."""
    return 1 - (1 - limits.confidence) / LOOKS


@dataclass(slots=True)
class Scores:
    """State of both rules at one station.

    Attributes:
        release: The release that is observed.
        since_ms: When its first score came; 0 for the first release ever seen here.
        classes: What it can tell apart.
        reference: Counts by bin of its first scores.
        reference_uncertain: How many of those were uncertain.
        bins: Bins of the last scores, one digit each.
        bands: Whether they were uncertain, one letter each.
        captures: Captures of the latest of them, as (score, capture, uncertain).
        fired: Kinds of signal that fired, by window.
    """

    release: str = ""
    since_ms: int = 0
    classes: tuple[str, ...] = ()
    reference: list[int] = field(default_factory=lambda: [0] * BINS)
    reference_uncertain: int = 0
    bins: str = ""
    bands: str = ""
    seen: int = 0
    captures: list[tuple[float, str, int]] = field(default_factory=list)
    fired: Windows[set[str]] = field(default_factory=lambda: Windows(set))

    def observe(
        self, seen: Scored, where: tuple[str, str], around: Circumstances, limits: Thresholds
    ) -> Result:
        """Learn or compare, and say what fires."""
        if seen.release != self.release:
            self._start(seen)
        if seen.classes and seen.classes != self.classes:
            self.classes = seen.classes
        index = min(BINS - 1, max(0, int(seen.score * BINS)))
        if sum(self.reference) < limits.score_reference:
            self.reference[index] += 1
            self.reference_uncertain += seen.uncertain
            return Result([])
        self.bins = (self.bins + str(index))[-limits.score_recent :]
        self.bands = (self.bands + (UNCERTAIN if seen.uncertain else CERTAIN))[-limits.score_recent :]
        self.captures = [*self.captures, (round(seen.score, 4), seen.capture_id, int(seen.uncertain))][
            -KEPT_CAPTURES:
        ]
        self.seen += 1
        if len(self.bins) < limits.score_recent or self.seen % JUDGE_EVERY:
            return Result([])
        place = self.fired.at(seen.at_ms, limits)
        if place is None:
            return Result([], late=True)
        start, fired = place
        raised: list[Signal] = []
        if signals.SCORE_DRIFT not in fired:
            raised += self._score_drift(where, start, around, limits)
        if signals.UNKNOWN_DEFECT not in fired:
            raised += self._unknown_defect(where, start, around, limits)
        fired |= {signal.kind for signal in raised}
        return Result(raised)

    def _start(self, seen: Scored) -> None:
        self.since_ms = seen.at_ms if self.release else 0
        self.release, self.classes = seen.release, seen.classes
        self.reference, self.reference_uncertain = [0] * BINS, 0
        self.bins, self.bands, self.captures = "", "", []

    def _score_drift(
        self, where: tuple[str, str], start: int, around: Circumstances, limits: Thresholds
    ) -> list[Signal]:
        recent = [self.bins.count(str(index)) for index in range(BINS)]
        index = stability_index(self.reference, recent)
        noise = stability_noise(BINS, sum(self.reference), len(self.bins), surely(limits))
        threshold = max(limits.score_psi, noise)
        if index < threshold:
            return []
        gain = [
            s / len(self.bins) - r / sum(self.reference) for r, s in zip(self.reference, recent, strict=True)
        ]
        gained = max(range(BINS), key=gain.__getitem__)
        telling = sorted(self.captures, key=lambda entry: -gain[min(BINS - 1, int(entry[0] * BINS))])
        return [
            Signal(
                kind=signals.SCORE_DRIFT,
                line=where[0],
                station=where[1],
                start_ms=start,
                end_ms=start + limits.window_ms,
                measured=index,
                expected=0.0,
                threshold=threshold,
                unit="population stability index",
                sample_size=len(self.bins),
                evidence=best(entry[1] for entry in telling),
                cause=suspect(signals.SCORE_DRIFT, around),
                explanation=(
                    f"Release {self.release} scores at {'/'.join(where)} differently than at first: scores "
                    f"from {gained / BINS:.1f} to {(gained + 1) / BINS:.1f} are "
                    f"{recent[gained] / len(self.bins):.0%} of the last {len(self.bins)}, against "
                    f"{self.reference[gained] / sum(self.reference):.0%} of its first {sum(self.reference)} "
                    f"(stability index {index:.2f}, limit {threshold:.2f})."
                ),
            )
        ]

    def _unknown_defect(
        self, where: tuple[str, str], start: int, around: Circumstances, limits: Thresholds
    ) -> list[Signal]:
        hits, trials, first = self.bands.count(UNCERTAIN), len(self.bands), sum(self.reference)
        usual = self.reference_uncertain / first
        threshold = usual + limits.unknown_increase
        if hits / trials < threshold:
            return []
        if not clearly_above(
            hits, trials, upper_bound(self.reference_uncertain, first, 0.95), surely(limits)
        ):
            return []
        uncertain = [entry for entry in self.captures if entry[2]]
        low = lower_bound(hits, trials, limits.confidence)
        return [
            Signal(
                kind=signals.UNKNOWN_DEFECT,
                line=where[0],
                station=where[1],
                start_ms=start,
                end_ms=start + limits.window_ms,
                measured=hits / trials,
                expected=usual,
                threshold=threshold,
                unit="share of scores between the release's thresholds",
                sample_size=trials,
                evidence=best(entry[1] for entry in sorted(uncertain, key=lambda entry: abs(entry[0] - 0.5))),
                cause=suspect(signals.UNKNOWN_DEFECT, around),
                explanation=(
                    f"Release {self.release} is unsure about {hits} of the last {trials} captures at "
                    f"{'/'.join(where)} ({hits / trials:.0%}, at least {low:.0%}), against {usual:.0%} of "
                    f"its first {first}: something it was not taught."
                ),
            )
        ]

    def fresh(self, now_ms: int, limits: Thresholds) -> bool:
        """Whether the release replaced another one only recently."""
        return (
            bool(self.since_ms) and now_ms - self.since_ms < limits.release_fresh_windows * limits.window_ms
        )

    def to_json(self) -> Json:
        return {
            "release": self.release,
            "since": self.since_ms,
            "classes": list(self.classes),
            "reference": self.reference,
            "uncertain": self.reference_uncertain,
            "bins": self.bins,
            "bands": self.bands,
            "seen": self.seen,
            "captures": self.captures,
            "fired": [[start, sorted(kinds)] for start, kinds in self.fired.open.items()],
        }

    @classmethod
    def from_json(cls, raw: Json) -> Scores:
        scores = cls(
            release=raw["release"],
            since_ms=raw["since"],
            classes=tuple(raw["classes"]),
            reference=raw["reference"],
            reference_uncertain=raw["uncertain"],
            bins=raw["bins"],
            bands=raw["bands"],
            seen=raw["seen"],
            captures=[(score, capture, uncertain) for score, capture, uncertain in raw["captures"]],
        )
        scores.fired.open = {start: set(kinds) for start, kinds in raw["fired"]}
        return scores

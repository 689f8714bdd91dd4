"""Rules of one shape: how large a share of something went wrong in a window, beyond chance.

False rejects among rejects, operator overrides among decisions, disagreed reviews among reviews, exceptions
among decisions. A share fires only when its exact binomial lower bound lies above the threshold, so that
three of four is not yet a spike but thirty of forty is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from feedback_collector.domain import signals
from feedback_collector.domain.observations import REJECTING, Decided, Found, Observation, Reviewed
from feedback_collector.domain.signals import Circumstances, Signal, best, suspect
from feedback_collector.domain.statistics import lower_bound, upper_bound
from feedback_collector.domain.thresholds import Thresholds
from feedback_collector.domain.windows import EVERYTHING, Json, Scope, Tallies, Windows

REMEMBERED_REJECTS = 256


@dataclass(frozen=True, slots=True)
class Count:
    """What an observation adds to a share rule: to which scopes, and whether as a trial, a hit or both."""

    scopes: tuple[Scope, ...]
    trial: bool
    hit: bool


@dataclass(frozen=True, slots=True)
class ShareRule:
    """How a share rule is told.

    Attributes:
        hits: What is counted, for people ("rejects were false").
        of: What it is counted of ("rejects").
    """

    kind: str
    unit: str
    hits: str
    of: str


RULES = {
    rule.kind: rule
    for rule in (
        ShareRule(signals.FALSE_REJECT_SPIKE, "share of rejects", "were found to be good", "rejects"),
        ShareRule(
            signals.OPERATOR_OVERRIDE, "share of decisions", "were overridden by an operator", "decisions"
        ),
        ShareRule(
            signals.REVIEWER_DISAGREEMENT, "share of reviews", "saw the reviewers disagree", "shared reviews"
        ),
        ShareRule(signals.WORKFLOW_EXCEPTION, "share of decisions", "left the normal way", "decisions"),
    )
}


def threshold_of(kind: str, limits: Thresholds) -> float:
    """The share from which this rule fires."""
    return {
        signals.FALSE_REJECT_SPIKE: limits.false_reject_share,
        signals.OPERATOR_OVERRIDE: limits.override_share,
        signals.REVIEWER_DISAGREEMENT: limits.disagreement_share,
        signals.WORKFLOW_EXCEPTION: limits.exception_share,
    }[kind]


def narrow_and_wide(*narrow: Scope) -> tuple[Scope, ...]:
    """The given scopes and the whole station, each once."""
    return tuple(dict.fromkeys((*narrow, EVERYTHING)))


@dataclass(slots=True)
class Shares:
    """State of the share rules at one station.

    Attributes:
        windows: Open windows by kind of signal.
        reject_classes: Class of the last rejects by the head of their capture id, because a finding that a
            reject was false does not name the class that had been seen.
    """

    windows: dict[str, Windows[Tallies]] = field(
        default_factory=lambda: {kind: Windows(Tallies) for kind in RULES}
    )
    reject_classes: dict[str, str] = field(default_factory=dict)

    def _counts(self, seen: Observation) -> list[tuple[str, Count]]:
        if isinstance(seen, Decided):
            return self._of_decision(seen)
        if isinstance(seen, Found):
            return self._of_finding(seen)
        if isinstance(seen, Reviewed) and seen.answers > 1:
            scopes = narrow_and_wide(*(("", name) for name in seen.classes))
            return [(signals.REVIEWER_DISAGREEMENT, Count(scopes, True, not seen.agreed))]
        return []

    def _of_decision(self, seen: Decided) -> list[tuple[str, Count]]:
        scopes = narrow_and_wide((seen.part or "", ""))
        if seen.override:
            return [(signals.OPERATOR_OVERRIDE, Count(scopes, False, True))]
        counts = [
            (signals.OPERATOR_OVERRIDE, Count(scopes, True, False)),
            (signals.WORKFLOW_EXCEPTION, Count((EVERYTHING,), True, seen.by_deadline)),
        ]
        if seen.kind in REJECTING:
            self._remember(seen.capture_id, seen.class_name)
            scopes = narrow_and_wide((seen.part or "", seen.class_name or ""))
            counts.append((signals.FALSE_REJECT_SPIKE, Count(scopes, True, False)))
        return counts

    def _of_finding(self, seen: Found) -> list[tuple[str, Count]]:
        counts = []
        if seen.kind == "operator-override":
            counts.append(
                (signals.OPERATOR_OVERRIDE, Count(narrow_and_wide((seen.part or "", "")), False, True))
            )
        overridden_reject = seen.kind == "operator-override" and seen.disposition in REJECTING
        if seen.kind == "false-reject" or overridden_reject:
            name = self.reject_classes.get(seen.capture_id[:8]) or seen.class_name or ""
            scopes = narrow_and_wide((seen.part or "", name))
            counts.append((signals.FALSE_REJECT_SPIKE, Count(scopes, False, True)))
        return counts

    def _remember(self, capture_id: str, class_name: str | None) -> None:
        if class_name:
            self.reject_classes[capture_id[:8]] = class_name
            while len(self.reject_classes) > REMEMBERED_REJECTS:
                del self.reject_classes[next(iter(self.reject_classes))]

    def observe(
        self, seen: Observation, where: tuple[str, str], around: Circumstances, limits: Thresholds
    ) -> Result:
        """Count, and say what fires."""
        raised: list[Signal] = []
        late = False
        for kind, count in self._counts(seen):
            place = self.windows[kind].at(seen.at_ms, limits)
            if place is None:
                late = True
                continue
            start, tallies = place
            for scope in count.scopes:
                tally = tallies.of(scope)
                if count.trial:
                    tally.trial()
                if count.hit:
                    tally.hit(seen.capture_id)
            share = threshold_of(kind, limits)
            fired = tallies.judge(count.scopes, share, limits)
            if fired is not None:
                raised.append(_signal(RULES[kind], where, fired, start, tallies, around, limits))
        return Result(raised, late)

    def to_json(self) -> Json:
        windows = {
            kind: [[start, tallies.to_json()] for start, tallies in w.open.items()]
            for kind, w in self.windows.items()
        }
        return {"windows": windows, "rejects": self.reject_classes}

    @classmethod
    def from_json(cls, raw: Json) -> Shares:
        shares = cls(reject_classes=raw["rejects"])
        for kind, windows in raw["windows"].items():
            if kind in shares.windows:
                shares.windows[kind].open = {start: Tallies.from_json(tallies) for start, tallies in windows}
        return shares


@dataclass(frozen=True, slots=True)
class Result:
    """What observing gave: signals, and whether the event came after its window had closed."""

    signals: list[Signal]
    late: bool = False


def _signal(
    rule: ShareRule,
    where: tuple[str, str],
    scope: Scope,
    start: int,
    tallies: Tallies,
    around: Circumstances,
    limits: Thresholds,
) -> Signal:
    tally = tallies.of(scope)
    part, class_name = scope[0] or None, scope[1] or None
    threshold = threshold_of(rule.kind, limits)
    low = lower_bound(tally.hits, tally.sample, limits.confidence)
    high = upper_bound(tally.hits, tally.sample, limits.confidence)
    what = " ".join(
        filter(None, (f"of part {part}" if part else "", f"as {class_name}" if class_name else ""))
    )
    return Signal(
        kind=rule.kind,
        line=where[0],
        station=where[1],
        part=part,
        class_name=class_name,
        start_ms=start,
        end_ms=start + limits.window_ms,
        measured=tally.share,
        expected=threshold / 2,
        threshold=threshold,
        unit=rule.unit,
        sample_size=tally.sample,
        evidence=best(reversed(tally.evidence)),
        cause=suspect(rule.kind, around, class_name),
        explanation=(
            f"{tally.hits} of {tally.sample} {rule.of}{' ' + what if what else ''} at {'/'.join(where)} "
            f"{rule.hits}: {tally.share:.0%}, between {low:.0%} and {high:.0%} with {limits.confidence:.0%} "
            f"confidence each way, where up to {threshold:.0%} is tolerated."
        ),
    )

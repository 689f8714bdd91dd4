"""What the rules of `taxonomy.published` say: how severe a defect is for a product, at a station, for a customer, and
what becomes of the part (M4.2).

The registry answers "why this severity?" with this, and the review-router decides with it, so that they cannot differ.

A rule that names more of customer, station, product and class is more specific than one that names fewer. Of two that
name as many, the one that names the customer wins, then the station, then the product, then the class; `line/station`
wins over the station alone. Severity and disposition are settled apart, for a rule may say only one of them. A rule that
names no class holds for every defect, with one exception: it never makes a critical class, or one that the taxonomy does
not know, milder, and never lets it pass. Whoever wants that says so of the class by its name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from andon_events.records import SeverityRule

CRITICAL: Final = "critical"
SEVERITIES: Final = (CRITICAL, "major", "minor", "monitor-only")
"""From the gravest to the mildest."""

PASS: Final = "pass"
DISPOSITIONS: Final = (PASS, "reject", "rework", "hold", "route-to-reviewer", "escalate-to-engineering")

KEPT: Final = 4096
"""Answers that are remembered: a line asks the same of part after part."""

_NAMED: Final = ("customer", "station", "product", "class_name")

_Shape = tuple[bool, bool, bool, bool, bool]
"""Which of `_NAMED` a rule names, and whether its station comes with the line."""
_Where = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where and of what; None is unknown, and no rule that names it holds then.

    Attributes:
        product: Part number.
        station: `line/station`; without the line, rules that name one do not hold.
    """

    product: str | None = None
    station: str | None = None
    customer: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """A class, as its taxonomy defines it.

    Attributes:
        severity: Its own.
        is_defect: Of the good class no rule holds.
        is_known: False for a class that a model names and the taxonomy lacks.
    """

    class_name: str
    severity: str | None
    is_defect: bool = True
    is_known: bool = True


@dataclass(frozen=True, slots=True)
class Settled:
    """One value and where it comes from.

    Attributes:
        value: None where neither a rule nor the class says anything.
        rule: What decided; None for the class itself.
        beaten: Rules that hold as well and say another or the same value, the most specific first.
        barred: Rules without a class that would make milder what must not be made milder unnamed.
    """

    value: str | None
    rule: SeverityRule | None = None
    beaten: tuple[SeverityRule, ...] = ()
    barred: tuple[SeverityRule, ...] = ()


class SeverityRules:
    """The rules of one taxonomy, sorted once: asking costs the same however many there are."""

    def __init__(self, rules: Iterable[SeverityRule] = ()) -> None:
        by_shape: dict[_Shape, dict[_Where, SeverityRule]] = {}
        for rule in rules:
            by_shape.setdefault(_shape(rule), {})[named(rule)] = rule
        self._by_shape = [(shape, by_shape[shape]) for shape in sorted(by_shape, key=_rank, reverse=True)]
        self._kept = lru_cache(maxsize=KEPT)(self._settle)

    def holding(self, subject: Subject, place: Place) -> Iterator[SeverityRule]:
        """Those that hold, the most specific first."""
        if not subject.is_defect:
            return
        bare = place.station.rpartition("/")[2] if place.station else None
        for shape, rules in self._by_shape:
            customer, station, product, class_name, with_line = shape
            wanted = (
                place.customer if customer else None,
                (place.station if with_line else bare) if station else None,
                place.product if product else None,
                subject.class_name if class_name else None,
            )
            rule = rules.get(wanted)
            if rule is not None:
                yield rule

    def settle(self, subject: Subject, place: Place) -> tuple[Settled, Settled]:
        """Severity and disposition of a class at a place."""
        return self._kept(subject, place) if self._by_shape else (Settled(subject.severity), Settled(None))

    def _settle(self, subject: Subject, place: Place) -> tuple[Settled, Settled]:
        holding = list(self.holding(subject, place))
        guarded = subject.severity == CRITICAL or not subject.is_known
        severity = _winner(
            [(rule, rule.severity) for rule in holding],
            subject.severity,
            lambda value: guarded and _is_milder(value, subject.severity),
        )
        guarded = guarded or severity.value == CRITICAL
        disposition = _winner(
            [(rule, rule.disposition) for rule in holding], None, lambda value: guarded and value == PASS
        )
        return severity, disposition


def named(rule: SeverityRule) -> _Where:
    """What a rule names: customer, station, product, class. Two rules that name the same contradict each other."""
    return rule.customer, rule.station, rule.product, rule.class_name


def specificity(rule: SeverityRule) -> tuple[int, ...]:
    """The greater wins; the first number is how many fields the rule names."""
    return _rank(_shape(rule))


def faults(rules: Sequence[SeverityRule]) -> list[str]:
    """Why no decision can rest on these rules, in words; empty when they are sound."""
    found = []
    for rule in rules:
        place = ", ".join(f"{name} {value}" for name in _NAMED if (value := getattr(rule, name)) is not None)
        if not place:
            found.append("a rule names no product, station, customer or class")
        if rule.severity is None and rule.disposition is None:
            found.append(f"the rule for {place} says neither severity nor disposition")
        if rule.severity is not None and rule.severity not in SEVERITIES:
            found.append(f"the rule for {place} has the unknown severity {rule.severity!r}")
        if rule.disposition is not None and rule.disposition not in DISPOSITIONS:
            found.append(f"the rule for {place} has the unknown disposition {rule.disposition!r}")
    if any(count > 1 for count in Counter(map(named, rules)).values()):
        found.append("two rules name the same product, station, customer and class")
    return found


def _winner(
    said: Sequence[tuple[SeverityRule, str | None]], own: str | None, is_barred: Callable[[str], bool]
) -> Settled:
    speaking = [(rule, value) for rule, value in said if value is not None]
    barred = [rule for rule, value in speaking if rule.class_name is None and is_barred(value)]
    left = [(rule, value) for rule, value in speaking if rule not in barred]
    if not left:
        return Settled(own, barred=tuple(barred))
    (winner, value), *beaten = left
    return Settled(value, winner, tuple(rule for rule, _ in beaten), tuple(barred))


def _is_milder(value: str, than: str | None) -> bool:
    return than in SEVERITIES and SEVERITIES.index(value) > SEVERITIES.index(than)


def _rank(shape: _Shape) -> tuple[int, ...]:
    return (sum(shape[:-1]), *shape)


def _shape(rule: SeverityRule) -> _Shape:
    customer, station, product, class_name = (value is not None for value in named(rule))
    return customer, station, product, class_name, "/" in (rule.station or "")

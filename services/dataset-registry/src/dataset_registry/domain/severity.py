"""How severe a class is for a product, at a station, for a customer, and what then happens to the part: the most
specific rule wins (M4.2).

A rule that names more of customer, station, product and class is more specific than one that names fewer. Of two that
name as many, the one that names the customer wins, then the station, then the product, then the class. Severity and
disposition are settled apart, for a rule may say only one of them. A rule that names no class holds for every defect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dataset_registry.domain.taxonomy_changes import described
from dataset_registry.domain.taxonomy_document import ClassEntry, Document, SeverityRule

_RANK = ("customer", "station", "product", "class_name")


@dataclass(frozen=True, slots=True)
class Beaten:
    """A rule that holds here as well and does not decide, and why."""

    rule: SeverityRule
    why: str


@dataclass(frozen=True, slots=True)
class Settled:
    """One value and where it comes from.

    Attributes:
        value: None where neither a rule nor the class says anything.
        rule: What decided; None for the class itself.
        why: In words.
    """

    value: str | None
    rule: SeverityRule | None
    beat: tuple[Beaten, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Case:
    """What it is about; None is unknown, and no rule that names it holds then."""

    class_name: str
    product: str | None = None
    station: str | None = None
    customer: str | None = None


def settle(document: Document, entry: ClassEntry, case: Case) -> tuple[Settled, Settled]:
    """Severity and disposition of a class in a case."""
    rules = [rule for rule in document.rules if entry.is_defect and _holds(rule, case)]
    own = f"{entry.name} is {entry.severity} by its own definition"
    severity = _most_specific([rule for rule in rules if rule.severity], "severity", entry.severity, own)
    silent = "no rule names a disposition here: the policy's band of this severity decides"
    disposition = _most_specific([rule for rule in rules if rule.disposition], "disposition", None, silent)
    return severity, disposition


def _holds(rule: SeverityRule, case: Case) -> bool:
    return all(getattr(rule, name) in (None, getattr(case, name)) for name in _RANK)


def _most_specific(rules: Sequence[SeverityRule], what: str, own: str | None, without: str) -> Settled:
    if not rules:
        return Settled(own, None, (), f"{without}; no rule is more specific" if own else without)
    ordered = sorted(rules, key=_specificity, reverse=True)
    winner = ordered[0]
    beat = tuple(Beaten(rule, _reason(winner, rule)) for rule in ordered[1:])
    why = f"the rule for {described(winner)} names {_count(winner)} of customer, station, product and class"
    if beat:
        why += "; it beats " + "; ".join(f"{described(lost.rule)} ({lost.why})" for lost in beat)
    return Settled(getattr(winner, what), winner, beat, why)


def _specificity(rule: SeverityRule) -> tuple[int, ...]:
    named = [getattr(rule, name) is not None for name in _RANK]
    return (sum(named), *named)


def _count(rule: SeverityRule) -> int:
    return _specificity(rule)[0]


def _reason(winner: SeverityRule, lost: SeverityRule) -> str:
    if _count(winner) > _count(lost):
        return f"it names {_count(lost)}, the winner {_count(winner)}"
    first = next(name for name in _RANK if (getattr(winner, name) is None) != (getattr(lost, name) is None))
    return f"it names as many, but not the {first.removesuffix('_name')}"

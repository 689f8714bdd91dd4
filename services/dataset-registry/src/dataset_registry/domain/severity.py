"""Why a class is as severe as it is for a product, at a station, for a customer, and what then happens to the part
(M4.2). What holds is settled by `andon_events.severity`, as the review-router settles it; here are the words.
"""

from __future__ import annotations

from dataclasses import dataclass

from andon_events import severity
from andon_events.records import SeverityRule
from andon_events.severity import Place, SeverityRules, Subject, named, specificity

from dataset_registry.domain.taxonomy_changes import described
from dataset_registry.domain.taxonomy_document import ClassEntry, Document

_RANK = ("customer", "station", "product", "class")


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
    """What it is about; None is unknown, and no rule that names it holds then.

    Attributes:
        product: Part number.
        station: Its name, or `line/station`.
    """

    class_name: str
    product: str | None = None
    station: str | None = None
    customer: str | None = None


def settle(document: Document, entry: ClassEntry, case: Case) -> tuple[Settled, Settled]:
    """Severity and disposition of a class in a case."""
    subject = Subject(entry.name, entry.severity, entry.is_defect)
    place = Place(case.product, case.station, case.customer)
    grave, becomes = SeverityRules(document.rules).settle(subject, place)
    own = f"{entry.name} is {entry.severity} by its own definition; no rule is more specific"
    silent = "no rule names a disposition here: the policy's band of this severity decides"
    return _told(grave, own, f"{entry.name} is critical"), _told(becomes, silent, f"{entry.name} is critical")


def _told(settled: severity.Settled, without: str, guarded: str) -> Settled:
    winner = settled.rule
    barred = [Beaten(rule, f"it names no class, and {guarded}: it must be named") for rule in settled.barred]
    if winner is None:
        return Settled(settled.value, None, tuple(barred), _with(without, "; passed over: ", barred))
    beaten = [Beaten(rule, _reason(winner, rule)) for rule in settled.beaten]
    why = f"the rule for {described(winner)} names {_count(winner)} of customer, station, product and class"
    return Settled(settled.value, winner, (*beaten, *barred), _with(why, "; it beats ", [*beaten, *barred]))


def _with(why: str, joint: str, lost: list[Beaten]) -> str:
    return why + joint + "; ".join(f"{described(one.rule)} ({one.why})" for one in lost) if lost else why


def _count(rule: SeverityRule) -> int:
    return specificity(rule)[0]


def _reason(winner: SeverityRule, lost: SeverityRule) -> str:
    if _count(winner) > _count(lost):
        return f"it names {_count(lost)}, the winner {_count(winner)}"
    sides = zip(_RANK, named(winner), named(lost), strict=True)
    apart = next((name for name, won, had in sides if (won is None) != (had is None)), "line")
    return f"it names as many, but not the {apart}"

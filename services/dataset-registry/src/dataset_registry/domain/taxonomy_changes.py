"""What a taxonomy changes in the one before, which classes that affects, and whether their labels must be redone
(M4.3).

An affected class is one of the version before: labels in force carry its name. A new defect without an origin affects
the good class, for what shows it was called good until now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from andon_events.records import SeverityRule
from andon_events.severity import named

from dataset_registry.domain.refusals import invalid
from dataset_registry.domain.taxonomy_document import ClassEntry, Document

ADDED, REMOVED, RENAMED, SPLIT, MERGED = "added", "removed", "renamed", "split", "merged"
NONE, RELABEL = "none", "relabel"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    Attributes:
        kind: added, removed, renamed, split, merged, or what was changed: severity-changed, boundary-changed ...
        before, after: Names of the classes that it is about, in the old and in the new version.
        was, now: The texts, of a change to one field or rule.
        affected: Classes of the old version whose labels it puts in question.
        suggested: relabel where people must look again; none where the old labels say the same as before.
    """

    kind: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    affected: tuple[str, ...] = ()
    suggested: str = NONE
    was: str | None = None
    now: str | None = None


class Pair(NamedTuple):
    """A class in the old and in the new version, side by side, with the kinds of its changes."""

    before: ClassEntry | None
    after: ClassEntry | None
    kinds: tuple[str, ...]


class Affected(NamedTuple):
    """A class of the old version whose labels are in question, and why."""

    class_name: str
    kinds: tuple[str, ...]
    suggested: str


class Decision(NamedTuple):
    """What becomes of the labels of an affected class.

    Attributes:
        relabel: none or relabel.
        reason: Why nothing is to be done.
    """

    class_name: str
    relabel: str
    reason: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two versions side by side."""

    pairs: tuple[Pair, ...]
    changes: tuple[Change, ...]

    @property
    def affected(self) -> tuple[Affected, ...]:
        """Every affected class once, in the order of the changes."""
        names = dict.fromkeys(name for change in self.changes for name in change.affected)
        return tuple(_affected(name, self.changes) for name in names)


class _Field(NamedTuple):
    kind: str
    affects: bool
    suggested: str


_FIELDS: Mapping[str, _Field] = {
    "severity": _Field("severity-changed", True, NONE),
    "is_defect": _Field("defect-or-good-changed", True, RELABEL),
    "definition": _Field("definition-changed", True, RELABEL),
    "region_rule": _Field("region-rule-changed", True, RELABEL),
    "boundary_rule": _Field("boundary-changed", True, RELABEL),
    "acceptable_variation": _Field("acceptable-variation-changed", True, RELABEL),
    "ambiguous_rule": _Field("ambiguous-rule-changed", True, NONE),
    "escalation_path": _Field("escalation-changed", False, NONE),
    "colour": _Field("colour-changed", False, NONE),
    "examples": _Field("examples-changed", False, NONE),
}


def diff(old: Document, new: Document) -> Comparison:
    """What `new` changes in `old`."""
    before, after = old.by_name(), new.by_name()
    changes = list(_splits(new, before))
    sides: list[tuple[ClassEntry | None, ClassEntry | None]] = []
    for entry in new.classes:
        earlier, whole = _origin(entry, old, after)
        sides.append((earlier, entry))
        changes += [*whole, *(_field_changes(earlier, entry) if earlier else ())]
    followed = {name for change in changes for name in change.before}
    for gone in (entry for entry in old.classes if entry.name not in after):
        if gone.name not in followed:
            changes.append(Change(REMOVED, (gone.name,), (), (gone.name,), RELABEL))
        if all(earlier is not gone for earlier, _ in sides):
            sides.append((gone, None))
    pairs = tuple(Pair(earlier, entry, _kinds(earlier, entry, changes)) for earlier, entry in sides)
    return Comparison(pairs, (*changes, *_rule_changes(old.rules, new.rules)))


def check_decisions(
    comparison: Comparison, decisions: Sequence[Decision], names: Mapping[str, int]
) -> list[str]:
    """The classes whose labels are to be redone. Raises Refused unless every affected class has one decision, with a
    reason where nothing is done.

    Args:
        names: Labels in force by affected class, to say how much is at stake.
    """
    affected = {item.class_name for item in comparison.affected}
    decided = [decision.class_name for decision in decisions]
    missing = [item for item in comparison.affected if item.class_name not in decided]
    if missing:
        wanted = ", ".join(
            f"{item.class_name} ({names.get(item.class_name, 0)} labels; {', '.join(item.kinds)})"
            for item in missing
        )
        raise invalid("relabel-decision-missing", f"Say of each affected class what becomes of it: {wanted}.")
    strangers = sorted(set(decided) - affected)
    if strangers:
        raise invalid("class-not-affected", f"Nothing changes for {', '.join(strangers)}; leave it out.")
    if len(set(decided)) < len(decided):
        raise invalid("relabel-decision-twice", "Decide once for each affected class.")
    for decision in decisions:
        if decision.relabel == NONE and not decision.reason.strip():
            raise invalid(
                "relabel-reason-missing", f"Say why the labels of {decision.class_name} may stay as they are."
            )
    return [decision.class_name for decision in decisions if decision.relabel == RELABEL]


def _origin(
    entry: ClassEntry, old: Document, after: Mapping[str, ClassEntry]
) -> tuple[ClassEntry | None, list[Change]]:
    """The class that an entry goes on from, and what happened to it as a whole."""
    before = old.by_name()
    if entry.renamed_from in before and entry.renamed_from not in after:
        name = entry.renamed_from
        return before[name], [Change(RENAMED, (name,), (entry.name,), (name,))]
    merged = tuple(name for name in entry.merged_from if name in before)
    if merged:
        others = tuple(name for name in merged if name != entry.name)
        return before.get(entry.name), [Change(MERGED, merged, (entry.name,), others)]
    if entry.name in before or entry.split_from in before:
        return before.get(entry.name), []
    good = (old.good_class,) if entry.is_defect and old.good_class else ()
    return None, [Change(ADDED, (), (entry.name,), good, RELABEL if good else NONE)]


def _splits(new: Document, before: Mapping[str, ClassEntry]) -> Iterator[Change]:
    for name in before:
        parts = {entry.name for entry in new.classes if entry.split_from == name}
        if parts:
            heirs = tuple(entry.name for entry in new.classes if entry.name in parts | {name})
            yield Change(SPLIT, (name,), heirs, (name,), RELABEL)


def _field_changes(old: ClassEntry, new: ClassEntry) -> Iterator[Change]:
    for name, field in _FIELDS.items():
        was, now = getattr(old, name), getattr(new, name)
        if was != now:
            affected = (old.name,) if field.affects else ()
            texts = (_text(was), _text(now))
            yield Change(field.kind, (old.name,), (new.name,), affected, field.suggested, *texts)


def _rule_changes(old: Sequence[SeverityRule], new: Sequence[SeverityRule]) -> Iterator[Change]:
    was, now = ({named(rule): rule for rule in rules} for rules in (old, new))
    for where in dict.fromkeys((*was, *now)):
        first, last = was.get(where), now.get(where)
        if first == last:
            continue
        kind = "rule-changed" if first and last else "rule-added" if last else "rule-removed"
        about = (where[3],) if where[3] else ()
        yield Change(
            kind,
            about if first else (),
            about if last else (),
            was=described(first) if first else None,
            now=described(last) if last else None,
        )


def described(rule: SeverityRule) -> str:
    """A rule in words: customer ACME, class crack: critical, hold."""
    names = (
        ("customer", rule.customer),
        ("station", rule.station),
        ("product", rule.product),
        ("class", rule.class_name),
    )
    where = ", ".join(f"{what} {name}" for what, name in names if name) or "everywhere"
    return f"{where}: {', '.join(filter(None, (rule.severity, rule.disposition)))}"


def _affected(name: str, changes: Sequence[Change]) -> Affected:
    about = [change for change in changes if name in change.affected]
    suggested = RELABEL if any(change.suggested == RELABEL for change in about) else NONE
    return Affected(name, tuple(dict.fromkeys(change.kind for change in about)), suggested)


def _kinds(
    earlier: ClassEntry | None, entry: ClassEntry | None, changes: Sequence[Change]
) -> tuple[str, ...]:
    """What happened to a class that was the one and is the other."""
    if entry:
        about = [change for change in changes if entry.name in change.after]
    else:
        about = [change for change in changes if earlier and earlier.name in change.before]
    return tuple(dict.fromkeys(change.kind for change in about))


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return "defect" if value else "good"
    if isinstance(value, tuple):
        return f"{len(value)} examples"
    return None if value is None else str(value)

"""What a taxonomy says: its classes with the rules that people label by, and severities that differ by place (M4.1,
M4.2). Documents of earlier versions lack some fields; these take their defaults.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from andon_events.records import SeverityRule
from andon_events.severity import CRITICAL, PASS, named

SEVERITIES = ("critical", "major", "minor", "monitor-only")
GOLD, HARD_NEGATIVE = "gold", "hard-negative"


@dataclass(frozen=True, slots=True)
class Example:
    """An image that shows what is meant.

    Attributes:
        kind: gold, or hard-negative: what looks like the class and is none.
        severity: What it is an example of; None for the class as a whole.
    """

    image_id: str
    kind: str
    severity: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class ClassEntry:
    """One class. While it is a draft, its name may be empty and its severity unknown.

    Attributes:
        region_rule: classify, box, segment or zone; None where any mark will do.
        boundary_rule: Where the defect ends.
        acceptable_variation: What looks like it and is allowed.
        ambiguous_rule: What to do where the rules do not decide.
        escalation_path: Who decides then.
        colour: #rrggbb.
        renamed_from, split_from, merged_from: Classes of the version before that it comes from.
    """

    name: str
    definition: str = ""
    is_defect: bool = True
    severity: str | None = None
    region_rule: str | None = None
    boundary_rule: str = ""
    acceptable_variation: str = ""
    ambiguous_rule: str = ""
    escalation_path: str = ""
    colour: str | None = None
    examples: tuple[Example, ...] = ()
    renamed_from: str | None = None
    split_from: str | None = None
    merged_from: tuple[str, ...] = ()

    @property
    def origins(self) -> tuple[str, ...]:
        """Classes of the version before that it says it comes from."""
        return tuple(name for name in (self.renamed_from, self.split_from, *self.merged_from) if name)


@dataclass(frozen=True, slots=True)
class Document:
    """A taxonomy as it is published."""

    classes: tuple[ClassEntry, ...] = ()
    rules: tuple[SeverityRule, ...] = ()

    def by_name(self) -> dict[str, ClassEntry]:
        return {entry.name: entry for entry in self.classes}

    @property
    def example_images(self) -> list[str]:
        return [example.image_id for entry in self.classes for example in entry.examples]

    @property
    def good_class(self) -> str | None:
        return next((entry.name for entry in self.classes if not entry.is_defect), None)


class Flaw(NamedTuple):
    """Something that a document lacks, or says wrongly.

    Attributes:
        where: Path in the document: classes[2].definition.
        blocking: It cannot be published like this; otherwise people will miss it.
    """

    where: str
    code: str
    what: str
    blocking: bool


def document_of(raw: Mapping[str, Any]) -> Document:
    """A document from its JSON."""
    return Document(
        classes=tuple(_class_of(row) for row in raw.get("classes", ())),
        rules=tuple(SeverityRule(**_known(SeverityRule, row)) for row in raw.get("rules", ())),
    )


def flaws(document: Document, in_force: Document | None) -> list[Flaw]:
    """All that is missing or wrong in a document that is to follow the one in force."""
    found = [*_whole(document), *_rules(document)]
    for index, entry in enumerate(document.classes):
        found += [flaw._replace(where=f"classes[{index}].{flaw.where}") for flaw in _class(entry)]
    return found + list(lineage_flaws(document, in_force))


def lineage_flaws(document: Document, in_force: Document | None) -> Iterator[Flaw]:
    """What classes say wrongly about where they come from."""
    before = in_force.by_name() if in_force else {}
    now = document.by_name()
    heirs: dict[str, int] = {}
    for index, entry in enumerate(document.classes):
        where = f"classes[{index}]"
        ways = sum(map(bool, (entry.renamed_from, entry.split_from, entry.merged_from)))
        if ways > 1:
            what = f"{entry.name} says more than one of renamed, split and merged; keep one of them."
            yield Flaw(where, "lineage-unclear", what, True)
        for name in entry.origins:
            if name not in before:
                what = f"{entry.name} comes from {name}, which is no class of the version in force."
                yield Flaw(where, "lineage-unknown", what, True)
        if entry.renamed_from:
            heirs[entry.renamed_from] = heirs.get(entry.renamed_from, 0) + 1
            if entry.renamed_from in now or heirs[entry.renamed_from] > 1:
                what = f"{entry.renamed_from} stays, or has another name already; say split_from instead."
                yield Flaw(f"{where}.renamed_from", "lineage-unclear", what, True)
        if entry.merged_from and len({*entry.merged_from, *({entry.name} & before.keys())}) < 2:
            what = f"{entry.name} merges one class only; say renamed_from instead."
            yield Flaw(f"{where}.merged_from", "lineage-unclear", what, True)


def example_flaws(document: Document, known: Set[str]) -> Iterator[Flaw]:
    """Examples that nobody could look at.

    Args:
        known: Those of the examples' images that there are.
    """
    for index, entry in enumerate(document.classes):
        for place, example in enumerate(entry.examples):
            if example.image_id not in known:
                what = f"There is no image {example.image_id}; choose another example of {entry.name}."
                yield Flaw(f"classes[{index}].examples[{place}]", "example-unknown", what, True)


def without_lineage(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A document's JSON as the start of the next version: what its classes came from is history by now."""
    gone = ("renamed_from", "split_from", "merged_from")
    classes = [{name: value for name, value in row.items() if name not in gone} for row in raw["classes"]]
    return {**raw, "classes": classes}


def _whole(document: Document) -> Iterator[Flaw]:
    good = [entry.name for entry in document.classes if not entry.is_defect]
    if len(good) != 1:
        what = f"Exactly one class is the good one (is_defect false); there are {len(good)}."
        yield Flaw("classes", "good-class-missing" if not good else "good-class-twice", what, True)
    seen: set[str] = set()
    for index, entry in enumerate(document.classes):
        if entry.name in seen:
            yield Flaw(f"classes[{index}].name", "name-taken", f"{entry.name} stands in it twice.", True)
        seen.add(entry.name)
    colours = [entry.colour for entry in document.classes if entry.colour]
    for colour in sorted({colour for colour in colours if colours.count(colour) > 1}):
        yield Flaw("classes", "colour-taken", f"Several classes have the colour {colour}.", False)


def _class(entry: ClassEntry) -> Iterator[Flaw]:
    if not entry.name:
        yield Flaw("name", "name-missing", "Give the class a name.", True)
    if entry.severity is None:
        yield Flaw("severity", "severity-missing", f"Say how severe {entry.name} is.", True)
    if not entry.is_defect:
        return
    if not entry.definition.strip():
        yield Flaw("definition", "definition-missing", f"Say what one sees when it is {entry.name}.", True)
    for name, code, what in (
        ("region_rule", "region-rule-missing", "Say whether it is only named, boxed, outlined or zoned."),
        ("boundary_rule", "boundary-rule-missing", "Say where it ends."),
        ("ambiguous_rule", "ambiguous-rule-missing", "Say what to do where the rules do not decide."),
        ("escalation_path", "escalation-path-missing", "Say who decides then."),
    ):
        if not getattr(entry, name):
            yield Flaw(name, code, what, False)
    kinds = {example.kind for example in entry.examples}
    for kind in (GOLD, HARD_NEGATIVE):
        if kind not in kinds:
            yield Flaw("examples", f"{kind}-missing", f"Add a {kind} example of {entry.name}.", False)


def _rules(document: Document) -> Iterator[Flaw]:
    seen: set[tuple[str | None, ...]] = set()
    for index, rule in enumerate(document.rules):
        where = f"rules[{index}]"
        if rule.class_name is not None and rule.class_name not in document.by_name():
            yield Flaw(where, "rule-class-unknown", f"{rule.class_name} is no class of this taxonomy.", True)
        if not any(named(rule)):
            yield Flaw(where, "rule-names-nothing", "Name a product, station, customer or class.", True)
        if rule.severity is None and rule.disposition is None:
            yield Flaw(where, "rule-says-nothing", "Give it a severity or a disposition.", True)
        if named(rule) in seen:
            yield Flaw(where, "rule-twice", "Another rule names the same; keep one of them.", True)
        seen.add(named(rule))
        if rule.disposition == PASS:
            yield from _lets_pass(document, rule, where)


def _lets_pass(document: Document, rule: SeverityRule, where: str) -> Iterator[Flaw]:
    entry = document.by_name().get(rule.class_name or "")
    if rule.class_name is None:
        what = "It names no class, so critical ones do not pass by it; name those that shall."
        yield Flaw(where, "rule-passes-unnamed", what, False)
    elif entry is not None and CRITICAL in (rule.severity, entry.severity):
        yield Flaw(where, "rule-passes-critical", f"{entry.name} is critical and passes there.", False)


def _class_of(row: Mapping[str, Any]) -> ClassEntry:
    known = _known(ClassEntry, row)
    known["examples"] = tuple(Example(**_known(Example, example)) for example in known.get("examples", ()))
    known["merged_from"] = tuple(known.get("merged_from", ()))
    return ClassEntry(**known)


def _known(kind: type, row: Mapping[str, Any]) -> dict[str, Any]:
    names: Sequence[str] = [field.name for field in fields(kind)]
    return {name: row[name] for name in names if name in row}

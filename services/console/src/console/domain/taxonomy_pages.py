"""A taxonomy in the words of its pages, and what a plain form says about one class of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from console.domain.words import sentence

Entry = Mapping[str, Any]
"""A class as the registry gives it."""

SEVERITIES = {
    "critical": "reject",
    "major": "rework",
    "minor": "route-to-reviewer",
    "monitor-only": "pending",
}
"""Severities, the worst first, each with the colour of a disposition that it shares."""

REGIONS = {
    "classify": "Nothing is drawn: the whole image has the class",
    "box": "A box around it",
    "segment": "Its exact outline",
    "zone": "The zone that it lies in",
}

TEXTS = {
    "definition": "What one sees",
    "boundary_rule": "Where it ends",
    "acceptable_variation": "What looks like it and is allowed",
    "ambiguous_rule": "When it is not clear",
    "escalation_path": "Who decides then",
}
"""Texts of a class, in the order in which people ask for them."""

EMPTY: dict[str, Any] = {
    "name": "",
    "is_defect": True,
    "severity": None,
    "region_rule": None,
    "colour": None,
    "examples": [],
    "renamed_from": None,
    "split_from": None,
    "merged_from": [],
    **dict.fromkeys(TEXTS, ""),
}
"""A class of which nothing has been written."""

_COMPARED = {
    "name": "Name",
    "severity": "Severity",
    "is_defect": "Kind",
    **TEXTS,
    "region_rule": "How it is marked",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of a class that two people or two versions say differently."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Row:
    """A class in two versions, side by side.

    Attributes:
        title: Its name; both where it changed.
        kinds: What happened to it.
        differences: Only fields that differ; all that are written where it is new or gone.
    """

    title: str
    kinds: tuple[str, ...]
    differences: tuple[Difference, ...]


def region_rule(rule: str | None) -> str:
    """How a class is marked."""
    return REGIONS.get(rule, sentence(rule)) if rule else "Any mark will do"


def unwritten(entry: Entry) -> list[str]:
    """Names of the texts that a class still lacks."""
    return [name for field, name in TEXTS.items() if not entry[field]]


def fingerprint(entry: Entry) -> str:
    """Changes whenever somebody changes the class: what a form was opened with."""
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()[:20]


def place_of(classes: Sequence[Entry], index: int, name: str) -> int:
    """Where a class stands now that was at `index`; after all others when it is gone."""
    if index < len(classes) and classes[index]["name"] == name:
        return index
    return next((at for at, entry in enumerate(classes) if entry["name"] == name), len(classes))


def from_form(form: Mapping[str, str], before: Entry, merged_from: Sequence[str]) -> dict[str, Any]:
    """The class that a form says; what the form does not ask for stays as it was.

    Args:
        form: Fields by name; `keep-0`, `keep-1` ... are the examples that stay.
        merged_from: Boxes that were ticked, which share a name.
    """
    examples = [example for at, example in enumerate(before["examples"]) if f"keep-{at}" in form]
    if image := form.get("example_image", "").strip():
        kind, note = form.get("example_kind", "gold"), form.get("example_note", "").strip()
        examples.append({"image_id": image, "kind": kind, "severity": None, "note": note})
    said: dict[str, Any] = {name: form.get(name, "").strip() for name in ("name", *TEXTS)}
    chosen = {
        name: form.get(name, "").strip() or None
        for name in ("severity", "region_rule", "colour", "renamed_from", "split_from")
    }
    lineage = {"merged_from": list(merged_from), "is_defect": form.get("is_defect", "yes") == "yes"}
    return {**before, **said, **chosen, **lineage, "examples": examples}


def rule_from_form(form: Mapping[str, str]) -> dict[str, str | None]:
    """The severity rule that a form says; what is left out stands for any."""
    fields = ("product", "station", "customer", "class_name", "severity", "disposition")
    return {field: form.get(field, "").strip() or None for field in fields}


def differences(before: Entry, after: Entry) -> tuple[Difference, ...]:
    """Fields that two classes say differently, in words."""
    found = [
        Difference(name, _words(field, before.get(field)), _words(field, after.get(field)))
        for field, name in _COMPARED.items()
        if before.get(field) != after.get(field)
    ]
    if before["examples"] != after["examples"]:
        found.append(Difference("Examples", _examples(before), _examples(after)))
    return tuple(found)


def rows(comparison: Mapping[str, Any]) -> list[Row]:
    """The classes of two versions that differ."""
    found = []
    for pair in comparison["pairs"]:
        before, after = pair["before"] or EMPTY, pair["after"] or EMPTY
        fields = tuple(one for one in differences(before, after) if one.before != one.after)
        if pair["kinds"] or fields:
            names = [name for name in dict.fromkeys((before["name"], after["name"])) if name]
            found.append(Row(" → ".join(names) or "unnamed", tuple(pair["kinds"]), fields))
    return found


def flaw_place(where: str, classes: Sequence[Entry]) -> tuple[int | None, str]:
    """Index of the class that `classes[2].definition` is about, None for anything else; and the place in words."""
    head, _, field = where.partition(".")
    if not head.startswith("classes[") or not head[8:-1].isdecimal():
        return None, sentence(head.replace("[", " ").replace("]", ""))
    index = int(head[8:-1])
    name = classes[index]["name"] if index < len(classes) else ""
    return index, f"{name or 'unnamed class'}{', ' + sentence(field).lower() if field else ''}"


def rule_scope(rule: Mapping[str, Any]) -> str:
    """Where a severity rule holds."""
    names = [
        f"{sentence(what).lower()} {rule[what]}" for what in ("customer", "station", "product") if rule[what]
    ]
    about = rule["class_name"] or "Every defect"
    return f"{about}: {', '.join(names)}" if names else f"{about}, everywhere"


def _words(field: str, value: Any) -> str:
    if field == "region_rule":
        return region_rule(value)
    if field == "is_defect":
        return "A defect" if value else "The good class"
    return sentence(value) if field == "severity" and value else str(value or "")


def _examples(entry: Entry) -> str:
    kinds = [example["kind"] for example in entry["examples"]]
    return f"{kinds.count('gold')} gold, {kinds.count('hard-negative')} hard negatives"

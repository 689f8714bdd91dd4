"""Dataset versions in words: how sure they are, what leaks, and what changed from one to the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PARTS = ("train", "validation", "test", "holdout")

LEAKAGE = {
    "clean": ("No leak", "pass"),
    "related": ("Related images", "rework"),
    "unproven": ("Not proven", "rework"),
    "leaks": ("Leaks", "reject"),
}
"""A verdict of the leakage report in words, and its tone."""

KINDS = {
    "content": ("The same bytes", "one file lies in both parts"),
    "neighbour": ("Look alike", "nearly the same picture lies in both parts"),
    "part": ("The same part", "one physical part was photographed more than once"),
    "batch": ("The same batch", "parts made together lie in both parts"),
    "time": ("The same time", "taken at one station within minutes"),
}

CHANGES = {
    "added": "Came in",
    "removed": "Went out",
    "relabelled": "Changed its label",
    "moved": "Changed its part",
}


@dataclass(frozen=True, slots=True)
class Side:
    """An image in one of two versions: its class or part there, None where it is not in it."""

    image_id: str
    was: str | None
    now: str | None


def short(hash_: str) -> str:
    """A version's hash, as long as people read it to each other."""
    return hash_[:12]


def title(version: Mapping[str, Any]) -> str:
    """What a version is called: its purpose, else its hash."""
    return str(version["purpose"] or f"Version {short(version['hash'])}")


def leakage(verdict: str | None) -> tuple[str, str]:
    """Word and tone of a verdict; a version without a split has none."""
    return LEAKAGE.get(verdict or "", ("No split", "pending"))


def parts(version: Mapping[str, Any]) -> list[tuple[str, int, float]]:
    """Part, images, and share of all in percent, in the order of learning; a version without a split has one."""
    counts = version["parts"] or {"all": version["items"]}
    total = sum(counts.values()) or 1
    order = [name for name in (*PARTS, "all") if name in counts]
    return [(name, counts[name], round(100 * counts[name] / total, 1)) for name in order]


def classes(version: Mapping[str, Any]) -> list[tuple[str, int, float]]:
    """Class, images, and percent of the most frequent one; the most frequent first."""
    most = max(version["classes"].values(), default=1) or 1
    return [
        (name, number, round(100 * number / most, 1))
        for name, number in sorted(version["classes"].items(), key=lambda item: (-item[1], item[0]))
    ]


def behind(items: Iterable[Mapping[str, Any]], wanted: Mapping[str, str]) -> list[Mapping[str, Any]]:
    """Items of a manifest that are what was asked for; what is empty lets everything through."""
    fields = {"split" if name == "part" else name: text for name, text in wanted.items() if text}
    return [one for one in items if all(one.get(field) == text for field, text in fields.items())]


def changes(found: Mapping[str, Any]) -> list[tuple[str, str, int, Sequence[Side], int]]:
    """Kind, its name, how many there are, those that are listed, and how many more lie unlisted in the holdout."""
    return [
        (
            kind,
            name,
            found["counts"].get(kind, 0),
            [Side(one["id"], one["was"], one["now"]) for one in found[kind]],
            found["in_holdout"].get(kind, 0),
        )
        for kind, name in CHANGES.items()
    ]


def differences(before: Mapping[str, Any], after: Mapping[str, Any], of: str) -> list[tuple[str, int, int]]:
    """Name and number in both versions, of `classes` or `parts`; what is in neither is left out."""
    was, now = before[of], after[of]
    return [(name, was.get(name, 0), now.get(name, 0)) for name in sorted(was.keys() | now.keys())]

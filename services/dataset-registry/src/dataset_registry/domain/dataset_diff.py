"""What changed from one dataset version to another.

What happened inside the holdout is counted, not named: a diff must not tell what is in it. An image that left it is
named, for it can be learned from now, and figures on the holdout no longer prove anything about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dataset_registry.domain.samples import HOLDOUT

Items = Mapping[str, Mapping[str, Any]]
"""Items by id; those of the holdout have `split` holdout."""


@dataclass(frozen=True, slots=True)
class Change:
    """One image; `was` and `now` say what is different: a class, or a part. None is not there."""

    id: str
    was: str | None
    now: str | None


@dataclass(slots=True)
class Diff:
    """Attributes:
    added, removed: With the class.
    relabelled: Other classes, or other shapes of the same ones (`was` and `now` are equal then).
    moved: With the part.
    in_holdout: How many were added, removed and relabelled inside it.
    alarms: What makes figures of before and after incomparable.
    """

    added: list[Change] = field(default_factory=list)
    removed: list[Change] = field(default_factory=list)
    relabelled: list[Change] = field(default_factory=list)
    moved: list[Change] = field(default_factory=list)
    in_holdout: dict[str, int] = field(default_factory=lambda: {"added": 0, "removed": 0, "relabelled": 0})
    alarms: list[str] = field(default_factory=list)


def diff(before: Items, after: Items) -> Diff:
    """Everything that is in one and not, or otherwise, in the other; sorted by id."""
    found = Diff()
    for id_ in sorted(before.keys() | after.keys()):
        _compare(found, id_, before.get(id_), after.get(id_))
    learned = [change.id for change in found.moved if change.was == HOLDOUT]
    spoiled = [change.id for change in found.moved if change.now == HOLDOUT]
    if learned:
        found.alarms.append(
            f"{len(learned)} IMAGES LEFT THE HOLDOUT and can be learned from now, the first is {learned[0]}:"
            " figures on the old holdout say nothing about a model of this version."
        )
    if spoiled:
        found.alarms.append(
            f"{len(spoiled)} IMAGES CAME INTO THE HOLDOUT that could be learned from before, the first is {spoiled[0]}:"
            " judge only models that never saw the version before on it."
        )
    return found


def of(*manifests: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The items of a version's manifest, and of its holdout's, by id."""
    return {item["capture_id"]: item for manifest in manifests for item in _items(manifest)}


def _items(manifest: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    items: Iterable[Mapping[str, Any]] = manifest["items"]
    return items


def _compare(found: Diff, id_: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> None:
    was, now = (item.get("split") if item else None for item in (old, new))
    hidden = HOLDOUT in (was, now)
    if old is None or new is None:
        what = "added" if old is None else "removed"
        if hidden:
            found.in_holdout[what] += 1
        else:
            getattr(found, what).append(
                Change(id_, _classes(old) if old else None, _classes(new) if new else None)
            )
        return
    if (_classes(old), old.get("shapes") or []) != (_classes(new), new.get("shapes") or []):
        if hidden:
            found.in_holdout["relabelled"] += 1
        else:
            found.relabelled.append(Change(id_, _classes(old), _classes(new)))
    if was != now:
        found.moved.append(Change(id_, was, now))


def _classes(item: Mapping[str, Any]) -> str:
    return " + ".join(item.get("classes") or (item["class_name"],))

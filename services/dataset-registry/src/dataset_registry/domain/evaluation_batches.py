"""Controlled evaluation batches: what is new at a station is tried on known images before a model may decide there.

New is what the model was not trained on: a product variant, a camera, a supplier, a material, a lighting condition.
A batch is a named set of images of one such thing; a person accepts a release on it once enough of it is labelled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dataset_registry.domain.refusals import conflict

AXES: Final = ("product_variant", "camera", "supplier", "material", "lighting")
COLLECTING, READY = "collecting", "ready"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A release that a person has accepted on images of one value, everywhere or at a station."""

    axis: str
    value: str
    line: str | None
    station: str | None


@dataclass(frozen=True, slots=True)
class Permission:
    """Whether a model may decide; `because` names each thing that is new to it, and what came of it."""

    may_decide: bool
    because: list[str]


def missing(images: int, classes: Mapping[str, int], labelled: Iterable[str]) -> list[str]:
    """What a batch still needs, in words.

    Args:
        images, classes: The least number of labelled images, of all and of each class.
        labelled: Class of each labelled image.
    """
    found = Counter(labelled)
    lacking = [f"{images - found.total()} labelled images more"] if found.total() < images else []
    lacking += [
        f"{least - found[name]} of class {name} more"
        for name, least in sorted(classes.items())
        if found[name] < least
    ]
    return lacking


def refuse_decision(lacking: Sequence[str]) -> None:
    """Raises Refused when a batch is too small to accept or reject anything on."""
    if lacking:
        raise conflict("batch-incomplete", f"This batch cannot decide yet; it needs {' and '.join(lacking)}.")


def may_decide(
    context: Mapping[str, str], trained_on: Mapping[str, Iterable[str]], accepted: Sequence[Accepted]
) -> Permission:
    """Whether a release may decide in a context.

    Args:
        context: `line` and `station`, and values by axis; what is not named is not asked.
        trained_on: Values by axis that the release has learned from.
        accepted: What it was accepted on.
    """
    because, allowed = [], True
    for axis in AXES:
        value = context.get(axis)
        if value is None or value in trained_on.get(axis, ()):
            continue
        here = [a for a in accepted if (a.axis, a.value) == (axis, value) and _holds(a, context)]
        if here:
            because.append(f"{axis} {value} is new to it; it was accepted on an evaluation batch.")
        else:
            allowed = False
            because.append(f"{axis} {value} is new to it; accept it on an evaluation batch of it first.")
    return Permission(allowed, because or ["Nothing here is new to it."])


def _holds(accepted: Accepted, context: Mapping[str, str]) -> bool:
    return accepted.line in (None, context.get("line")) and accepted.station in (None, context.get("station"))

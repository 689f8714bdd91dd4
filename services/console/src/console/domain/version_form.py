"""What a plain form says about a dataset version that is to be cut, and what of it cannot be meant."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from console.domain.audit_pages import moment
from console.domain.dataset_pages import PARTS
from console.domain.work_pages import people as names

KEYS = {
    "batch": "Batch: parts that were made together",
    "part": "Part: several images of one part",
    "neighbour": "Look: images that look alike",
    "time": "Time: one station within a block of time",
    "product": "Product: one part number",
    "station": "Station",
}
"""What keeps images in one part of a version, in words."""

FILTERS = {
    "lines": "Lines",
    "stations": "Stations",
    "product_variants": "Product variants",
    "batches": "Production batches",
    "classes": "Classes",
}
"""Which labels go into it; empty lets all through."""

_SHARES = {"train": "70", "validation": "15", "test": "", "holdout": "15"}
_MOST_DISTANCE = 15


@dataclass(frozen=True, slots=True)
class Typed:
    """A form as somebody sent it.

    Attributes:
        texts: Fields by name; of boxes that share a name, the last.
        keys: The keys that are ticked.
    """

    texts: Mapping[str, str]
    keys: Sequence[str]

    def text(self, name: str) -> str:
        return self.texts.get(name, "").strip()

    @property
    def divided(self) -> bool:
        return "divided" in self.texts


EMPTY = Typed(
    {"divided": "yes", "shapes": "yes", "distance": "6", "block": "60", "seed": "andonloop"}
    | {f"share-{part}": share for part, share in _SHARES.items()},
    ("batch", "part", "neighbour"),
)
"""A form that nobody has touched."""


def body(typed: Typed, person: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The command, and what is wrong in the form by field; where anything is, the command is not to be sent."""
    wrong: dict[str, str] = {}
    if not typed.text("purpose"):
        wrong["purpose"] = "Give it a name, so that others find it."
    before = typed.text("before")
    if before and moment(before) is None:
        wrong["before"] = "This is no date."
    chosen: dict[str, Any] = {field: names(typed.text(field)) for field in FILTERS}
    chosen["approved_before"] = moment(before) if before else None
    made = {
        "purpose": typed.text("purpose"),
        "filter": chosen,
        "shapes": "shapes" in typed.texts,
        "split": _split(typed, wrong) if typed.divided else None,
        "created_by": person,
    }
    return made, wrong


def _split(typed: Typed, wrong: dict[str, str]) -> dict[str, Any]:
    percents = {part: _number(typed.text(f"share-{part}") or "0") for part in PARTS}
    if any(share is None or not 0 <= share <= 100 for share in percents.values()):
        wrong["shares"] = "Each share is a number from 0 to 100."
    else:
        total = sum(share or 0.0 for share in percents.values())
        if abs(total - 100) > 1e-6:
            wrong["shares"] = f"Together the shares are 100 %; these are {total:g} %."
        elif not percents["train"]:
            wrong["shares"] = "Something has to be learned from: train needs a share."
    distance = _number(typed.text("distance"))
    if distance is None or distance != int(distance) or not 0 <= distance <= _MOST_DISTANCE:
        wrong["distance"] = f"A whole number of bits from 0 to {_MOST_DISTANCE}."
    minutes = _number(typed.text("block"))
    if minutes is None or minutes <= 0:
        wrong["block"] = "A number of minutes above 0."
    return {
        "shares": {part: round(share / 100, 6) for part, share in percents.items() if share},
        "keys": [key for key in typed.keys if key in KEYS],
        "distance": int(distance or 0),
        "block_s": (minutes or 0.0) * 60,
        "seed": typed.text("seed") or "andonloop",
        "keep": typed.text("keep") or None,
    }


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None

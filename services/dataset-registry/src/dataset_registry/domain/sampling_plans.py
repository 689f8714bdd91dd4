"""Which annotations a second person looks at: all, a fraction, or a sample by lot after ISO 2859-1.

ISO 2859-1 as used here: single sampling, normal inspection, general levels I to III. The lot size and the level give a
code letter, the letter and the acceptable quality limit (AQL, percent nonconforming) a sample size and how many faults
in it are let through. Where the table has an arrow, the first plan that it points at is used, with its sample size.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from dataset_registry.domain.refusals import invalid

LETTERS = "ABCDEFGHJKLMNPQR"
SAMPLE_SIZES = (2, 3, 5, 8, 13, 20, 32, 50, 80, 125, 200, 315, 500, 800, 1250, 2000)
"""By letter."""
_LOT_SIZES = (8, 15, 25, 50, 90, 150, 280, 500, 1200, 3200, 10_000, 35_000, 150_000, 500_000)
"""The largest lot of each row of table 1; the last row has no end."""
_CODES = {"I": "AABCCDEFGHJKLMN", "II": "ABCDEFGHJKLMNPQ", "III": "BCDEFGHJKLMNPQR"}
"""The letters of the rows, by level."""
_ZERO_AT = {0.65: "F", 1.0: "E", 1.5: "D", 2.5: "C", 4.0: "B"}
"""By AQL the letter whose plan lets no fault through. Every column goes on from there in the same way: an arrow up, an
arrow down, then these numbers of faults, then arrows up; before it there are arrows down."""
_ACCEPT = (1, 2, 3, 5, 7, 10, 14, 21)
_ARROWS = 3
"""Letters from the one that lets no fault through to the one that lets one through."""
_DRAWN = 2**32


class LotPlan(NamedTuple):
    """How a lot is judged.

    Attributes:
        sample_size: Never more than the lot.
        accept: So many faults in the sample are let through; one more rejects the lot.
    """

    sample_size: int
    accept: int


@dataclass(frozen=True, slots=True)
class ReviewPlan:
    """What a batch's annotations go through before they are approved.

    Attributes:
        kind: full, fraction or iso2859.
        fraction: Of `fraction`, 0 to 1.
        aql: Of `iso2859`.
        level: Of `iso2859`.
    """

    kind: str
    fraction: float = 1.0
    aql: float = 1.0
    level: str = "II"

    @staticmethod
    def of(document: Mapping[str, Any]) -> ReviewPlan:
        """The plan in a batch's JSON. Raises Refused."""
        match document:
            case {"plan": "full"}:
                return ReviewPlan("full")
            case {"plan": "fraction", "fraction": float() | int() as fraction} if 0 <= fraction <= 1:
                return ReviewPlan("fraction", fraction=float(fraction))
            case {"plan": "iso2859", "aql": aql, "level": level} if aql in _ZERO_AT and level in _CODES:
                return ReviewPlan("iso2859", aql=aql, level=level)
        raise invalid(
            "unknown-review-plan",
            "A review plan is full, fraction with a fraction of 0 to 1, or iso2859 with an aql of"
            f" {', '.join(map(str, _ZERO_AT))} and a level of {', '.join(_CODES)}.",
        )

    @property
    def by_lot(self) -> bool:
        """Whether a sample decides about a whole lot."""
        return self.kind == "iso2859"

    @property
    def title(self) -> str:
        """How the plan signs what it lets through without a second look."""
        if self.by_lot:
            return f"ISO 2859-1, AQL {self.aql}, level {self.level}"
        return f"review of {self.fraction:.0%}"

    def lot(self, size: int) -> LotPlan:
        """How a lot of this size is judged."""
        return lot_plan(size, self.aql, self.level)

    def draws(self, task_id: str) -> bool:
        """Whether this task's annotation is reviewed, as far as the plan needs no lot to say so."""
        return self.kind == "full" or (self.kind == "fraction" and drawn(task_id, self.fraction))


def lot_plan(lot_size: int, aql: float, level: str) -> LotPlan:
    """The plan of table 1 and table 2-A; a sample as large as the lot means that all of it is looked at."""
    zero = LETTERS.index(_ZERO_AT[aql])
    after = LETTERS.index(code_letter(lot_size, level)) - zero
    if after <= 1:
        return LotPlan(min(lot_size, SAMPLE_SIZES[zero]), 0)
    row = min(max(0, after - _ARROWS), len(_ACCEPT) - 1)
    return LotPlan(min(lot_size, SAMPLE_SIZES[zero + _ARROWS + row]), _ACCEPT[row])


def code_letter(lot_size: int, level: str) -> str:
    """The letter of table 1."""
    return _CODES[level][bisect_left(_LOT_SIZES, lot_size)]


def sample(task_ids: Iterable[str], size: int) -> set[str]:
    """The sample of a lot: always the same, and nobody can foresee it from the order of the images."""
    return set(sorted(task_ids, key=_number)[:size])


def drawn(task_id: str, fraction: float) -> bool:
    """Whether a task belongs to the fraction; about that share of all tasks does, and always the same ones."""
    return _number(task_id) < fraction * _DRAWN


def lot_state(accept: int, sample_size: int, reviewed: int, nonconforming: int) -> str:
    """open, accepted or rejected, after so many of the sample were looked at."""
    if nonconforming > accept:
        return "rejected"
    return "accepted" if reviewed >= sample_size else "open"


def _number(task_id: str) -> int:
    return int.from_bytes(hashlib.sha256(f"review {task_id}".encode()).digest()[:4])

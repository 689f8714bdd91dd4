"""The holdout's rule: nothing that learns, tunes or chooses opens it; each reading by an evaluation is written down."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from trainer.domain.snapshot import HOLDOUT, ImagePlace, Row, Snapshot, SnapshotError


class HoldoutClosed(SnapshotError):
    """Training or tuning asked for an image of the holdout."""


def open_rows(snapshot: Snapshot) -> list[Row]:
    """The rows that may be learned from. Raises `HoldoutClosed` when one shows the very image of a holdout row."""
    closed = HoldoutRule.of(snapshot)
    rows = [row for row in snapshot.rows if row.split != HOLDOUT]
    for row in rows:
        closed.check(row.image, row.id)
    return rows


@dataclass(frozen=True, slots=True)
class HoldoutRule:
    """Which images are closed, by place and by content."""

    places: frozenset[str]
    contents: frozenset[str]

    @classmethod
    def of(cls, snapshot: Snapshot) -> HoldoutRule:
        held = [row.image for row in snapshot.rows if row.split == HOLDOUT]
        return cls(frozenset(map(_place, held)), frozenset(image.sha256 for image in held if image.sha256))

    def check(self, image: ImagePlace, row: str) -> None:
        """Raises `HoldoutClosed` for an image of the holdout, under whatever name it is asked for."""
        if _place(image) in self.places or image.sha256 in self.contents:
            raise HoldoutClosed(
                f"row {row} shows an image of the holdout, which only an evaluation may read; "
                "put all rows of that image into one split of the dataset version"
            )


def _place(image: ImagePlace) -> str:
    return image.path if image.path is not None else f"{image.bucket}/{image.key}"


def readings(log: Iterable[dict[str, Any]], dataset: str) -> int:
    """How often a dataset's holdout has been read for an evaluation: each reading makes it worth a little less."""
    return sum(1 for entry in log if entry.get("dataset") == dataset)

"""Readings of holdouts: who was given one, for what, written down before it goes out."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from dataset_registry.domain import audit_chain
from dataset_registry.domain.refusals import forbidden
from dataset_registry.ports import Session

EVALUATIONS = ("release-evaluation", "regression-check", "audit")
"""What a holdout may be read for."""


class Evaluation(NamedTuple):
    """Attributes:
    release: What is evaluated.
    purpose: One of EVALUATIONS.
    """

    by: str
    release: str
    purpose: str


def refuse(purpose: str) -> None:
    """Raises Refused unless a holdout may be read for this."""
    if purpose not in EVALUATIONS:
        raise forbidden(
            "holdout-closed",
            f"A holdout is not for {purpose}: it is opened for {', '.join(EVALUATIONS)} only, and counted."
            " Learn from the version's own manifest; tune and choose on its validation part.",
        )


def write_down(session: Session, hash_: str, evaluation: Evaluation, now: datetime) -> int:
    """The number of this reading; it stands in the audit trail as well."""
    number = session.datasets.add_reading(hash_, *evaluation, now)
    session.trail.append(
        audit_chain.entry(now, f"read-holdout {hash_}", evaluation._asdict(), 200, {"number": str(number)})
    )
    return number

"""The shapes of the readiness package in the HTTP API."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from dataset_registry.api.shapes import Out

Verdict = Literal["ready", "not-ready", "not-proven"]


class ReadinessFigure(Out):
    """A figure; `low` to `high` is its 95 % interval where it is an estimate, `value` null where it is undefined."""

    name: str
    value: float | None
    unit: str
    low: float | None
    high: float | None
    of: int | None = Field(description="Units that it rests on.")


class ReadinessEvidence(Out):
    """Where the figures can be looked up."""

    title: str
    href: str


class ReadinessMissing(Out):
    """What speaks against a yes, and what to do."""

    code: str
    what: str
    advice: str
    shown: bool = Field(description="The figures show it; otherwise there is nothing to judge by.")


class ReadinessAnswer(Out):
    """One of the five questions."""

    key: str
    question: str
    verdict: Verdict
    figures: list[ReadinessFigure]
    evidence: list[ReadinessEvidence]
    missing: list[ReadinessMissing]


class Readiness(Out):
    """The readiness package of a dataset version, from what is on record now."""

    dataset: str
    purpose: str
    images: int
    newest_record: datetime = Field(
        description="When the last record was made that a figure may rest on; until there is a newer one, the package"
        " stays as it is."
    )
    verdict: Verdict = Field(description="The worst of the five.")
    answers: list[ReadinessAnswer]

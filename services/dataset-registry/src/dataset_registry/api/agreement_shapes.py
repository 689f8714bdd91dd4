"""The shapes of agreement in the HTTP API."""

from __future__ import annotations

from pydantic import Field

from dataset_registry.api.shapes import Out


class Figure(Out):
    """A figure with its 95 % interval (bootstrap over parts); null where it is undefined."""

    value: float | None
    low: float | None
    high: float | None
    units: int


class PairAgreement(Out):
    """Two people: Cohen's kappa, and the one that counts a difference by severity."""

    people: tuple[str, str]
    cohen: Figure
    weighted: Figure | None


class RegionAgreement(Out):
    """Where and what: marks that overlap by half are of one place; detection is one person's F1 against another."""

    overlap: Figure
    detection: Figure
    alpha: Figure = Field(description="Krippendorff, over places, `not marked` being a value.")


class AgreementFigures(Out):
    """Agreement of some answers."""

    images: int = Field(description="With two answers or more.")
    people: list[str]
    percent: Figure
    fleiss: Figure
    alpha: Figure
    pairs: list[PairAgreement]
    regions: RegionAgreement | None


class AgreementSlice(AgreementFigures):
    """Agreement on a class, a part, a camera, a pair of people, or of a week."""

    name: str


class AgreementReport(AgreementFigures):
    """Agreement of all, and by slice where that was asked for."""

    by: str | None
    slices: list[AgreementSlice]

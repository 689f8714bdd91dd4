"""A model card in the words of the people who answer for a line: what a release can do, and what it cannot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from console.domain.models import Figure, figures, percent_of
from console.domain.words import sentence


@dataclass(frozen=True, slots=True)
class Promise:
    """What was asked for about escapes, and what became of it."""

    wish: str
    verdict: str
    is_kept: bool
    rests_on: str
    advice: str


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often each class was called what; the largest count of a row that is no hit is what to look at."""

    called: Sequence[str]
    rows: Sequence[tuple[str, Sequence[tuple[int, bool]]]]


@dataclass(frozen=True, slots=True)
class Card:
    """What the description of a release's bundle says, ready to be read.

    Attributes:
        bands: Where parts pass, go to people and are rejected, on a scale of 0 to 100; None without thresholds.
        facts: By heading: name and value of each fact.
    """

    figures: Sequence[Figure]
    crossed: Sequence[Figure]
    confusion: Confusion | None
    bands: tuple[float, float] | None
    costs: str
    promises: Sequence[Promise]
    severities: Mapping[str, str]
    limits: Sequence[str]
    facts: Mapping[str, Sequence[tuple[str, str]]]


def card(described: Mapping[str, Any]) -> Card:
    """A card from `bundle.json`; what a task does not write is left out."""
    limits, costs = described.get("thresholds", {}), described.get("costs", {})
    severities = described.get("severities", {})
    return Card(
        figures(described.get("metrics", {})),
        figures(described.get("cross_validated", {})),
        _confusion(described.get("confusion", {})),
        (100 * limits["pass_below"], min(100, 100 * limits["reject_from"])) if limits else None,
        f"An escape costs {costs['escape']:g}, a false reject {costs['false_reject']:g}, a review {costs['review']:g}."
        if {"escape", "false_reject", "review"} <= costs.keys()
        else "",
        [_promise(wish) for wish in described.get("guarantees", ())],
        {name: severities.get(name, "") for name in described.get("classes", ())},
        _limits(described),
        {heading: facts for heading, facts in _facts(described) if facts},
    )


def _confusion(table: Mapping[str, Mapping[str, int]]) -> Confusion | None:
    if not table:
        return None
    called = sorted({name for row in table.values() for name in row} | set(table))
    rows = [
        (sentence(truth), [(row.get(name, 0), name == truth) for name in called])
        for truth, row in sorted(table.items())
    ]
    return Confusion([sentence(name) for name in called], rows)


def _promise(wish: Mapping[str, Any]) -> Promise:
    sure = wish["confidence"]
    how = "on average" if sure is None else f"at {percent_of(sure)} confidence"
    kept = wish["threshold"] is not None
    bound = f"; the bound is {percent_of(wish['bound'])}" if wish["bound"] is not None else ""
    return Promise(
        f"At most {percent_of(wish['rate'])} of {wish['class']} pass, {how}",
        sentence(wish["verdict"]),
        kept,
        f"Below {wish['threshold']:g}, on {wish['parts']} independent parts{bound}." if kept else "",
        wish["advice"],
    )


def _limits(described: Mapping[str, Any]) -> list[str]:
    """What the release cannot do or does not know."""
    data = described.get("dataset", {})
    found = [
        f"{sentence(name)} was left out; independent images to learn it from: {count}. Such a part gets another name."
        for name, count in data.get("classes_left_out", {}).items()
    ]
    if not described.get("knows_normal", True):
        found.append("It has seen no good part: it says which defect, never whether there is one.")
    found += [
        f"Nothing is promised about escapes of {wish['class']}."
        for wish in described.get("guarantees", ())
        if wish["threshold"] is None
    ]
    found += data.get("doubtful_labels", ())
    if data.get("refused"):
        found.append(f"{data['refused']} images of its data could not be decoded and were left out.")
    if data.get("variants"):
        found.append(f"It has seen these variants alone: {', '.join(data['variants'])}.")
    if len(described.get("chosen_by_validation", {})) > 1:
        found.append(
            "Its figures come from the images by which it was chosen: they are those of the better of two."
        )
    return [
        *found,
        "Its figures hold for parts like those it was measured on, under the same camera and light.",
    ]


def _facts(described: Mapping[str, Any]) -> Iterable[tuple[str, list[tuple[str, str]]]]:
    data, spec = described.get("dataset", {}), described.get("preprocessing", {})
    images = [(f"Images, {part}", str(count)) for part, count in data.get("images", {}).items()]
    yield (
        "Data",
        [
            *_known(("Name", data.get("name"))),
            *images,
            *_known(
                ("Good parts learned from", data.get("learned_from")),
                ("Independent groups", data.get("groups")),
                ("Synthetic defects", _counts(data.get("synthetic") or {})),
                ("Licence", described.get("licence")),
                ("Version", data.get("hash")),
            ),
        ],
    )
    calibration = described.get("calibration", {})
    line = calibration.get("defect") or {}
    yield (
        "Calibration",
        _known(
            ("Method", calibration.get("method")),
            (
                "Slope, offset",
                f"{line['slope']:.3g}, {line['offset']:.3g}" if {"slope", "offset"} <= line.keys() else None,
            ),
        ),
    )
    yield (
        "Preprocessing",
        _known(
            ("Input", f"{spec['width']} × {spec['height']} px" if spec else None),
            ("Fit", spec.get("fit")),
            ("Interpolation", spec.get("interpolation")),
        ),
    )
    chosen, rivals = described.get("chosen_by", {}), described.get("chosen_by_validation", {})
    best = sorted(rivals.items(), key=lambda rival: -rival[1])
    yield (
        "How it was chosen",
        [
            *((f"{sentence(task)}, AUROC on validation", f"{value:.3f}") for task, value in best),
            *_known(
                ("Candidates", len(chosen["tried"]) if chosen.get("tried") else None),
                ("Compared by", chosen.get("figure")),
            ),
        ],
    )
    yield (
        "Origin",
        [
            *_known(
                ("Trained", _day(described.get("trained_at"))),
                ("Backbone", described.get("backbone")),
                ("Taxonomy", described.get("taxonomy_version")),
                (
                    "Code",
                    ", ".join(f"{name} {version}" for name, version in described.get("code", {}).items()),
                ),
            ),
            *((f"SHA-256 of {name}", value) for name, value in sorted(described.get("files", {}).items())),
        ],
    )


def _counts(counted: Mapping[str, int]) -> str:
    return ", ".join(f"{sentence(name)} {count}" for name, count in counted.items() if count)


def _known(*facts: tuple[str, Any]) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in facts if value not in (None, "")]


def _day(moment: str | None) -> str | None:
    return datetime.fromisoformat(moment).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC") if moment else None

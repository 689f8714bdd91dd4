"""How far people agree, in rows of dots with their intervals, and the images that a row was reckoned from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from console.domain.words import sentence

BY = {
    "class": "Class",
    "part": "Part number",
    "camera": "Camera",
    "reviewer": "Pair of people",
    "week": "Week",
}
"""How the figures can be divided, in words."""

MEASURES = {"percent": "Same answer", "fleiss": "Fleiss' kappa", "alpha": "Krippendorff's alpha"}
SURE, TENTATIVE = 0.8, 0.667
"""Alpha from which labels can be relied on, and from which conclusions are tentative (Krippendorff)."""


@dataclass(frozen=True, slots=True)
class Dot:
    """A figure on a scale of 0 to 100; `at` is None where it is undefined.

    Attributes:
        interval: The 95 % interval in words; empty where there is none.
        units: Images it was reckoned from.
    """

    name: str
    text: str
    interval: str
    at: float | None
    left: float
    width: float
    units: int


@dataclass(frozen=True, slots=True)
class Scale:
    """From `low` to 1; chance-corrected figures may be below 0."""

    low: float

    def place(self, value: float) -> float:
        return round(100 * (min(1.0, max(self.low, value)) - self.low) / (1 - self.low), 2)


def scale(figures: Iterable[Mapping[str, Any]]) -> Scale:
    """One that holds all figures and their intervals, so that rows can be compared by eye."""
    values = [
        0.0,
        *(value for one in figures for name in ("value", "low") if (value := one[name]) is not None),
    ]
    return Scale(max(-1.0, min(values)))


def figures(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """All that is drawn of a report or a slice of it."""
    pairs = [figure for pair in report["pairs"] for figure in (pair["cohen"], pair["weighted"]) if figure]
    regions = list((report["regions"] or {}).values())
    below = [figure for part in report.get("slices", []) for figure in figures(part)]
    return [*(report[name] for name in MEASURES), *pairs, *regions, *below]


def dot(name: str, figure: Mapping[str, Any], on: Scale) -> Dot:
    """A figure as it is drawn; shares of answers and coefficients alike run up to 1."""
    value, low, high = figure["value"], figure["low"], figure["high"]
    if value is None:
        return Dot(name, "–", "undefined", None, 0.0, 0.0, figure["units"])
    if low is None or high is None:
        return Dot(name, f"{value:.2f}", "", on.place(value), on.place(value), 0.0, figure["units"])
    left = on.place(low)
    return Dot(
        name,
        f"{value:.2f}",
        f"{low:.2f} to {high:.2f}",
        on.place(value),
        left,
        round(on.place(high) - left, 2),
        figure["units"],
    )


def row(report: Mapping[str, Any], on: Scale) -> list[Dot]:
    """Percent, kappa and alpha of a report or a slice."""
    return [dot(name, report[key], on) for key, name in MEASURES.items()]


def pairs(report: Mapping[str, Any], on: Scale) -> list[tuple[str, list[Dot]]]:
    """Cohen's kappa of each two people, plain and weighted by severity."""
    none = {"value": None, "low": None, "high": None, "units": 0}
    return [
        (
            " / ".join(pair["people"]),
            [
                dot("Cohen's kappa", pair["cohen"], on),
                dot("Weighted by severity", pair["weighted"] or none, on),
            ],
        )
        for pair in report["pairs"]
    ]


def regions(report: Mapping[str, Any], on: Scale) -> list[Dot]:
    """Agreement about marked areas; empty where none were marked."""
    found = report["regions"]
    names = {"overlap": "Mean overlap (IoU)", "detection": "Found by both (F1)", "alpha": "Alpha over places"}
    return [dot(name, found[key], on) for key, name in names.items()] if found else []


def verdict(alpha: Mapping[str, Any]) -> tuple[str, str]:
    """What alpha and its interval allow to say, in one sentence, and its tone."""
    value, low, high = alpha["value"], alpha["low"], alpha["high"]
    if value is None:
        return (
            "Nothing can be said yet: too few answers differ or too few images have two answers.",
            "pending",
        )
    if low is not None and low >= SURE:
        return "People agree well: the whole interval of alpha lies above 0.80.", "pass"
    if high is not None and high < TENTATIVE:
        return (
            "People do not agree: the whole interval of alpha lies below 0.67. Sharpen the guide.",
            "reject",
        )
    return "Not settled: alpha or its interval lies below 0.80. More images, or a clearer guide.", "rework"


@dataclass(frozen=True, slots=True)
class Judged:
    """An image that several people judged without seeing each other.

    Attributes:
        said: Person and class, by person.
    """

    image_id: str
    name: str
    href: str
    said: tuple[tuple[str, str], ...]
    part: str | None
    camera: str | None
    at: datetime

    @property
    def differs(self) -> bool:
        return len({word for _, word in self.said}) > 1

    def in_slice(self, by: str, name: str) -> bool:
        """Whether it counts in this slice; a class counts where at least one person named it."""
        if not name:
            return True
        if by == "class":
            return any(name in word.split(" + ") for _, word in self.said)
        if by == "reviewer":
            return {person for person, _ in self.said} >= set(name.split(" / "))
        return name == {"part": self.part, "camera": self.camera, "week": f"{self.at:%G-W%V}"}.get(by)


def reviewed(review: Mapping[str, Any]) -> Judged:
    """From a decided review; an adjudication is no blind answer."""
    given = [one for one in review["answers"] if not one["adjudication"]]
    said = sorted((one["reviewer"], one["class_name"] or one["verdict"]) for one in given)
    at = max(one["answered_at"] for one in given) if given else review["captured_at"]
    context = review["context"]
    name = context.get("part_id") or f"{review['line']} / {review['station']}"
    return _judged(review["capture_id"], name, f"/captures/{review['capture_id']}", said, context, at)


def annotated(image: Mapping[str, Any]) -> Judged:
    """From an image of a batch: the first that each person said in the task in which several said something.

    What was imported is nobody's answer; what its own author put in force is an adjudicator's word, which is not blind.
    """
    tasks: dict[str, dict[str, Mapping[str, Any]]] = {}
    for entry in sorted(image["history"], key=lambda entry: entry["made_at"]):
        own = any(one["by"] == entry["author"] for one in entry["decisions"] if one["decision"] == "approved")
        if entry["origin"] == "person" and entry["task_id"] and not own:
            tasks.setdefault(entry["task_id"], {}).setdefault(entry["author"], entry)
    first = next((said for said in tasks.values() if len(said) > 1), {})
    said = sorted((person, _word(entry["annotation"])) for person, entry in first.items())
    at = max((entry["made_at"] for entry in first.values()), default=image["added_at"])
    href = f"/quality/images/{image['image_id']}"
    return _judged(image["image_id"], image["name"], href, said, image["context"], at)


def behind(found: Iterable[Judged], by: str, name: str) -> list[Judged]:
    """Images with two answers or more in a slice; those about which people differ come first."""
    kept = {one.image_id: one for one in found if len(one.said) > 1 and one.in_slice(by, name)}
    return sorted(kept.values(), key=lambda one: (not one.differs, one.name))


def _judged(
    image_id: str, name: str, href: str, said: Sequence[tuple[str, str]], context: Mapping[str, Any], at: str
) -> Judged:
    return Judged(
        image_id,
        name,
        href,
        tuple(said),
        context.get("part_number"),
        context.get("camera"),
        datetime.fromisoformat(at),
    )


def _word(annotation: Mapping[str, Any]) -> str:
    if annotation["verdict"] != "labeled":
        return str(annotation["verdict"])
    names = {*annotation["classes"], *(shape["class_name"] for shape in annotation["shapes"])}
    return " + ".join(sorted(names)) or "good"


def heading(by: str, name: str) -> str:
    """What a list of images behind a figure is about."""
    if not name:
        return "All images with two answers or more"
    return f"Images behind: {BY.get(by, sentence(by)).lower()} {name}"

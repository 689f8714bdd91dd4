"""Releases in the words of the people who answer for a line: where one decides, and how good it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from console.domain.words import sentence

TASKS = {
    "classification": "Says whether a part is defective, and which defect it most likely shows.",
    "anomaly": "Has learned good parts, and says how unlike them a part is. It names no kinds of defect.",
    "detection": "Finds defects as rectangles, each with its class.",
    "segmentation": "Marks the pixels of each class of defect, and measures them where the release says so.",
    "template": "Lays a picture beside the defect-free one of the same place, and names what differs.",
}

MODES = {"active": "Decides", "canary": "Canary", "shadow": "Watches"}
"""What a release may do in a scope, the most weighty first."""


class Measure(NamedTuple):
    """How a figure is written: its name, what it means, and whether it is a share of parts."""

    name: str
    meaning: str
    is_share: bool = True


FIGURES = {
    "auroc": Measure("AUROC", "how often a defective part scores above a good one", is_share=False),
    "map_50": Measure("mAP at IoU 0.5", "boxes found and rightly named", is_share=False),
    "map_33": Measure("mAP at IoU 0.33", "boxes found and rightly named", is_share=False),
    "dice": Measure("Dice", "overlap of marked and true pixels, mean of classes", is_share=False),
    "iou": Measure("IoU", "overlap of marked and true pixels, mean of classes", is_share=False),
    "aupro": Measure("AUPRO", "defective areas that the heat map covers", is_share=False),
    "auprc": Measure("AUPRC", "precision over all thresholds", is_share=False),
    "false_escape_rate": Measure("False escapes", "defective parts passed without a person"),
    "false_reject_rate": Measure("False rejects", "good parts rejected without a person"),
    "review_share": Measure("To people", "parts that people look at"),
    "accuracy": Measure("Accuracy", "right at a threshold of one half"),
    "precision": Measure("Precision", "called defective and is"),
    "recall": Measure("Recall", "defective and called so"),
    "class_accuracy": Measure("Right class", "of the defective parts"),
    "class_accuracy_balanced": Measure("Right class, balanced", "each class counting alike"),
    "calibration_error": Measure(
        "Calibration error", "between probability said and share seen", is_share=False
    ),
}
"""Figures in the order in which people ask for them."""

MAIN = 4


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure as it is shown; `left`, `width` and `at` place it and its interval on a scale of 0 to 100.

    Attributes:
        interval: Its 95 % interval in words; "" where it has none.
    """

    name: str
    meaning: str
    text: str
    interval: str
    left: float
    width: float
    at: float
    is_drawn: bool


@dataclass(frozen=True, slots=True)
class Duty:
    """What a release does somewhere."""

    mode: str
    word: str
    where: str
    since: str
    by: str
    reason: str | None


def duties(release: str, deployments: Iterable[Mapping[str, Any]]) -> list[Duty]:
    """What a release does where, the most weighty first."""
    found = [
        Duty(d["mode"], _word(d), _where(d), d["ordered_at"], d["ordered_by"], d["reason"])
        for d in deployments
        if d["release"] == release
    ]
    order = [*MODES]
    return sorted(found, key=lambda duty: order.index(duty.mode) if duty.mode in order else len(order))


@dataclass(frozen=True, slots=True)
class Beside:
    """A release that runs at a station beside the one that decides."""

    release: str
    word: str


def beside(line: str, station: str, deployments: Sequence[Mapping[str, Any]]) -> list[Beside]:
    """What tries or watches at a station: of each mode, what was ordered for the narrowest scope around it."""
    found = []
    for mode in ("canary", "shadow"):
        scopes = {(d["line"], d["station"]): d for d in deployments if d["mode"] == mode}
        for scope in ((line, station), (line, None), (None, None)):
            if scope in scopes:
                found.append(Beside(scopes[scope]["release"], _word(scopes[scope])))
                break
    return found


def _word(deployment: Mapping[str, Any]) -> str:
    word = MODES.get(deployment["mode"], sentence(deployment["mode"]))
    return f"{word} {percent_of(deployment['share'])}" if deployment["mode"] == "canary" else word


def _where(deployment: Mapping[str, Any]) -> str:
    line, station = deployment["line"], deployment["station"]
    return f"{line} / {station}" if station else line or "everywhere"


def figures(metrics: Mapping[str, Any]) -> list[Figure]:
    """All figures, those that people ask for first. A figure is a number, or a value with `low` and `high`."""
    order = [*FIGURES]
    named = {name: item for name, item in metrics.items() if item is not None}
    return [
        _figure(name, named[name])
        for name in sorted(named, key=lambda n: (order.index(n) if n in order else len(order), n))
    ]


def _figure(name: str, item: float | Mapping[str, float]) -> Figure:
    measure = FIGURES.get(name, Measure(sentence(name), "", is_share=False))
    write = percent_of if measure.is_share else "{:.3f}".format
    if not isinstance(item, Mapping):
        return Figure(measure.name, measure.meaning, write(item), "", 0, 0, 100 * item, 0 <= item <= 1)
    value, low, high = item["value"], item["low"], item["high"]
    return Figure(
        measure.name,
        measure.meaning,
        write(value),
        f"{write(low)} to {write(high)}",
        round(100 * low, 2),
        round(100 * (high - low), 2),
        round(100 * value, 2),
        0 <= low <= high <= 1,
    )


def percent_of(share: float) -> str:
    """A share with three digits that count: figures of a model are compared."""
    return f"{100 * share:.3g}\u00a0%"

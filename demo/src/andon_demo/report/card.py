"""The model card of the release that decided, from the description that its bundle carries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

FIGURES = {
    "auroc": "AUROC",
    "accuracy": "accuracy, at a threshold of one half",
    "precision": "precision",
    "recall": "recall",
    "class_accuracy": "right class of a defective part",
    "false_escape_rate": "defective parts passed without a person",
    "false_reject_rate": "good parts rejected without a person",
    "review_share": "parts that people look at",
    "calibration_error": "calibration error",
}


@dataclass(frozen=True, slots=True)
class CardLine:
    """A figure with its 95 % interval; all on a scale of 0 to 1."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Card:
    """What the report shows of a release.

    Attributes:
        facts: Name and value, in the order of the questions that people ask.
        limits: Sentences about what the release does not know or promise.
    """

    figures: tuple[CardLine, ...]
    facts: tuple[tuple[str, str], ...]
    limits: tuple[str, ...]


def card_of(description: Mapping[str, Any]) -> Card | None:
    """The card; None where no description is known."""
    if not description:
        return None
    figures = tuple(
        CardLine(FIGURES.get(name, name.replace("_", " ")), found["value"], found["low"], found["high"])
        for name, found in sorted(description.get("metrics", {}).items(), key=_place)
    )
    return Card(figures, tuple(_facts(description)), tuple(_limits(description)))


def _place(item: tuple[str, Any]) -> tuple[int, str]:
    order = list(FIGURES)
    return (order.index(item[0]) if item[0] in order else len(order), item[0])


def _facts(description: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    data, limits = description.get("dataset", {}), description.get("thresholds", {})
    chosen, spec = description.get("chosen_by_validation", {}), description.get("preprocessing", {})
    yield "task", str(description.get("task", "unknown"))
    if len(chosen) > 1:
        ranked = sorted(chosen.items(), key=lambda item: -item[1])
        yield "chosen by validation AUROC", ", ".join(f"{task} {value:.3f}" for task, value in ranked)
    yield "classes", ", ".join(description.get("classes", ()))
    images = ", ".join(f"{count} to {_purpose(part)}" for part, count in data.get("images", {}).items())
    yield "data", f"{data.get('name', 'unknown')}: {images}, {data.get('groups', '?')} independent groups"
    yield "licence", str(description.get("licence") or "none is stated")
    if limits:
        yield "thresholds", f"passes below {limits['pass_below']}, rejected from {limits['reject_from']}"
    for promise in description.get("guarantees", ()):
        yield (
            "guarantee",
            f"at most {100 * promise['rate']:.3g} % of {promise['class']} pass: {promise['verdict']}",
        )
    yield "calibration", str(description.get("calibration", {}).get("method", "unknown"))
    if spec:
        yield "preprocessing", f"{spec['width']} × {spec['height']} pixels, {spec.get('fit', 'stretch')}"
    yield "backbone", str(description.get("backbone", "none"))
    yield "data version", str(data.get("hash", "unknown"))
    for name, digest in sorted(description.get("files", {}).items()):
        yield f"SHA-256 of {name}", str(digest)


def _purpose(part: str) -> str:
    return {"train": "learn from", "validation": "validate"}.get(part, part)


def _limits(description: Mapping[str, Any]) -> Iterator[str]:
    data = description.get("dataset", {})
    for name, count in data.get("classes_left_out", {}).items():
        yield f"{name} was left out; independent images to learn it from: {count}."
    if not description.get("knows_normal", True):
        yield "It has seen no good part: it says which defect, never whether there is one."
    yield from data.get("doubtful_labels", ())
    if data.get("refused"):
        yield f"{data['refused']} images could not be decoded and were left out."
    if data.get("variants"):
        yield f"It has seen these variants alone: {', '.join(data['variants'])}."
    if len(description.get("chosen_by_validation", {})) > 1:
        yield "Its figures come from the images by which it was chosen, so they are those of the better of two."
    if not description.get("guarantees"):
        yield "No guarantee about escapes was asked for."

"""The model card: one self-contained page made of a release's description alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, select_autoescape

PURPOSE: Final[Mapping[str, str]] = {
    "classification": "Says of an image whether the part is defective and which defect it most likely shows. The heat "
    "map shows where the score comes from.",
    "anomaly": "Has learned what good parts look like, and says how unlike them an image is. The heat map shows where. "
    "It names no kinds of defect.",
    "detection": "Finds defects as rectangles, each with its class.",
    "segmentation": "Marks the pixels of each class of defect, and measures them where the release says so.",
    "template": "Lays a picture beside the defect-free one of the same place, and names what differs.",
}
FIGURES: Final[Mapping[str, str]] = {
    "auroc": "AUROC: a defective part scores above a good one",
    "auprc": "AUPRC: precision over all thresholds",
    "aupro": "AUPRO: defective areas overlapped by the heat map",
    "accuracy": "right, when the decision is made at one half",
    "precision": "called defective and is",
    "recall": "defective and called so",
    "false_reject_rate": "good parts rejected without a person",
    "false_escape_rate": "defective parts passed without a person",
    "review_share": "parts that people look at",
    "calibration_error": "distance between probability said and share seen",
    "class_accuracy": "right class of a defective part",
    "class_accuracy_balanced": "right class, each class counting alike",
    "map_50": "mAP at IoU 0.5",
    "map_33": "mAP at IoU 0.33",
    "dice": "Dice of masks, mean over defect classes",
    "iou": "IoU of masks, mean over defect classes",
}
REGIONS: Final[Mapping[str, str]] = {
    "heat_map": "One rectangle around the brightest part of the heat map: a hint where to look.",
    "boxes": "Rectangles with a class each; those that overlap a surer one of their class are left out.",
    "masks": "Outlines of each class, where it is likelier than any other.",
}
NOT_FOR: Final = (
    "Another part, camera, lens, light or distance than the images it learned from: take the release into service "
    "there only after a validation of its own.",
    "A decision without the image audit before it: a blurred or dark image gets a number as well.",
)


@dataclass(frozen=True, slots=True)
class Line:
    """A figure as the page shows it; `low` to `high` is its interval on 0 to 1, None where it has none there."""

    label: str
    text: str
    value: float
    low: float | None
    high: float | None


def card_html(description: Mapping[str, Any], signature: str = "not checked here") -> str:
    """The page as HTML text without any address outside itself.

    Args:
        description: `bundle.json`. What a task does not write is left out of the page.
        signature: What is known of the signature, in a sentence.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(default=True),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    dataset = description.get("dataset", {})
    return environment.get_template("card_page.html.j2").render(
        release=description["release"],
        task=description["task"],
        purpose=PURPOSE.get(description["task"], f"Its task is {description['task']}."),
        classes=[
            (name, description.get("severities", {}).get(name, "")) for name in description.get("classes", ())
        ],
        figures=_lines(description.get("metrics", {})),
        crossed=_lines(description.get("cross_validated", {})),
        confusion=_confusion(description.get("confusion", {})),
        thresholds=description.get("thresholds", {}),
        costs=description.get("costs", {}),
        guarantees=[_guarantee(item) for item in description.get("guarantees", ())],
        calibration=description.get("calibration", {}),
        dataset=dataset,
        licence=description.get("licence") or "none is stated",
        limits=_limits(description),
        not_for=NOT_FOR,
        regions=REGIONS.get(description.get("regions", {}).get("from", "heat_map"), ""),
        measured=description.get("regions", {}).get("measure", ()),
        preprocessing=description.get("preprocessing", {}),
        chosen=description.get("chosen_by", {}),
        origin=_origin(description, signature),
    )


def _lines(figures: Mapping[str, Any]) -> list[Line]:
    return [_line(name, item) for name, item in figures.items() if item is not None]


def _line(name: str, item: float | Mapping[str, float]) -> Line:
    """A figure with its interval, or a bare number."""
    label = FIGURES.get(name, name.replace("_", " "))
    if not isinstance(item, Mapping):
        return Line(label, f"{item:.3f}", item, None, None)
    value, low, high = item["value"], item["low"], item["high"]
    drawn = 0 <= low <= high <= 1
    return Line(
        label,
        f"{value:.3f} ({low:.3f} to {high:.3f})",
        value,
        low if drawn else None,
        high if drawn else None,
    )


def _confusion(table: Mapping[str, Mapping[str, int]]) -> Sequence[Sequence[str]]:
    """Rows of cells, the head first; empty for an empty table."""
    called = sorted({name for row in table.values() for name in row})
    rows = [[truth, *(str(row.get(name, 0)) for name in called)] for truth, row in sorted(table.items())]
    return [["is \\ called", *called], *rows] if rows else []


def _guarantee(item: Mapping[str, Any]) -> dict[str, str]:
    sure = item["confidence"]
    wish = f"at most {100 * item['rate']:.3g} % of {item['class']} pass"
    return {
        "wish": f"{wish}, on average" if sure is None else f"{wish}, at {100 * sure:.3g} % confidence",
        "verdict": item["verdict"],
        "bound": "-" if item["bound"] is None else f"{100 * item['bound']:.3g} %",
        "threshold": "-" if item["threshold"] is None else f"{item['threshold']:g}",
        "parts": str(item["parts"]),
        "advice": item["advice"],
    }


def _limits(description: Mapping[str, Any]) -> list[str]:
    """What the release cannot do or does not know, as far as its description tells."""
    dataset = description.get("dataset", {})
    found = [
        f"{name} was left out: {count} independent images to learn from. Such a part counts as a defect under another "
        "class's name."
        for name, count in dataset.get("classes_left_out", {}).items()
    ]
    if not description.get("knows_normal", True):
        found.append(
            "It has seen no good part, so it cannot tell good from defective: only which defect it is."
        )
    found += [
        f"Nothing is promised about escapes of {item['class']}: {item['verdict']}."
        for item in description.get("guarantees", ())
        if item["threshold"] is None
    ]
    found += dataset.get("doubtful_labels", ())
    rivals = description.get("chosen_by_validation", {})
    if len(rivals) > 1:
        told = ", ".join(f"{name} {value:.3f}" for name, value in rivals.items())
        found.append(
            f"It was kept as the better of several by its AUROC on the same images ({told}), which flatters it."
        )
    if description.get("heat_map") == "first-order":
        found.append(
            "The heat map is of first order: it shows what the score leans on near this image, and its parts do not "
            "add up to the score exactly."
        )
    if dataset.get("refused"):
        found.append(f"{dataset['refused']} images of the data could not be decoded and were left out.")
    if dataset.get("variants"):
        found.append(f"Only these variants were seen: {', '.join(dataset['variants'])}.")
    found.append(
        "The figures are of parts kept back from training; they hold for parts like those. Each figure's interval is a "
        "95 % bootstrap over groups of images that belong together."
    )
    return found


def _origin(description: Mapping[str, Any], signature: str) -> list[tuple[str, str]]:
    code = ", ".join(f"{name} {version}" for name, version in description.get("code", {}).items())
    files = [(f"SHA-256 of {name}", value) for name, value in sorted(description.get("files", {}).items())]
    return [
        ("trained at", description.get("trained_at") or "unknown"),
        ("code", code or "unknown"),
        ("backbone", str(description.get("backbone") or "none")),
        ("taxonomy", str(description.get("taxonomy_version") or "none")),
        ("data, hash", str(description.get("dataset", {}).get("hash") or "unknown")),
        *files,
        ("signature", signature),
    ]

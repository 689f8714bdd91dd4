"""The evaluation of one release as a page: figures, mistakes with their images, honesty, comparisons and cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from trainer.adapters import evaluation_sections as sections
from trainer.adapters.evaluation_page import Chapter, Section, Table, render
from trainer.adapters.whole_files import whole_file
from trainer.domain.guarantees import percent
from trainer.domain.metrics import confusion
from trainer.evaluating import Evaluation

BY_CLASS = (
    "Precision and recall are those of the plain decision at one half; false rejects and false escapes are what the "
    "release decides without a person. Where none of a few parts went wrong, the interval is the exact bound for so "
    "many."
)


def write_report(folder: Path, found: Evaluation) -> tuple[Path, Path]:
    """Writes evaluation.json and evaluation.html; returns both."""
    written = folder / "evaluation.json", folder / "evaluation.html"
    for file, text in zip(written, (json.dumps(found.to_json(), indent=1) + "\n", page(found)), strict=True):
        with whole_file(file) as stream:
            stream.write(text.encode())
    return written


def page(found: Evaluation) -> str:
    """The whole report as HTML text."""
    lines: list[Sequence[str]] = [("figure", "value", "95 %")]
    lines += [
        (name.replace("_", " "), f"{item.value:.4f}", f"{item.low:.3f} to {item.high:.3f}")
        for name, item in found.figures.items()
    ]
    return render(
        f"Evaluation of {found.bundle.release}",
        "On the holdout of a dataset version, from which nothing was learned; intervals: 95 % bootstrap over groups.",
        Table(lines),
        [Chapter("release", "The release on its holdout", _facts(found), _sections(found))],
        {"Reading of this holdout": f"number {found.reading}", "Purpose": found.purpose},
    )


def _facts(found: Evaluation) -> list[tuple[str, str]]:
    cost, limits = found.cost, found.judged.limits
    return [
        ("task", str(found.bundle.description.get("task", "unknown"))),
        ("dataset version", found.dataset),
        ("images", f"{len(found.rows)} of {len(set(found.judged.groups))} independent groups"),
        ("refused images", ", ".join(f"{name} ({why})" for name, why in found.refused.items()) or "none"),
        ("thresholds", f"passes below {limits.pass_below:g}, rejected from {limits.reject_from:g} on"),
        (
            "one image, one thread",
            f"{cost.p50_ms:.1f} ms in the middle, {cost.p95_ms:.1f} ms for 95 % of {cost.images}",
        ),
        ("start, peak memory", f"{cost.start_ms:.0f} ms, {cost.peak_memory_mb:.0f} MB"),
    ]


def _sections(found: Evaluation) -> list[Section]:
    judged, show = found.judged, sections.shown(found.images)
    truth = judged.is_defect

    def name_of(row: int) -> str:
        return found.rows[row].id

    built = [_guarantees(found)] if found.guarantees else []
    built.append(sections.rates("By class", BY_CLASS, found.classes))
    if found.severities:
        built.append(sections.rates("By severity", "As by class.", found.severities))
    if found.regions:
        built.append(_regions(found))
    if truth.any() and not truth.all():
        note = "The calibration is the release's own; it has not seen these images."
        built.append(sections.curves(judged.scores, truth, "All images of the holdout."))
        built.append(sections.honesty(found.before, judged.scores, truth, note))
    built.append(sections.confusions(confusion(found.actual, found.called)))
    built += sections.slices(found.slices)
    built += sections.pairs(found.pairs, name_of, show)
    built.append(sections.worst(found.right, found.actual, found.called, name_of, show))
    return built


def _guarantees(found: Evaluation) -> Section:
    """What was promised beside what happened here."""
    lines: list[Sequence[str]] = [("promised", "verdict", "bound", "rests on", "escaped here")]
    lines += [
        (
            f"at most {percent(item['rate'])} of {item['class']}",
            item["verdict"],
            "-" if item["bound"] is None else percent(item["bound"]),
            f"{item['parts']} parts",
            f"{item['holdout']['escaped']} of {item['holdout']['parts']} parts",
        )
        for item in found.guarantees
    ]
    note = "Made from parts that were not learned from. A part escapes as soon as one of its images passes."
    return Section("Guarantees", note, tables=(Table(lines),))


def _regions(found: Evaluation) -> Section:
    lines: list[Sequence[str]] = [("figure", "value", "95 %")]
    lines += [
        (name, f"{item.value:.3f}", f"{item.low:.3f} to {item.high:.3f}")
        for name, item in found.regions.items()
    ]
    note = (
        "Boxes: mean average precision as COCO counts it, at an overlap of 50 and 33 %, and of each class at 50 %. "
        "Masks: Dice and IoU over all pixels, of each class and their mean. Heat map: AUPRO up to 30 % false positives "
        "and the AUROC of pixels."
    )
    return Section("Regions", note, tables=(Table(lines),))

"""Puts measured rows into report.json, report.html and a table for the terminal."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.adapters.evaluation_charts import effort_curve, side_by_side
from trainer.adapters.evaluation_page import Chapter, Section, Table, render
from trainer.adapters.whole_files import whole_file
from trainer.benchmark.table import Measured
from trainer.domain.metrics import Figure

HEAD = ("row", "figure", "reached", "95 %", "target", "met")
NAMES: Mapping[bool | None, str] = {True: "met", False: "not met", None: "-"}


def summary(measured: Sequence[Measured], skipped: Mapping[str, str]) -> Table:
    """One line for each figure that was promised or is shown."""
    lines: list[Sequence[str]] = [HEAD]
    for item in measured:
        for name in item.shown:
            figure, least = item.figures.get(name), item.row.targets.get(name)
            if figure is None:
                lines.append((item.row.name, name, "-", "-", _text(least), NAMES[False if least else None]))
                continue
            met = None if least is None else figure.value >= least
            reach = f"{figure.low:.3f} to {figure.high:.3f}"
            lines.append((item.row.name, name, f"{figure.value:.4f}", reach, _text(least), NAMES[met]))
    lines.extend((name, "not measured", "-", "-", "-", reason) for name, reason in skipped.items())
    return Table(lines)


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def plain(table: Table) -> str:
    """The table for a terminal."""
    widths = [max(len(row[at]) for row in table.rows) for at in range(len(table.rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table.rows
    )


def to_json(item: Measured, command: str) -> dict[str, Any]:
    """One row of report.json."""
    shown = {name: item.figures[name] for name in item.shown if name in item.figures}
    return {
        "title": item.row.title,
        "target": dict(item.row.targets),
        "reached": {name: round(figure.value, 6) for name, figure in shown.items()},
        "interval": {name: [round(figure.low, 6), round(figure.high, 6)] for name, figure in shown.items()},
        "met": item.is_met,
        "folds": {name: [round(fold.get(name, float("nan")), 6) for fold in item.folds] for name in shown},
        "figures": {name: figure.to_json() for name, figure in item.figures.items()},
        "published": item.row.published,
        "recipe": item.row.recipe,
        "images": item.images,
        "groups": item.groups,
        "leakage": {"grouped": item.leak.to_json(), "naive": item.naive_leak.to_json()},
        "naive": {name: figure.to_json() for name, figure in item.naive.items()},
        "command": command,
        "seconds": round(item.seconds, 1),
        "curve": [
            {
                "label": spent.label,
                "seconds": round(spent.seconds, 1),
                "figures": {name: round(spent.figures.get(name, float("nan")), 6) for name in item.shown},
            }
            for spent in item.curve
        ],
        "limits": item.row.limits,
    }


def write(
    folder: Path, measured: Sequence[Measured], skipped: Mapping[str, str], command: str
) -> tuple[Path, Path]:
    """Writes report.json and report.html; returns both."""
    rows: dict[str, Any] = {item.row.name: to_json(item, command) for item in measured}
    rows |= {name: {"skipped": reason} for name, reason in skipped.items()}
    page = render(
        "Models, measured without leaks",
        "Out-of-fold answers of a grouped five-fold cross-validation; intervals are 95 % bootstrap over groups.",
        summary(measured, skipped),
        [_chapter(item) for item in measured],
        _made(command),
    )
    found = folder / "report.json", folder / "report.html"
    for file, text in zip(found, (json.dumps(_plain_numbers(rows), indent=1) + "\n", page), strict=True):
        with whole_file(file) as stream:
            stream.write(text.encode())
    return found


def _plain_numbers(value: Any) -> Any:
    """JSON knows no nan: null says that there is no such figure."""
    if isinstance(value, dict):
        return {name: _plain_numbers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain_numbers(item) for item in value]
    return None if isinstance(value, float) and value != value else value


def _made(command: str) -> dict[str, str]:
    libraries = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("scikit-learn", "onnxruntime", "numpy")
    )
    return {"Made by": command, "on": f"{os.cpu_count()} cores, {platform.machine()}", "with": libraries}


def _chapter(item: Measured) -> Chapter:
    facts = [
        ("method", item.row.recipe),
        ("images", f"{item.images} in {item.groups} groups of images that may not be parted"),
        ("published", item.row.published),
        ("limits", item.row.limits or "none known"),
        ("seconds", f"{item.seconds:.0f} for the grouped folds, with those features that were not known yet"),
    ]
    curve = [_curve(item)] if item.curve else []
    sections = [_figures(item), *curve, _leakage(item), *item.sections]
    return Chapter(item.row.name, item.row.title, facts, sections)


def _figures(item: Measured) -> Section:
    rows = [
        (
            name,
            f"{figure.value:.4f}",
            f"{figure.low:.3f} to {figure.high:.3f}",
            _text(item.row.targets.get(name)),
            *(f"{fold.get(name, float('nan')):.3f}" for fold in item.folds),
        )
        for name, figure in item.figures.items()
    ]
    head = ("figure", "reached", "95 %", "target", *(f"fold {n + 1}" for n in range(len(item.folds))))
    return Section("Figures", tables=(Table([head, *rows]),))


def _curve(item: Measured) -> Section:
    """Figures of the first grouped fold against the seconds that they cost."""
    lines = [
        (
            spent.label,
            f"{spent.seconds:.0f}",
            *(f"{spent.figures.get(name, float('nan')):.4f}" for name in item.shown),
        )
        for spent in item.curve
    ]
    series = {
        name: [(spent.seconds, spent.figures.get(name, float("nan"))) for spent in item.curve]
        for name in item.shown
    }
    labels = [spent.label for spent in item.curve]
    return Section(
        "Quality against compute",
        "The first grouped fold alone, learned from the other four with less and with more effort. Seconds are those "
        "of the machine that made the report; what was kept from before (features, finished rounds) costs none.",
        charts=(effort_curve(series, labels, item.row.targets),),
        tables=(Table([("effort", "seconds", *item.shown), *lines]),),
    )


def _leakage(item: Measured) -> Section:
    """What the split keeps together, and what a naive one would have told."""
    lines = [("split", "near-duplicate pairs", "torn apart", "images whose answer was seen")]
    for name, leak in (("grouped", item.leak), ("naive random", item.naive_leak)):
        share = f"{leak.leaked_rows} of {leak.rows} ({leak.leaked_rows / max(1, leak.rows):.0%})"
        lines.append((name, str(leak.pairs), str(leak.crossing), share))
    tables = [Table(lines)]
    charts = []
    if item.naive:
        names = [name for name in item.naive if name in _COMPARED and name in item.figures]
        tables.append(_beside(item, names))
        charts.append(
            side_by_side(
                {
                    "grouped": {name: _triple(item.figures[name]) for name in names},
                    "naive random": {name: _triple(item.naive[name]) for name in names},
                }
            )
        )
    note = (
        "Two images are near-duplicates when their perceptual hashes differ in at most 6 of 64 bits. "
        "A naive split puts one of such a pair into training and asks about the other."
    )
    return Section("Leakage", note, charts=charts, tables=tables)


_COMPARED = ("auroc", "auprc", "accuracy", "class_accuracy", "class_accuracy_balanced")


def _beside(item: Measured, names: Sequence[str]) -> Table:
    lines = [("figure", "grouped", "naive random", "flattered by")]
    for name in names:
        one, other = item.figures[name].value, item.naive[name].value
        lines.append((name, f"{one:.4f}", f"{other:.4f}", f"{other - one:+.4f}"))
    return Table(lines)


def _triple(figure: Figure) -> tuple[float, float, float]:
    return figure.value, figure.low, figure.high

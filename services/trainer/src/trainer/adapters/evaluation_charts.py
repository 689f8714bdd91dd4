"""The evaluation report's plots, as SVG text that takes the page's fonts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from andon_vision.plots import BAD, BLUE, DOUBT, FAINT, GOOD, INK, STYLE, svg_of
from matplotlib.axes import Axes

from trainer.adapters.scoring import Curve
from trainer.domain.evaluation import ReliabilityBin


def ranking(roc: Curve, precision_recall: Curve, auroc: float, auprc: float) -> str:
    """ROC beside precision over recall."""
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.6))
        left.plot([0, 1], [0, 1], color=FAINT, lw=0.8, ls=":")
        left.plot(*roc, color=BLUE, lw=1.8)
        left.text(0.97, 0.06, f"AUROC {auroc:.3f}", ha="right", color=INK)
        left.set(
            xlim=(-0.01, 1),
            ylim=(0, 1.02),
            xlabel="good parts called defective",
            ylabel="defects found",
            title="ROC",
        )
        right.plot(*precision_recall, color=BLUE, lw=1.8)
        right.text(0.03, 0.06, f"AUPRC {auprc:.3f}", color=INK)
        right.set(
            xlim=(0, 1.01),
            ylim=(0, 1.02),
            xlabel="defects found (recall)",
            ylabel="called defects that are (precision)",
            title="Precision and recall",
        )
        return svg_of(figure)


def reliability_diagrams(diagrams: Mapping[str, tuple[Sequence[ReliabilityBin], float]]) -> str:
    """One diagram each, with its calibration error, by title."""
    with plt.rc_context(STYLE):
        figure, found = plt.subplots(1, len(diagrams), figsize=(4.8 * len(diagrams), 3.8), squeeze=False)
        for axes, (title, (bins, error)) in zip(found[0], diagrams.items(), strict=True):
            _reliability(axes, title, bins, error)
        return svg_of(figure)


def _reliability(axes: Axes, title: str, bins: Sequence[ReliabilityBin], error: float) -> None:
    axes.plot([0, 1], [0, 1], color=FAINT, lw=0.8, ls=":")
    claimed, observed = [item.claimed for item in bins], [item.observed for item in bins]
    reach = [[item.observed - item.low for item in bins], [item.high - item.observed for item in bins]]
    axes.errorbar(
        claimed, observed, yerr=np.maximum(reach, 0), fmt="o-", color=BLUE, ecolor=FAINT, ms=4, lw=1
    )
    axes.text(0.97, 0.06, f"calibration error {error:.3f}", ha="right", color=INK)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), xlabel="the model says", ylabel="it is so", title=title)


def confusion_matrix(table: Mapping[str, Mapping[str, int]]) -> str:
    """Rows: what it is. Columns: what it was called. Shades are shares of a row."""
    names = sorted(set(table) | {name for row in table.values() for name in row})
    counts = np.array([[table.get(truth, {}).get(guess, 0) for guess in names] for truth in names])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with plt.rc_context(STYLE | {"axes.grid": False}):
        side = 1.6 + 0.75 * len(names)
        figure, axes = plt.subplots(figsize=(side + 1, side))
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.6 else INK
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour)
        axes.set_xticks(range(len(names)), names, rotation=35, ha="right")
        axes.set_yticks(range(len(names)), names)
        axes.set(xlabel="called", ylabel="is")
        return svg_of(figure)


def side_by_side(figures: Mapping[str, Mapping[str, tuple[float, float, float]]]) -> str:
    """(value, low, high) of each figure (group) under each split (dot), as `figures[split][figure]`."""
    names = list(next(iter(figures.values())))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 0.9 + 0.62 * len(names)))
        for at, (split, values) in enumerate(figures.items()):
            places = np.arange(len(names))[::-1] + (0.14 if at == 0 else -0.14)
            points = [values[name] for name in names]
            reach = [[p[0] - p[1] for p in points], [p[2] - p[0] for p in points]]
            colour = BLUE if at == 0 else BAD
            axes.errorbar(
                [p[0] for p in points],
                places,
                xerr=np.maximum(reach, 0),
                fmt="o",
                color=colour,
                ecolor=colour,
                elinewidth=1.2,
                ms=5,
                label=split,
            )
        axes.set_yticks(np.arange(len(names))[::-1], names)
        axes.set(ylim=(-0.6, len(names) - 0.4))
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2)
        return svg_of(figure)


def effort_curve(
    series: Mapping[str, Sequence[tuple[float, float]]], labels: Sequence[str], targets: Mapping[str, float]
) -> str:
    """(seconds, value) of each effort by figure, seconds on a logarithmic axis; dashed where a figure should be.

    `labels` name the efforts, in the order of each series.
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7.2, 3.8))
        for name, colour in zip(series, cycle((BLUE, DOUBT, GOOD, BAD)), strict=False):
            points = [(max(seconds, 0.1), value) for seconds, value in series[name]]
            axes.plot(*zip(*points, strict=True), "o-", color=colour, lw=1.6, ms=4, label=name)
            if name in targets:
                axes.axhline(targets[name], color=colour, lw=1, ls="--")
        for label, place in zip(labels, points, strict=True):
            axes.annotate(
                label, place, (0, -14), textcoords="offset points", ha="center", color=INK, fontsize=8
            )
        axes.set(xscale="log", xlabel="seconds", ylabel="figure")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("{x:g}")
        axes.margins(0.12, 0.15)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3)
        return svg_of(figure)

"""The report's plots, as SVG text that takes the page's fonts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from andon_vision.plots import BAD, BLUE, DOUBT, FAINT, GOOD, INK, STYLE, svg_of
from matplotlib.axes import Axes

from andon_demo.report import analysis
from andon_demo.report.analysis import Judged
from andon_demo.scenario import Play


def latency(judged: Sequence[Judged], takt_ms: float, stall: tuple[float, float] | None) -> str:
    """Trigger to disposition over the stream, and its distribution."""
    rows = [j for j in judged if j.latency_ms is not None]
    with plt.rc_context(STYLE):
        figure, (over_time, spread) = plt.subplots(1, 2, figsize=(10.4, 3.1), width_ratios=(2.4, 1))
        when = np.array([j.when_s for j in rows])
        took = np.array([j.latency_ms for j in rows], dtype=float)
        if stall:
            over_time.axvspan(*stall, color=DOUBT, alpha=0.16, lw=0)
            over_time.text(
                stall[0],
                0.97,
                " model server stopped",
                transform=over_time.get_xaxis_transform(),
                va="top",
                fontsize=9,
                color="#8a5a13",
            )
        over_time.scatter(when, took, s=5, color=BLUE, alpha=0.45, lw=0, rasterized=False)
        over_time.axhline(takt_ms, color=BAD, lw=1, ls="--")
        over_time.text(
            1.0,
            takt_ms,
            "takt ",
            transform=over_time.get_yaxis_transform(),
            ha="right",
            va="bottom",
            fontsize=9,
            color=BAD,
        )
        over_time.set(
            yscale="log", xlabel="seconds of the stream", ylabel="ms", title="Trigger to first disposition"
        )
        if len(took):
            spread.hist(
                took,
                bins=np.geomspace(max(1.0, took.min()), took.max() * 1.001 + 1, 34),
                color=BLUE,
                alpha=0.8,
            )
            for name, value in analysis.percentiles(list(took)).items():
                if value is not None:
                    spread.axvline(value, color=INK, lw=0.8, ls=":")
                    spread.text(
                        value,
                        1.0,
                        name,
                        transform=spread.get_xaxis_transform(),
                        fontsize=8,
                        ha="center",
                        va="bottom",
                    )
        spread.set(xscale="log", xlabel="ms", ylabel="captures")
        return svg_of(figure)


def scores(judged: Sequence[Judged], pass_below: float, reject_from: float) -> str:
    """Where good, doubtful and defective parts score."""
    rows = [j for j in judged if j.score is not None and j.as_the_camera_saw_it]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(5.1, 3.1))
        kinds = [
            ("good", GOOD, [j.score or 0.0 for j in rows if j.doubt < 0.01]),
            ("experts doubt (1/3, 2/3)", DOUBT, [j.score or 0.0 for j in rows if 0.01 <= j.doubt <= 0.99]),
            ("defective", BAD, [j.score or 0.0 for j in rows if j.doubt > 0.99]),
        ]
        kinds = [kind for kind in kinds if kind[2]]
        axes.axvspan(pass_below, reject_from, color="#94a3b8", alpha=0.16, lw=0)
        axes.text(
            (pass_below + reject_from) / 2,
            0.98,
            "to a person",
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="top",
            fontsize=8.5,
            color="#56616f",
        )
        if kinds:
            axes.hist(
                [k[2] for k in kinds],
                bins=list(np.linspace(0, 1, 26)),
                stacked=True,
                color=[k[1] for k in kinds],
                label=[k[0] for k in kinds],
                alpha=0.85,
            )
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)
        axes.set(
            xlim=(0, 1),
            xlabel="defect probability by the model",
            ylabel="captures",
            title="Scores by what the experts say",
        )
        return svg_of(figure)


def roc_and_calibration(judged: Sequence[Judged], model: analysis.Model) -> str | None:
    """How well scores separate, and whether they mean what they say; None when the stream cannot tell."""
    rows = [j for j in judged if j.score is not None and j.as_the_camera_saw_it]
    values = np.array([j.score for j in rows], dtype=float)
    truth = np.array([j.is_defect for j in rows], dtype=bool)
    if model.auroc is None:
        return None
    with plt.rc_context(STYLE):
        figure, (roc, calibrated) = plt.subplots(1, 2, figsize=(7.6, 3.4))
        false_positive, true_positive = analysis.roc_curve(values, truth)
        roc.plot([0, 1], [0, 1], color=FAINT, lw=0.8, ls=":")
        roc.fill_between(false_positive, true_positive, color=BLUE, alpha=0.10, lw=0)
        roc.plot(false_positive, true_positive, color=BLUE, lw=1.8)
        roc.text(
            0.97,
            0.06,
            f"AUROC {model.auroc:.3f}\n95 %: {model.auroc_low:.3f} to {model.auroc_high:.3f}",
            ha="right",
            fontsize=9.5,
            color=INK,
        )
        roc.set(
            xlim=(-0.01, 1),
            ylim=(0, 1.02),
            xlabel="good parts called defective",
            ylabel="defects found",
            title="ROC on the stream",
        )
        _calibration(calibrated, analysis.calibration(values, truth))
        return svg_of(figure)


def _calibration(axes: Axes, bins: Sequence[analysis.Bin]) -> None:
    axes.plot([0, 1], [0, 1], color=FAINT, lw=0.8, ls=":")
    x = [b.predicted for b in bins]
    y = [b.observed for b in bins]
    errors = [[b.observed - b.low for b in bins], [b.high - b.observed for b in bins]]
    axes.errorbar(x, y, yerr=np.maximum(errors, 0), fmt="none", ecolor=FAINT, elinewidth=1)
    axes.scatter(
        x, y, s=[14 + 90 * b.count / max(1, max(c.count for c in bins)) for b in bins], color=BLUE, zorder=3
    )
    axes.set(
        xlim=(-0.01, 1.01),
        ylim=(-0.01, 1.01),
        xlabel="the model says",
        ylabel="it is so",
        title="Calibration",
    )


def drift(judged: Sequence[Judged], station: str, signals: Sequence[tuple[float, str]]) -> str:
    """Brightness as measured at the dark station, what the audit made of it, and when the signal came."""
    rows = [j for j in judged if j.brightness is not None and j.play in (None, Play.DARK, Play.NEW_VARIANT)]
    here = [j for j in rows if j.station == station]
    others = [j for j in rows if j.station != station]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(10.4, 3.0))
        axes.scatter(
            [j.when_s for j in others],
            [j.brightness or 0 for j in others],
            s=4,
            color="#cbd5e1",
            lw=0,
            label="other stations",
        )
        for verdict, colour in (("accepted", GOOD), ("ambiguous", DOUBT), ("rejected", BAD)):
            some = [j for j in here if j.verdict == verdict]
            if some:
                axes.scatter(
                    [j.when_s for j in some],
                    [j.brightness or 0 for j in some],
                    s=11,
                    color=colour,
                    lw=0,
                    label=f"{station}: {verdict}",
                )
        told = -math.inf
        for when, kind in signals:
            axes.axvline(when, color=INK, lw=1, ls="--")
            if when - told < 0.1 * max((j.when_s for j in rows), default=0.0):
                continue
            told = when
            axes.text(when, 1.0, f" {kind}", transform=axes.get_xaxis_transform(), fontsize=9, va="bottom")
        axes.set(xlabel="seconds of the stream", ylabel="mean brightness", title="")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=4, markerscale=2)
        return svg_of(figure)

"""Parts of the evaluation report that a table of methods and the evaluation of one release share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from andon_vision import decode_image, prepare_pixels
from andon_vision.preprocess import Preprocessing

from trainer.adapters import scoring
from trainer.adapters.evaluation_charts import confusion_matrix, ranking, reliability_diagrams
from trainer.adapters.evaluation_page import THUMBNAIL, Picture, Section, Table, thumbnail
from trainer.domain.calibration import Bools, Floats, expected_calibration_error
from trainer.domain.evaluation import ConfusedPair, most_wrong, reliability
from trainer.domain.judging import Rates, Slice
from trainer.domain.metrics import Figure

PAIRS_SHOWN, EXAMPLES_EACH, WORST_SHOWN = 6, 5, 24
SMALL = Preprocessing(THUMBNAIL, THUMBNAIL, fit="letterbox")
RATES = ("precision", "recall", "false_reject_rate", "false_escape_rate")
COMPARED = ("auroc", "accuracy", "false_reject_rate", "false_escape_rate", "calibration_error")

Show = Callable[[int, str], Picture]
"""Makes the picture of a row, with a caption."""


def shown(images: Sequence[bytes]) -> Show:
    """Thumbnails of encoded images."""
    return lambda row, caption: thumbnail(prepare_pixels(decode_image(images[row]).pixels, SMALL), caption)


def curves(scores: Floats, truth: Bools, note: str) -> Section:
    """ROC and precision over recall; there must be good and defective rows."""
    figures = scoring.binary_figures(scores, truth)
    chart = ranking(
        scoring.roc(scores, truth),
        scoring.precision_recall(scores, truth),
        figures["auroc"],
        figures["auprc"],
    )
    return Section("Defect or not", note, charts=(chart,))


def honesty(before: Floats | None, after: Floats, truth: Bools, note: str) -> Section:
    """Reliability diagrams with their calibration error, before (where known) and after calibration."""
    diagrams = {
        title: (reliability(values, truth), expected_calibration_error(values, truth))
        for title, values in (("Before calibration", before), ("After calibration", after))
        if values is not None
    }
    return Section(
        "Do probabilities mean what they say?",
        f"Ten bins of equal size with 95 % intervals. {note}",
        charts=(reliability_diagrams(diagrams),),
    )


def rates(title: str, note: str, items: Mapping[str, Rates]) -> Section:
    """One line for each class or severity."""
    lines: list[Sequence[str]] = [("", "images", "parts", *(name.replace("_", " ") for name in RATES))]
    for name, item in items.items():
        cells = (_cell(item.figures.get(figure)) for figure in RATES)
        lines.append((name, str(item.images), str(item.parts), *cells))
    return Section(title, note, tables=(Table(lines),))


def _cell(figure: Figure | None) -> str:
    return "-" if figure is None else f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def confusions(table: Mapping[str, Mapping[str, int]]) -> Section:
    """What was called what."""
    note = "One answer an image: normal below one half, else the likeliest class."
    return Section("Confusion", note, charts=(confusion_matrix(table),))


def slices(items: Sequence[Slice]) -> list[Section]:
    """Figures side by side; no section where there is nothing to compare."""
    if not items:
        return []
    lines: list[Sequence[str]] = [("", "", "images", *(name.replace("_", " ") for name in COMPARED))]
    lines += [
        (item.kind, item.name, str(item.images), *(_cell(item.figures.get(name)) for name in COMPARED))
        for item in items
    ]
    note = "Only where there are ten images and something to compare with. Exposure is by the pictures' own brightness."
    return [
        Section(
            "By variant, station, shift, exposure and certainty of the label", note, tables=(Table(lines),)
        )
    ]


def pairs(found: Sequence[ConfusedPair], name_of: Callable[[int], str], show: Show) -> list[Section]:
    """The most frequent mistakes with examples."""
    return [
        Section(
            f"{pair.actual}, called {pair.predicted}: {len(pair.rows)} images",
            pictures=[show(row, name_of(row)) for row in pair.rows[:EXAMPLES_EACH]],
        )
        for pair in found[:PAIRS_SHOWN]
    ]


def worst(
    right: Floats,
    actual: Sequence[str],
    called: Sequence[str],
    name_of: Callable[[int], str],
    show: Show,
) -> Section:
    """Where the model gave the truth the least probability (`right`)."""
    pictures = [
        show(row, f"{actual[row]}, called {called[row]}; {right[row]:.3f} for the truth. {name_of(row)}")
        for row in most_wrong(right, WORST_SHOWN)
    ]
    note = "Where the model gave the truth the least probability."
    return Section("The worst answers", note if pictures else "None was wrong.", pictures=pictures)

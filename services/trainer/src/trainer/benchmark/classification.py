"""Rows of classification: the trainer's own head on frozen features, as `trainer train` fits it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt
from andon_vision import Preprocessing, decode_image, prepare_pixels
from andon_vision.release_bundle import NORMAL

from trainer.adapters import backbone, features, fitting, kernel_fitting, rich_backbone, scoring
from trainer.adapters.evaluation_charts import confusion_matrix, ranking, reliability_diagrams
from trainer.adapters.evaluation_page import THUMBNAIL, Picture, Section, Table, thumbnail
from trainer.adapters.fitting import TrainingSet, fit_head
from trainer.benchmark import loading
from trainer.benchmark.table import Answers, Bench, Material, TableRow, take
from trainer.domain import calibration, head
from trainer.domain.calibration import Platt, expected_calibration_error
from trainer.domain.evaluation import (
    Index,
    class_figures,
    confused_pairs,
    most_wrong,
    reliability,
)
from trainer.domain.metrics import confusion
from trainer.domain.snapshot import Row, defect_classes

PAIRS_SHOWN, EXAMPLES_EACH, WORST_SHOWN = 6, 5, 24
UNSCALED = Platt(1.0, 0.0)
SMALL = Preprocessing(THUMBNAIL, THUMBNAIL, fit="letterbox")

# Answers: probability of a defect before and after calibration, of each class given a defect (images x classes).
RAW, DEFECT, CLASSES = "raw", "defect", "classes"


class Method(Protocol):
    """How a classification row learns and answers; its text names it for people and for kept folds."""

    @property
    def preprocessing(self) -> Preprocessing:
        """What is done to an image first."""

    @property
    def modules(self) -> tuple[ModuleType, ...]:
        """The code that the answers depend on."""

    def answers(self, bench: Bench, material: Material, train: Index, test: Index) -> Answers:
        """`RAW`, `DEFECT` and `CLASSES` for the rows `test`, by what the rows `train` taught."""


@dataclass(frozen=True)
class LinearHead:
    """The method of `trainer train`: a linear head on the release's features."""

    preprocessing: Preprocessing
    views: tuple[str, ...] = ("as-is", "turned")
    modules: ClassVar[tuple[ModuleType, ...]] = (backbone, features, fitting, head, calibration)

    def __str__(self) -> str:
        side = self.preprocessing
        return f"linear head on frozen features, {side.width}x{side.height}, views {', '.join(self.views)}"

    def answers(self, bench: Bench, material: Material, train: Index, test: Index) -> Answers:
        extractor = bench.extractor(self.preprocessing)
        learned = [material.images[at] for at in train]
        rows = [material.rows[at] for at in train]
        data = TrainingSet(
            np.stack([extractor.features(learned, view) for view in self.views]),
            np.array([row.is_defect for row in rows]),
            tuple(row.classes for row in rows),
            np.array([row.weight for row in rows]),
            [material.groups[at] for at in train],
        )
        classes = defect_classes(material.rows)
        fitted, _ = fit_head(data, classes)
        asked = extractor.features([material.images[at] for at in test])
        raw = UNSCALED(fitted.defect(asked)[:, 0]) if fitted.defect is not None else np.ones(len(test))
        given = fitted.classes_head(asked) if fitted.classes_head is not None else np.ones((len(test), 1))
        return {RAW: raw, DEFECT: fitted.defect_probability(asked), CLASSES: given}


@dataclass(frozen=True)
class KernelMachine:
    """Defect or not by a Gaussian kernel on rich features of several backbones; it is measured, not released."""

    preprocessing: Preprocessing
    packages: tuple[str, ...]
    views: tuple[str, ...] = ("as-is", "turned")
    modules: ClassVar[tuple[ModuleType, ...]] = (
        backbone,
        rich_backbone,
        features,
        kernel_fitting,
        calibration,
    )

    def __str__(self) -> str:
        side = self.preprocessing
        return (
            f"Gaussian kernel machine on rich features of {' and '.join(self.packages)}, "
            f"{side.width}x{side.height}, mean of the views {', '.join(self.views)}"
        )

    def answers(self, bench: Bench, material: Material, train: Index, test: Index) -> Answers:
        order = np.concatenate([train, test])
        images = [material.images[at] for at in order]
        blocks = [self._features(bench, package, images) for package in self.packages]
        rows = [material.rows[at] for at in train]
        raw, platt = kernel_fitting.fit_and_score(
            kernel_fitting.mean_squared_distances(blocks, len(train)),
            np.array([row.is_defect for row in rows]),
            np.array([row.weight for row in rows]),
            [material.groups[at] for at in train],
        )
        return {RAW: UNSCALED(raw), DEFECT: platt(raw), CLASSES: np.ones((len(test), 1))}

    def _features(self, bench: Bench, package: str, images: Sequence[bytes]) -> npt.NDArray[np.float32]:
        extractor = bench.extractor(self.preprocessing, package)
        total = extractor.features(images, self.views[0])
        for view in self.views[1:]:
            total = total + extractor.features(images, view)
        return total / np.float32(len(self.views))


def classification_row(
    name: str,
    title: str,
    dataset: str,
    method: Method,
    *,
    targets: Mapping[str, float],
    headline: tuple[str, ...],
    published: str,
    limits: str,
    compares_naive: bool = False,
) -> TableRow:
    """A row that measures a method on one data set."""
    return TableRow(
        name=name,
        title=title,
        targets=targets,
        headline=headline,
        published=published,
        limits=limits,
        load=lambda bench: loading.load(bench, dataset, bench.extractor(method.preprocessing)),
        labels=lambda material: labels_of(material.rows),
        fit_and_score=method.answers,
        figures=figures_of,
        sections=sections_of,
        recipe=str(method),
        modules=method.modules,
        compares_naive=compares_naive,
    )


def labels_of(rows: Sequence[Row]) -> list[int]:
    """0 for a good part, else one more than the number of its class."""
    numbers = {name: number for number, name in enumerate(defect_classes(rows), start=1)}
    return [numbers[row.classes[0]] if row.is_defect else 0 for row in rows]


def truth_of(material: Material) -> npt.NDArray[np.bool_]:
    return np.array([row.is_defect for row in material.rows])


def names_of(material: Material, answers: Answers) -> tuple[list[str], list[str]]:
    """What each image shows and what it is called: `normal` below one half, else the likeliest defect class."""
    classes = defect_classes(material.rows)
    actual = [row.classes[0] if row.is_defect else NORMAL for row in material.rows]
    likeliest = answers[CLASSES].argmax(axis=1)
    called = answers[DEFECT] >= 0.5
    return actual, [
        classes[best] if defect else NORMAL for best, defect in zip(likeliest, called, strict=True)
    ]


def figures_of(material: Material, answers: Answers, index: Index) -> dict[str, float]:
    """Defect or not where there are good parts, which class where there are several."""
    truth = truth_of(material)
    found: dict[str, float] = {}
    if not truth.all():
        found |= scoring.binary_figures(answers[DEFECT][index], truth[index])
        found["calibration_error_before"] = expected_calibration_error(answers[RAW][index], truth[index])
    if answers[CLASSES].shape[1] > 1:
        actual, called = (np.array(names)[index] for names in names_of(material, answers))
        found |= scoring.class_scores(actual, called)
    return found


def sections_of(material: Material, answers: Answers) -> list[Section]:
    """Curves, reliability, classes, confusions and the worst images."""
    actual, called = names_of(material, answers)
    has_good = not truth_of(material).all()
    found = [_curves(material, answers), _honesty(material, answers)] if has_good else []
    found.append(_classes(actual, called))
    if has_good:
        found.append(_by_variant(material, answers))
    found += _pairs(material, actual, called)
    found.append(_worst(material, answers, actual, called))
    return found


def _curves(material: Material, answers: Answers) -> Section:
    truth, values = truth_of(material), answers[DEFECT]
    figures = scoring.binary_figures(values, truth)
    chart = ranking(
        scoring.roc(values, truth),
        scoring.precision_recall(values, truth),
        figures["auroc"],
        figures["auprc"],
    )
    return Section("Defect or not", "All out-of-fold probabilities together.", charts=(chart,))


def _honesty(material: Material, answers: Answers) -> Section:
    truth = truth_of(material)
    diagrams = {
        title: (reliability(answers[name], truth), expected_calibration_error(answers[name], truth))
        for title, name in (("Before calibration", RAW), ("After calibration", DEFECT))
    }
    note = (
        "Ten bins of equal size with 95 % intervals. The calibration is Platt's, fitted inside each training part; "
        "the rows shown are unseen by head and calibration."
    )
    return Section("Do probabilities mean what they say?", note, charts=(reliability_diagrams(diagrams),))


def _classes(actual: Sequence[str], called: Sequence[str]) -> Section:
    rows = [
        (name, str(item.images), f"{item.precision:.3f}", f"{item.recall:.3f}")
        for name, item in class_figures(actual, called).items()
    ]
    return Section(
        "By class",
        "One answer an image: normal below one half, else the likeliest class.",
        charts=(confusion_matrix(confusion(actual, called)),),
        tables=(Table([("class", "images", "precision", "recall"), *rows]),),
    )


def _by_variant(material: Material, answers: Answers) -> Section:
    """The figures of each variant, station and certainty of label with enough good and defective images."""
    keys: tuple[tuple[str, Callable[[Row], str]], ...] = (
        ("variant", lambda row: row.variant),
        ("station", lambda row: row.station),
        ("label", lambda row: "sure" if row.weight == 1 else "experts disagree"),
    )
    truth = truth_of(material)
    rows = []
    for kind, key in keys:
        names = [key(row) for row in material.rows]
        for name in sorted(set(names) - {""}):
            index = np.flatnonzero(np.array(names) == name)
            if min(truth[index].sum(), (~truth[index]).sum()) < 10:
                continue
            item = scoring.binary_figures(take(answers, index)[DEFECT], truth[index])
            cells = [f"{item[one]:.3f}" for one in _COMPARED]
            rows.append((kind, name, str(len(index)), *cells))
    note = "Only where there are ten good and ten defective images."
    return Section(
        "By variant, station and certainty of the label",
        note,
        tables=(Table([("", "", "images", *_COMPARED), *rows]),),
    )


_COMPARED = ("auroc", "accuracy", "false_reject_rate", "false_escape_rate", "calibration_error")


def _pairs(material: Material, actual: Sequence[str], called: Sequence[str]) -> list[Section]:
    found = []
    for pair in confused_pairs(actual, called)[:PAIRS_SHOWN]:
        pictures = [_picture(material, row, material.rows[row].id) for row in pair.rows[:EXAMPLES_EACH]]
        title = f"{pair.actual}, called {pair.predicted}: {len(pair.rows)} images"
        found.append(Section(title, pictures=pictures))
    return found


def _worst(material: Material, answers: Answers, actual: Sequence[str], called: Sequence[str]) -> Section:
    truth = truth_of(material)
    classes = defect_classes(material.rows)
    column = np.array([classes.index(name) if name in classes else 0 for name in actual])
    defect, given = answers[DEFECT], answers[CLASSES][np.arange(len(actual)), column]
    right = np.where(truth, defect * given, 1 - defect)
    pictures = [
        _picture(
            material,
            row,
            f"{actual[row]}, called {called[row]}; {right[row]:.3f} for the truth. {material.rows[row].id}",
        )
        for row in most_wrong(right, WORST_SHOWN)
    ]
    return Section(
        "The worst answers", "Where the model gave the truth the least probability.", pictures=pictures
    )


def _picture(material: Material, row: int, caption: str) -> Picture:
    return thumbnail(prepare_pixels(decode_image(material.images[row]).pixels, SMALL), caption)

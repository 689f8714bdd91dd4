"""Rows of classification: the trainer's own head on frozen features, as `trainer train` fits it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt
from andon_vision import Preprocessing
from andon_vision.release_bundle import NORMAL

from trainer import head_choice
from trainer.adapters import (
    backbone,
    features,
    fitting,
    kernel_fitting,
    kernel_head,
    maxima,
    rich_backbone,
    scoring,
)
from trainer.adapters import evaluation_sections as sections
from trainer.adapters.backbone import write_backbone
from trainer.adapters.evaluation_page import Section
from trainer.adapters.features import FeatureCache, FeatureExtractor
from trainer.adapters.fitting import TrainingSet
from trainer.adapters.images import brightness_of
from trainer.adapters.maxima import RICH, write_with_maxima
from trainer.adapters.whole_files import written_whole
from trainer.benchmark import loading
from trainer.benchmark.table import Answers, Bench, Effort, Material, TableRow
from trainer.domain import calibration, head
from trainer.domain.calibration import Floats, Platt, expected_calibration_error
from trainer.domain.evaluation import Index, confused_pairs
from trainer.domain.judging import Judged, class_rates, compared, good_rates
from trainer.domain.metrics import confusion
from trainer.domain.snapshot import Row, defect_classes
from trainer.domain.thresholds import Thresholds
from trainer.head_choice import INPUTS, choose_head
from trainer.ports import Extractor

UNSCALED = Platt(1.0, 0.0)
BY_CLASS = (
    "All decisions are made at one half. False rejects are good images called by the class's name, false escapes are "
    "images of the class called good. Where none of a few parts went wrong, the interval is their exact bound."
)
HONEST = "The calibration is Platt's, fitted inside each training part; head and calibration have not seen these rows."

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
class ReleasedHead:
    """The method of `trainer train`: a linear head, or a kernel machine where `choose_head` takes one.

    `kernels` false leaves the linear head alone.
    """

    inputs: tuple[Preprocessing, ...] = INPUTS
    views: tuple[str, ...] = ("as-is", "turned")
    kernels: bool = True
    modules: ClassVar[tuple[ModuleType, ...]] = (
        backbone,
        features,
        fitting,
        head,
        calibration,
        maxima,
        kernel_head,
        head_choice,
    )

    @property
    def preprocessing(self) -> Preprocessing:
        return self.inputs[0]

    def __str__(self) -> str:
        sides = ", ".join(f"{side.width}x{side.height}" for side in self.inputs)
        kind = "linear head or kernel machine" if self.kernels else "linear head"
        return f"{kind} on frozen features, {sides}, views {', '.join(self.views)}"

    def answers(self, bench: Bench, material: Material, train: Index, test: Index) -> Answers:
        extractor = bench.extractor(self.preprocessing)
        learned = [material.images[at] for at in train]
        rows = [material.rows[at] for at in train]

        def data(of: Extractor, views: tuple[str, ...]) -> TrainingSet:
            return TrainingSet(
                np.stack([of.features(learned, view) for view in views]),
                np.array([row.is_defect for row in rows]),
                tuple(row.classes for row in rows),
                np.array([row.weight for row in rows]),
                [material.groups[at] for at in train],
            )

        def rich_of(spec: Preprocessing) -> TrainingSet:
            return data(_rich(bench, spec), self.views[:1])

        classes = defect_classes(material.rows)
        chosen = choose_head(
            data(extractor, self.views), rich_of if self.kernels else None, classes, self.inputs, bench.report
        )
        fitted = chosen.head
        reader = _rich(bench, chosen.preprocessing) if chosen.is_kernel else extractor
        asked = reader.features([material.images[at] for at in test])
        raw = UNSCALED(fitted.defect(asked)[:, 0]) if fitted.defect is not None else np.ones(len(test))
        given = fitted.classes_head(asked) if fitted.classes_head is not None else np.ones((len(test), 1))
        return {RAW: raw, DEFECT: fitted.defect_probability(asked), CLASSES: given}


def _rich(bench: Bench, spec: Preprocessing) -> FeatureExtractor:
    """Features with maxima, of the release's backbone."""
    plain = written_whole(write_backbone, bench.work)
    wider = written_whole(partial(write_with_maxima, plain), bench.work)
    return FeatureExtractor(wider, spec, FeatureCache(bench.work / "features.sqlite"), output=RICH)


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
    efforts: Mapping[str, Method] | None = None,
) -> TableRow:
    """A row that measures a method on one data set; `efforts` are cheaper or dearer ones by their labels."""
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
        efforts=[Effort(label, other.answers) for label, other in (efforts or {}).items()],
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


def judged_of(material: Material, answers: Answers) -> Judged:
    """The answers as decisions at one half: without costs nothing goes to people."""
    _, called = names_of(material, answers)
    return Judged(
        tuple(row.classes if row.is_defect else () for row in material.rows),
        tuple("" if name == NORMAL else name for name in called),
        answers[DEFECT],
        Thresholds(0.5, 0.5),
        tuple(material.groups),
        defect_classes(material.rows),
    )


def sections_of(material: Material, answers: Answers) -> list[Section]:
    """Curves, reliability, classes, confusions and the worst images."""
    actual, called = names_of(material, answers)
    truth, judged = truth_of(material), judged_of(material, answers)
    rates = {name: class_rates(judged, frozenset([name])) for name in defect_classes(material.rows)}
    found: list[Section] = []
    if not truth.all():
        found += [
            sections.curves(answers[DEFECT], truth, "All out-of-fold probabilities together."),
            sections.honesty(answers[RAW], answers[DEFECT], truth, HONEST),
        ]
        rates = {NORMAL: good_rates(judged)} | rates
    found += [sections.rates("By class", BY_CLASS, rates), sections.confusions(confusion(actual, called))]
    if not truth.all():
        found += sections.slices(compared(judged, material.rows, brightness_of(material.images)))
    show = sections.shown(material.images)
    found += sections.pairs(confused_pairs(actual, called), lambda row: material.rows[row].id, show)
    right = _probability_of_truth(material, answers, actual)
    found.append(sections.worst(right, actual, called, lambda row: material.rows[row].id, show))
    return found


def _probability_of_truth(material: Material, answers: Answers, actual: Sequence[str]) -> Floats:
    classes = defect_classes(material.rows)
    column = np.array([classes.index(name) if name in classes else 0 for name in actual])
    given = answers[CLASSES][np.arange(len(actual)), column]
    return np.where(truth_of(material), answers[DEFECT] * given, 1 - answers[DEFECT])

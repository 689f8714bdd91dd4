"""What a line of the table of `trainer models` is, and what comes of measuring it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from andon_vision import Preprocessing

from trainer.adapters.evaluation_page import Section
from trainer.domain.evaluation import Index, Leak
from trainer.domain.metrics import Figure
from trainer.domain.snapshot import Row
from trainer.ports import Extractor

Answers = dict[str, npt.NDArray[Any]]
"""What a method says of some images: arrays whose first axis is the images, in the order in which they were asked for.

Answers of varying length, such as boxes, are padded to the longest and hold their number in an array of its own.
"""
Report = Callable[[str], None]


class Extractors(Protocol):
    """Makes extractors: of the release's backbone, or of the rich one of a package of weights."""

    def __call__(self, preprocessing: Preprocessing, rich: str | None = None) -> Extractor:
        """Raises `BackboneMissing` where the package is not installed."""


class DataMissing(ValueError):
    """The data of a row are not on this machine; the text says which."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What every row may use.

    Attributes:
        data: The folder of public data sets; it may be absent.
        work: Where things are kept that need not be made twice: features, answers of finished folds.
        extractor: Features under a preprocessing and a backbone, remembered by content.
        report: Takes a line of progress.
    """

    data: Path
    work: Path
    extractor: Extractors
    report: Report


@dataclass(frozen=True, slots=True)
class Material:
    """Images of a data set that may be learned from, with what keeps them together.

    `groups` joins images of one part and near-duplicates; `hashes` are the perceptual hashes that say so.
    """

    rows: Sequence[Row]
    images: Sequence[bytes]
    hashes: Sequence[int]
    groups: Sequence[int]
    near_duplicate_bits: int


FitAndScore = Callable[[Bench, Material, Index, Index], Answers]
"""Learns from the first rows (indices) and answers for the second, which it must not look at."""


@dataclass(frozen=True, slots=True)
class Effort:
    """A cheaper or dearer variant of a row's method, such as one with fewer rounds: what would more compute bring?

    `label` tells it from the row's other efforts; another label means other answers.
    """

    label: str
    fit_and_score: FitAndScore


@dataclass(frozen=True, slots=True)
class TableRow:
    """One line: a data set, a method, and figures that were promised.

    Attributes:
        name: Names the row in files and on the command line.
        title: What a person reads.
        targets: Figures to reach at least, by the names that `figures` uses; may be empty.
        headline: The figures shown in the table where there is no target.
        published: What others report, for orientation.
        limits: What keeps the row from more, as far as it is known.
        load: The data. Raises `DataMissing`.
        labels: A number for each image; folds keep some of each on either side.
        fit_and_score: The method.
        figures: Figures of the answers to these rows (indices into the data); nan where they say nothing.
        sections: What the report shows beside the figures.
        recipe: Says in words what the method does; other words mean other answers.
        modules: The code that the answers depend on; a change there measures finished folds again.
        compares_naive: Whether to measure as well with folds that tear near-duplicates apart, to show the leak.
        rounds: Rounds of the grouped bootstrap.
        efforts: Variants that are measured on the first grouped fold, beside the method itself.
    """

    name: str
    title: str
    targets: Mapping[str, float]
    headline: tuple[str, ...]
    published: str
    limits: str
    load: Callable[[Bench], Material]
    labels: Callable[[Material], Sequence[int]]
    fit_and_score: FitAndScore
    figures: Callable[[Material, Answers, Index], dict[str, float]]
    sections: Callable[[Material, Answers], list[Section]]
    recipe: str
    modules: tuple[ModuleType, ...]
    compares_naive: bool = False
    rounds: int = 200
    efforts: Sequence[Effort] = ()


@dataclass(frozen=True, slots=True)
class Spent:
    """What one effort (`label`) reached on the first grouped fold, and the seconds that it took there."""

    label: str
    seconds: float
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Measured:
    """One row as measured: figures over all out-of-fold answers with intervals, and each fold's own.

    `seconds` is what the grouped folds took when they were computed, features included. `curve` holds the row's
    efforts and its own method, the cheapest first; it is empty for a row without efforts.
    """

    row: TableRow
    figures: Mapping[str, Figure]
    folds: Sequence[Mapping[str, float]]
    images: int
    groups: int
    seconds: float
    leak: Leak
    naive_leak: Leak
    naive: Mapping[str, Figure] = field(default_factory=dict)
    sections: Sequence[Section] = ()
    curve: Sequence[Spent] = ()

    @property
    def is_met(self) -> bool | None:
        """Whether every target is reached; None where nothing was promised."""
        if not self.row.targets:
            return None
        return all(self.figures[name].value >= least for name, least in self.row.targets.items())

    @property
    def shown(self) -> tuple[str, ...]:
        """The figures that the table shows."""
        return tuple(self.row.targets) or self.row.headline


def take(answers: Answers, index: Index) -> Answers:
    """The answers to some of the images."""
    return {name: values[index] for name, values in answers.items()}


def placed(parts: Sequence[tuple[Index, Answers]], size: int) -> Answers:
    """Answers of all folds, each at its images' places. Every image must have been asked about exactly once."""
    asked = np.concatenate([index for index, _ in parts])
    if sorted(asked.tolist()) != list(range(size)):
        raise ValueError("the folds do not ask about every image exactly once")
    back = np.argsort(asked)
    return {name: np.concatenate([answers[name] for _, answers in parts])[back] for name in parts[0][1]}

"""What a release said of some images beside what they show: class by class, severity by severity, slice by slice."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.domain.calibration import Bools, Floats
from trainer.domain.evaluation import Index
from trainer.domain.guarantees import attainable_rate
from trainer.domain.metrics import Figure, bootstrap, decision_figures, ratio
from trainer.domain.snapshot import Row
from trainer.domain.thresholds import Thresholds

SLICE_LEAST = 10
"""Images below which a slice says nothing."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Images with their answers; all of one length.

    Attributes:
        shown: Defect classes of each image, none for a good one.
        called: The class that each was called, "" where it was called good.
        scores: Defect probability of each.
        limits: Below `pass_below` a part passes without a person, from `reject_from` on it is rejected.
        groups: Images of one group are not independent.
        known: The classes that the release can name. A class it cannot name counts as found where the image is called
            any defect.
    """

    shown: tuple[tuple[str, ...], ...]
    called: tuple[str, ...]
    scores: Floats
    limits: Thresholds
    groups: tuple[int, ...]
    known: tuple[str, ...]

    @property
    def is_defect(self) -> Bools:
        return np.array([bool(names) for names in self.shown], dtype=np.bool_)

    @property
    def passed(self) -> Bools:
        return np.asarray(self.scores < self.limits.pass_below)

    @property
    def rejected(self) -> Bools:
        return np.asarray(self.scores >= self.limits.reject_from)

    def wrong(self) -> list[tuple[str, str] | None]:
        """For each image (what it shows, what it was called), "" being good; None where the answer is right."""
        return [self._mistake(names, called) for names, called in zip(self.shown, self.called, strict=True)]

    def _mistake(self, names: tuple[str, ...], called: str) -> tuple[str, str] | None:
        nameable = [name for name in names if name in self.known]
        right = called in nameable or (bool(names) == bool(called) and not nameable)
        return None if right else ((nameable or [*names, ""])[0], called)


@dataclass(frozen=True, slots=True)
class Rates:
    """How one class or severity fared, on so many images of so many independent parts."""

    images: int
    parts: int
    figures: Mapping[str, Figure]

    def to_json(self) -> dict[str, Any]:
        figures = {name: figure.to_json() for name, figure in self.figures.items()}
        return {"images": self.images, "parts": self.parts, **figures}


def class_rates(judged: Judged, classes: frozenset[str]) -> Rates:
    """Of the images that show one of these classes.

    `precision` and `recall` are those of the plain decision at one half; `false_escape_rate` is the share of images of
    the classes that pass without a person, `false_reject_rate` the share of good images that are rejected under the
    classes' names. Figures that say nothing are left out.
    """
    shows = np.array([not classes.isdisjoint(names) for names in judged.shown], dtype=np.bool_)
    nameable = classes & set(judged.known)
    named = np.array([name in nameable for name in judged.called], dtype=np.bool_)
    found = named if nameable else np.array([bool(name) for name in judged.called], dtype=np.bool_)
    pairs = {
        "precision": (shows, named),
        "recall": (found, shows),
        "false_escape_rate": (judged.passed, shows),
        "false_reject_rate": (
            judged.rejected & named if nameable else np.zeros_like(shows),
            ~judged.is_defect,
        ),
    }
    if not nameable:
        del pairs["false_reject_rate"]
    return _rates(shows, pairs, judged.groups)


def good_rates(judged: Judged) -> Rates:
    """Of the good images: called good, and rejected without a person."""
    good = ~judged.is_defect
    called_good = np.array([not name for name in judged.called], dtype=np.bool_)
    pairs = {
        "precision": (good, called_good),
        "recall": (called_good, good),
        "false_reject_rate": (judged.rejected, good),
    }
    return _rates(good, pairs, judged.groups)


def escaped_parts(judged: Judged, classes: frozenset[str]) -> tuple[int, int]:
    """Of the parts that show one of these classes: how many escape, any one image of them passing, and how many."""
    shows = np.array([not classes.isdisjoint(names) for names in judged.shown], dtype=np.bool_)
    return _count(judged.groups, shows & judged.passed), _count(judged.groups, shows)


def _rates(shows: Bools, pairs: Mapping[str, tuple[Bools, Bools]], groups: Sequence[int]) -> Rates:
    def of(index: Index) -> dict[str, float]:
        return {name: ratio(part[index], whole[index]) for name, (part, whole) in pairs.items()}

    independent = {name: _count(groups, whole) for name, (_, whole) in pairs.items()}
    figures = {
        name: _widened(figure, independent[name])
        for name, figure in bootstrap(of, groups).items()
        if not math.isnan(figure.value)
    }
    return Rates(int(shows.sum()), _count(groups, shows), figures)


def _count(groups: Sequence[int], keep: Bools) -> int:
    return len({group for group, kept in zip(groups, keep, strict=True) if kept})


def _widened(figure: Figure, parts: int) -> Figure:
    """None of a few parts is not never: where the bootstrap has nothing to draw, the parts' exact bound stands."""
    reach = attainable_rate(parts, 0.975)
    if figure.value == 0:
        return Figure(0.0, 0.0, max(figure.high, reach))
    return Figure(1.0, min(figure.low, 1 - reach), 1.0) if figure.value == 1 else figure


def widened_rates(figures: Mapping[str, Figure], truth: Bools, groups: Sequence[int]) -> dict[str, Figure]:
    """Figures that say something, false escapes and false rejects with the exact bound where none was seen."""
    whole = {"false_escape_rate": truth, "false_reject_rate": ~truth, "accuracy": np.ones_like(truth)}
    return {
        name: _widened(figure, _count(groups, whole[name])) if name in whole else figure
        for name, figure in figures.items()
        if not math.isnan(figure.value)
    }


@dataclass(frozen=True, slots=True)
class Slice:
    """The images of one station, shift, exposure or variant, with their figures."""

    kind: str
    name: str
    images: int
    figures: Mapping[str, Figure]

    def to_json(self) -> dict[str, Any]:
        figures = {name: figure.to_json() for name, figure in self.figures.items()}
        return {"by": self.kind, "name": self.name, "images": self.images, "figures": figures}


KEYS: Mapping[str, Callable[[Row], str]] = {
    "variant": lambda row: row.variant,
    "station": lambda row: row.station,
    "shift": lambda row: row.shift,
    "label": lambda row: "sure" if row.weight == 1 else "people disagree",
}


def compared(judged: Judged, rows: Sequence[Row], brightness: Floats) -> list[Slice]:
    """Figures of each slice with enough images, where there are at least two to compare.

    `brightness` is each image's mean, for its exposure: dark, middle and bright thirds of these images.
    """
    kinds = {kind: [key(row) for row in rows] for kind, key in KEYS.items()}
    kinds["exposure"] = _thirds(brightness)
    found = []
    for kind, names in kinds.items():
        slices = [_slice(judged, kind, name, names) for name in sorted(set(names) - {""})]
        large = [item for item in slices if item.images >= SLICE_LEAST]
        found += large if len(large) > 1 else []
    return found


def _slice(judged: Judged, kind: str, name: str, names: Sequence[str]) -> Slice:
    index = np.flatnonzero(np.array(names) == name)
    truth = judged.is_defect

    def of(chosen: Index) -> dict[str, float]:
        rows = index[chosen]
        return decision_figures(judged.scores[rows], truth[rows], judged.limits)

    groups = [judged.groups[row] for row in index]
    return Slice(kind, name, len(index), widened_rates(bootstrap(of, groups), truth[index], groups))


def _thirds(brightness: Floats) -> list[str]:
    low, high = np.quantile(brightness, [1 / 3, 2 / 3])
    if low == high:
        return [""] * len(brightness)
    return [
        "dark third" if value < low else "bright third" if value > high else "middle third"
        for value in brightness
    ]

"""How far people say the same of the same images, beyond what chance would do: agreement in numbers, with intervals.

All figures are functions of small tables of counts that add up over images: so a bootstrap over images, or over parts
where several images show one, is a matter of adding tables again, and costs no pass over the answers.

Percent agreement and Krippendorff's alpha (nominal) allow any number of answers an image; Fleiss' kappa wants the same
number for each, and is computed over the images that have the most frequent number. Cohen's kappa compares two people.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""From summed tables of shape (..., values, values) to figures of shape (...); NaN where nothing can be said."""

DRAWS: Final = 1000
LEVEL: Final = 0.95
_SEED: Final = 53


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure and its interval.

    Attributes:
        value: None where it is undefined: no image with two answers, or all answers the same.
        low, high: Percentile bootstrap, 95 %; None where most draws leave the figure undefined.
        units: Images (or marked places) that it rests on.
    """

    value: float | None
    low: float | None
    high: float | None
    units: int


def percent(table: Floats) -> Floats:
    """Share of pairs of answers that are the same, each image counting once; `table` from `per_image`."""
    with np.errstate(invalid="ignore", divide="ignore"):
        share: Floats = _trace(table) / table.sum((-2, -1))
    return share


def fleiss(table: Floats) -> Floats:
    """Fleiss' kappa; `table` from `per_image`, of images with the same number of answers."""
    with np.errstate(invalid="ignore", divide="ignore"):
        used = table.sum(-1) / table.sum((-2, -1))[..., None]
        chance = (used**2).sum(-1)
        figure: Floats = (percent(table) - chance) / np.where(chance < 1, 1 - chance, np.nan)
    return figure


def alpha(table: Floats) -> Floats:
    """Krippendorff's alpha for nominal values; `table` from `coincidences`."""
    used = table.sum(-1)
    size = used.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = (size**2 - (used**2).sum(-1)) / (size - 1)
        figure: Floats = 1.0 - (size - _trace(table)) / np.where(expected > 0, expected, np.nan)
    return figure


def cohen(table: Floats, order: Sequence[int] | None = None) -> Floats:
    """Cohen's kappa of two people.

    Args:
        table: Answers of the first by answers of the second.
        order: Rank of each value, by severity: a difference then counts by the distance of the ranks. None: any
            difference is as bad as any other.
    """
    size = table.shape[-1]
    ranks = np.array(order if order is not None else range(size), np.float64)
    apart = np.abs(ranks[:, None] - ranks)
    weights = apart if order is not None else (apart > 0).astype(np.float64)
    total = table.sum((-2, -1))
    chance = table.sum(-1)[..., :, None] * table.sum(-2)[..., None, :]
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = (weights * chance).sum((-2, -1)) / total
        figure: Floats = 1.0 - (weights * table).sum((-2, -1)) / np.where(expected > 0, expected, np.nan)
    return figure


def coincidences(counts: Counts) -> Floats:
    """Pairs of answers within each image, an answer counting once.

    Args:
        counts: Answers by image and value, shape (images, values).

    Returns:
        Shape (images, values, values); zero for an image with fewer than two answers.
    """
    answers = counts.sum(axis=1)[:, None, None]
    pairs = counts[:, :, None] * (counts[:, None, :] - np.eye(counts.shape[1]))
    table: Floats = np.where(answers > 1, pairs / np.maximum(1, answers - 1), 0.0)
    return table


def per_image(counts: Counts) -> Floats:
    """As `coincidences`, but an image counts once, however many answers it has."""
    table: Floats = coincidences(counts) / np.maximum(1, counts.sum(axis=1))[:, None, None]
    return table


def most_frequent(counts: Counts) -> npt.NDArray[np.bool_]:
    """The images that have the most frequent number of answers above one, the larger of two as frequent ones."""
    answers = counts.sum(axis=1)
    several = answers[answers > 1]
    if not len(several):
        return np.zeros(len(counts), np.bool_)
    frequent = np.bincount(several)
    wanted = len(frequent) - 1 - int(np.argmax(frequent[::-1]))
    chosen: npt.NDArray[np.bool_] = answers == wanted
    return chosen


def figure(tables: Floats, clusters: Sequence[Hashable], statistic: Statistic) -> Figure:
    """The figure of all images, and its interval.

    Args:
        tables: One for each image, shape (images, values, values).
        clusters: What each image belongs to: images of one part are drawn together, as they are not independent.
    """
    used = tables.sum((1, 2)) > 0
    summed = _by_cluster(tables[used], [c for c, u in zip(clusters, used, strict=True) if u])
    value = float(statistic(summed.sum(axis=0))) if len(summed) else np.nan
    if np.isnan(value):
        return Figure(None, None, None, int(used.sum()))
    # Clusters with the same table are drawn as one, with their number: the same distribution, and far less work.
    kinds, alike = np.unique(summed.reshape(len(summed), -1), axis=0, return_counts=True)
    draws = np.random.default_rng(_SEED).multinomial(len(summed), alike / len(summed), size=DRAWS)
    drawn = statistic((draws @ kinds).reshape(DRAWS, *summed.shape[1:]))
    drawn = drawn[~np.isnan(drawn)]
    if len(drawn) < DRAWS / 2:
        return Figure(value, None, None, int(used.sum()))
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Figure(value, float(low), float(high), int(used.sum()))


def _by_cluster(tables: Floats, clusters: Iterable[Hashable]) -> Floats:
    numbers: dict[Hashable, int] = {}
    cluster = np.array([numbers.setdefault(name, len(numbers)) for name in clusters], np.int64)
    summed = np.zeros((len(numbers), *tables.shape[1:]))
    np.add.at(summed, cluster, tables)
    return summed


def _trace(table: Floats) -> Floats:
    trace: Floats = np.trace(table, axis1=-2, axis2=-1)
    return trace

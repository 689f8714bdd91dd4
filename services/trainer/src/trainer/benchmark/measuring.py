"""Grouped cross-validation of one row, with finished folds kept so that a long run can be taken up again."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from trainer.adapters.whole_files import whole_file
from trainer.benchmark.table import Answers, Bench, Effort, Material, Measured, Spent, TableRow, placed
from trainer.domain.evaluation import Index, leak_of, naive_folds, near_pairs
from trainer.domain.metrics import Figure, bootstrap
from trainer.domain.split import check_no_leak, folds

FOLDS = 5
OWN = "the row itself"
SECONDS = "seconds"  # kept beside a fold's answers: how long they took


def measure(row: TableRow, bench: Bench) -> Measured:
    """The row's figures. Raises `DataMissing`."""
    bench.report(f"{row.name}: reading images")
    material = row.load(bench)
    labels = list(row.labels(material))
    grouped = folds(material.groups, FOLDS, labels)
    naive = naive_folds(labels, FOLDS)
    pairs = near_pairs(material.hashes, material.near_duplicate_bits)
    answers, seconds = cross_validate(row, bench, material, grouped, "grouped")
    figures, by_fold = _figures(row, material, answers, grouped)
    torn: dict[str, Figure] = {}
    if row.compares_naive:
        leaking, _ = cross_validate(row, bench, material, naive, "naive")
        torn, _ = _figures(row, material, leaking, naive)
    sections = row.sections(material, answers)
    curve = _curve(row, bench, material, grouped) if row.efforts else []
    return Measured(
        row,
        figures,
        by_fold,
        len(material.rows),
        max(material.groups) + 1,
        seconds,
        leak_of(pairs, grouped),
        leak_of(pairs, naive),
        torn,
        sections,
        curve,
    )


def _curve(row: TableRow, bench: Bench, material: Material, fold: Sequence[int]) -> list[Spent]:
    """Each effort and the row's own method, asked about the first grouped fold; the cheapest first."""
    train, test = np.flatnonzero(np.array(fold) != 0), np.flatnonzero(np.array(fold) == 0)
    own = f"grouped fold 1 of {FOLDS}"
    found = []
    for effort in (*row.efforts, Effort(OWN, row.fit_and_score)):
        variant, what = row, own
        if effort.label != OWN:
            recipe = f"{row.recipe}; {effort.label}"
            variant = replace(row, recipe=recipe, fit_and_score=effort.fit_and_score)
            what = f"{effort.label}, {own}"
        answers, seconds = _fold_answers(variant, bench, material, train, test, what)
        figures = row.figures(material, _spread(answers, test, len(material.rows)), test)
        found.append(Spent(effort.label, seconds, figures))
    return sorted(found, key=lambda spent: spent.seconds)


def _spread(answers: Answers, index: Index, size: int) -> Answers:
    """Answers to some images at those images' places; nobody asks about the others, which are zero."""
    whole = {name: np.zeros((size, *values.shape[1:]), values.dtype) for name, values in answers.items()}
    for name, values in answers.items():
        whole[name][index] = values
    return whole


def _figures(
    row: TableRow, material: Material, answers: Answers, fold: Sequence[int]
) -> tuple[dict[str, Figure], list[dict[str, float]]]:
    """Over all rows with grouped intervals, and of each fold."""

    def of(index: Index) -> dict[str, float]:
        return row.figures(material, answers, index)

    found = {name: figure for name, figure in bootstrap(of, material.groups, row.rounds).items()}
    each = [of(np.flatnonzero(np.array(fold) == number)) for number in range(FOLDS)]
    return {name: figure for name, figure in found.items() if not np.isnan(figure.value)}, each


def cross_validate(
    row: TableRow, bench: Bench, material: Material, fold: Sequence[int], split: str
) -> tuple[Answers, float]:
    """Answers for every image by a model that has not seen its fold, and the seconds that all folds took.

    Raises `LeakError` when folds that should be grouped tear a group apart.
    """
    number_of = np.array(fold)
    parts: list[tuple[Index, Answers]] = []
    total = 0.0
    for number in range(FOLDS):
        train, test = np.flatnonzero(number_of != number), np.flatnonzero(number_of == number)
        if not len(test):
            continue
        if split == "grouped":
            check_no_leak(["test" if held else "train" for held in number_of == number], material.groups)
        what = f"{split} fold {number + 1} of {FOLDS}"
        answers, seconds = _fold_answers(row, bench, material, train, test, what)
        parts.append((test, answers))
        total += seconds
    return placed(parts, len(material.rows)), total


def _fold_answers(
    row: TableRow, bench: Bench, material: Material, train: Index, test: Index, what: str
) -> tuple[Answers, float]:
    """From the disk where the same question was answered before by the same code, else computed and kept."""
    file = bench.work / "folds" / row.name / f"{_key(row, material, train, test)}.npz"
    if file.is_file():
        bench.report(f"{row.name}: {what}, kept from before")
        with np.load(file, allow_pickle=False) as kept:
            answers = {name: kept[name] for name in kept.files}
        return answers, float(answers.pop(SECONDS))
    bench.report(f"{row.name}: {what}, {len(train)} to learn from, {len(test)} to answer")
    started = time.monotonic()
    answers = row.fit_and_score(bench, material, train, test)
    seconds = time.monotonic() - started
    for name, values in answers.items():
        if len(values) != len(test):
            raise ValueError(f"{row.name} gave {len(values)} answers {name!r} for {len(test)} images")
    with whole_file(file) as stream:
        np.savez(stream, **answers, **{SECONDS: np.float64(seconds)})  # type: ignore[arg-type]
    bench.report(f"{row.name}: {what} took {seconds:.0f} s")
    return answers, seconds


def _key(row: TableRow, material: Material, train: Index, test: Index) -> str:
    """Names the question: the method, its code, the images with their labels, and the fold."""
    digest = hashlib.sha256(f"{row.name}\n{row.recipe}\n".encode())
    for module in row.modules:
        digest.update(Path(module.__file__ or "").read_bytes())
    for index in (train, test):
        for at in index:
            item = material.rows[at]
            content = hashlib.sha256(material.images[at]).hexdigest()
            digest.update(f"{content} {item.classes} {item.weight} {material.groups[at]}\n".encode())
        digest.update(b"--\n")
    return digest.hexdigest()[:32]

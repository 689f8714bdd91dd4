"""The row that measures template comparison: boards of a design that was never seen, each with its own template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from andon_vision import decode_image, difference_parts, difference_shape, prepare_pixels, registration
from andon_vision import template as comparing

from trainer import template as task
from trainer.adapters import box_metrics, template_boards, template_trees
from trainer.adapters.box_metrics import Boxes, average_precision
from trainer.adapters.evaluation_page import Section, Table, thumbnail
from trainer.adapters.images import ImageStore, load_dataset
from trainer.adapters.template_boards import Board, disturbed, read_boards, repaired
from trainer.benchmark import loading
from trainer.benchmark.table import Answers, Bench, Material, TableRow, take
from trainer.domain import template as domain
from trainer.domain.evaluation import Index
from trainer.domain.metrics import auroc
from trainer.domain.snapshot import defect_classes
from trainer.domain.split import joined_groups
from trainer.domain.template import matched
from trainer.domain.thresholds import Costs
from trainer.template import INPUT, IOU, Rows, answers, box_figures, comparable, learn, rows_of, scores_of

# Answers, boxes as rows x1, y1, x2, y2, score, class in pixels of the input, filled up with rows whose class is -1:
# what people drew and what was found, also after the board was moved, turned and put in other light.
LABELLED, FOUND, MOVED_LABELLED, MOVED_FOUND = "labelled", "found", "moved_labelled", "moved_found"
# Probability of a defect of the board, of the same one repaired, and of that one moved, turned and in other light; nan
# where the template was taken for another board's.
SCORE, GOOD, MOVED_GOOD = "score", "good", "moved_good"
# From which score on the fold shows a box, below which probability it passes and from which it rejects a board.
CUT, PASS, REJECT = "cut", "pass", "reject"
MOST: Final = 64
SHOWN: Final = 24
_SEED: Final = 7_000
"""Apart from the seeds that training uses."""
DRAWN, CALLED = (15, 157, 118), (214, 69, 69)
"""RGB of a box that a person drew, and of one that was found."""


def template_row(
    name: str, title: str, dataset: str, *, targets: Mapping[str, float], published: str, limits: str
) -> TableRow:
    """A row that measures the task on one data set with templates and boxes."""
    return TableRow(
        name=name,
        title=title,
        targets=targets,
        headline=("map33", "f1"),
        published=published,
        limits=limits,
        load=lambda bench: load(bench, dataset),
        labels=lambda material: [0] * len(material.rows),
        fit_and_score=answered,
        figures=figures_of,
        sections=sections_of,
        recipe=f"registration, differences, {template_trees.TREES} random trees on their shapes, {INPUT}",
        modules=(
            registration,
            difference_parts,
            difference_shape,
            comparing,
            template_boards,
            template_trees,
            box_metrics,
            domain,
            task,
        ),
        rounds=60,
    )


def load(bench: Bench, dataset: str) -> Material:
    """Boards with templates. All of one design are one group: neighbouring pictures of it overlap."""
    snapshot = load_dataset(str(loading.data_set(bench, dataset)))
    boards = replace(snapshot, rows=comparable(snapshot))
    material = loading.material_of(boards, ImageStore(), bench.extractor(INPUT))
    return replace(
        material, groups=joined_groups(material.groups, [row.variant or None for row in material.rows])
    )


def answered(bench: Bench, material: Material, train: Index, test: Index) -> Answers:
    """Comparisons of the boards `test` by what the boards `train` taught."""
    taught, asked = (_boards(material, index) for index in (train, test))
    classes = len(defect_classes(material.rows))
    learned = learn(taught, [material.groups[at] for at in train], classes, Costs(), bench.report)
    good = [repaired(board, learned.spec) for board in asked]
    moved = [disturbed(board, _SEED + number) for number, board in enumerate(asked)]
    moved_good = [disturbed(board, _SEED + number) for number, board in enumerate(good)]
    found, found_moved, of_good, of_moved_good = (
        answers(boards, learned.spec, learned.forest, classes) for boards in (asked, moved, good, moved_good)
    )
    return {
        LABELLED: _filled([board.rows for board in asked]),
        FOUND: _filled([rows_of(one) for one in found]),
        MOVED_LABELLED: _filled([board.rows for board in moved]),
        MOVED_FOUND: _filled([rows_of(one) for one in found_moved]),
        SCORE: scores_of(found),
        GOOD: scores_of(of_good),
        MOVED_GOOD: scores_of(of_moved_good),
        CUT: np.full(len(test), learned.spec.score_from),
        PASS: np.full(len(test), learned.thresholds.pass_below),
        REJECT: np.full(len(test), learned.thresholds.reject_from),
    }


def _boards(material: Material, index: Index) -> list[Board]:
    rows, images = [material.rows[at] for at in index], [material.images[at] for at in index]
    return read_boards(rows, images, defect_classes(material.rows), ImageStore(), INPUT)


def _filled(rows: Sequence[Rows]) -> Rows:
    """(images, MOST, 6); the surest stay where there are more."""
    filled = np.full((len(rows), MOST, 6), -1, np.float32)
    for at, own in enumerate(rows):
        kept = own[np.argsort(-own[:, 4], kind="stable")[:MOST]]
        filled[at, : len(kept)] = kept
    return filled


def _emptied(filled: Rows) -> list[Rows]:
    return [rows[rows[:, 5] >= 0] for rows in filled]


def figures_of(material: Material, answers: Answers, index: Index) -> dict[str, float]:
    """map33, map50 and f1 of boxes, on moved boards too; AUROC, false rejects and escapes of whole boards."""
    taken = take(answers, index)
    classes = len(defect_classes(material.rows))
    cuts = taken[CUT].tolist()
    moved = box_figures(_emptied(taken[MOVED_LABELLED]), _emptied(taken[MOVED_FOUND]), cuts, classes)
    scores, truth = np.concatenate([taken[SCORE], taken[GOOD]]), np.repeat([True, False], len(index))
    known = ~np.isnan(scores)
    return box_figures(_emptied(taken[LABELLED]), _emptied(taken[FOUND]), cuts, classes) | {
        "map33_moved": moved["map33"],
        "f1_moved": moved["f1"],
        "auroc": auroc(scores[known], truth[known]),
        "false_rejects": _share(taken[GOOD] >= taken[REJECT]),
        "false_rejects_moved": _share(taken[MOVED_GOOD] >= taken[REJECT]),
        "refused": _share(~known),
        "refused_moved": _share(np.isnan(taken[MOVED_GOOD])),
        "false_escapes": _share(taken[SCORE] < taken[PASS]),
    }


def _share(happened: npt.NDArray[np.bool_]) -> float:
    return float(happened.mean()) if len(happened) else float("nan")


def sections_of(material: Material, answers: Answers) -> list[Section]:
    """Average precision by class and the boards that the comparison does worst on."""
    return [_classes(material, answers), _worst(material, answers)]


def _classes(material: Material, answers: Answers) -> Section:
    classes = defect_classes(material.rows)
    labelled, found = (
        [Boxes(rows[:, :4], rows[:, 5].astype(int), rows[:, 4]) for rows in _emptied(answers[name])]
        for name in (LABELLED, FOUND)
    )
    judged = [average_precision(labelled, found, len(classes), iou).of_class for iou in (IOU, 0.5)]
    kinds = np.concatenate([boxes.classes for boxes in labelled])
    lines = [
        (name, str(int((kinds == at).sum())), *(f"{item[at]:.3f}" for item in judged))
        for at, name in enumerate(classes)
    ]
    return Section(
        "By class",
        "Each board was compared by a release that had seen no board of its design. Boards without a defect are the "
        "same boards with the registered template painted over each labelled box; moved ones were shifted by up to 6 "
        "pixels, turned by up to a degree and put in other light with noise.",
        tables=(Table([("class", "boxes", f"AP at {IOU}", "AP at 0.5"), *lines]),),
    )


def _worst(material: Material, answers: Answers) -> Section:
    labelled, found = _emptied(answers[LABELLED]), _emptied(answers[FOUND])
    shown = [rows[rows[:, 4] >= cut] for rows, cut in zip(found, answers[CUT], strict=True)]
    quality = [matched([wanted], [rows], IOU).f1(0.0) for wanted, rows in zip(labelled, shown, strict=True)]
    worst = np.argsort(np.nan_to_num(quality, nan=1.0), kind="stable")[:SHOWN]
    pictures = []
    for at in worst:
        drawn = prepare_pixels(decode_image(material.images[at]).pixels, INPUT).copy()
        for rows, colour in ((labelled[at], DRAWN), (shown[at], CALLED)):
            for left, top, right, bottom in rows[:, :4].astype(int).tolist():
                cv2.rectangle(drawn, (left, top), (right, bottom), colour, 3)
        pictures.append(thumbnail(drawn, f"{material.rows[at].id}: F1 {quality[at]:.2f}"))
    return Section("The worst boards", "Green is what a person drew, red what was found.", pictures=pictures)

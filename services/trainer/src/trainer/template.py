"""Learns which differences between a board and its template are defects, from a snapshot to a signed release bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
from andon_vision import Preprocessing
from andon_vision.errors import ImageRefused
from andon_vision.release_bundle import MODEL, load_private_key, write_bundle
from andon_vision.template import TEMPLATE, Comparison, TemplateSpec, compare
from andon_vision.template_library import FILE, pack_templates

from trainer.adapters.box_metrics import Boxes, average_precision
from trainer.adapters.template_boards import (
    Board,
    Examples,
    disturbed,
    examples_of,
    read_boards,
    repaired,
    together,
)
from trainer.adapters.template_trees import Forest
from trainer.domain.calibration import fit_platt
from trainer.domain.metrics import Figure, bootstrap, decision_figures
from trainer.domain.snapshot import TRAIN, VALIDATION, Row, Snapshot, SnapshotError
from trainer.domain.split import folds, joined_groups
from trainer.domain.template import matched
from trainer.domain.thresholds import Costs, Thresholds, choose_thresholds
from trainer.training import Material, Outcome, Plan, described, gather, learnable_classes, promised
from trainer.workshop import Report, Workshop

INPUT: Final = Preprocessing(640, 640)
FOLDS: Final = 4
IOU: Final = 0.33
"""From this overlap on a box counts as found, as is usual for boards: their defects are labelled loosely."""

Index = npt.NDArray[np.int_]
Rows = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Learned:
    """What compares boards: the numbers of the comparison, the trees behind it, and the image's thresholds.

    Attributes:
        crossed: Scores out of fold of the boards learned from, and of the same boards repaired.
    """

    spec: TemplateSpec
    forest: Forest
    thresholds: Thresholds
    crossed: tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]


def train_template(snapshot: Snapshot, plan: Plan, workshop: Workshop) -> Outcome:
    """Trains on boards with templates and boxes, and writes a signed bundle. Raises `SnapshotError` or `LeakError`."""
    size, report = plan.preprocessing or INPUT, workshop.report
    compared = replace(snapshot, rows=comparable(snapshot))
    material = gather(compared, plan, workshop)
    classes, left_out = learnable_classes(material, material.side(TRAIN))
    boards = read_boards(material.rows, material.images, classes, workshop.reader, size)
    training, validation = (np.flatnonzero(material.side(part)) for part in (TRAIN, VALIDATION))
    report(f"{len(training)} boards to learn from and calibrate with, {len(validation)} to validate")
    learned = learn(
        [boards[at] for at in training],
        [material.groups[at] for at in training],
        len(classes),
        plan.costs,
        report,
    )
    checked = [boards[at] for at in validation]
    found = answers(checked, learned.spec, learned.forest, len(classes))
    certain = np.nan_to_num(
        scores_of(found), nan=1.0
    )  # a refused board goes to a person, so it does not escape
    limits, promises = promised(plan, material, certain, learned.thresholds, report)
    metrics = evaluate(
        learned, limits, checked, found, [material.groups[at] for at in validation], len(classes)
    )
    report("writing the release")
    graph = learned.forest.to_onnx()
    crossed = decision_figures(*learned.crossed, learned.thresholds)
    description = described(snapshot, plan, material, metrics, graph, workshop.now) | promises
    description |= {
        "task": TEMPLATE,
        "classes": list(classes),
        "knows_normal": True,
        "preprocessing": size.to_json(),
        "thresholds": asdict(limits),
        "calibration": {
            "method": "platt, out-of-fold, on boards and on the same boards with the template painted over each defect",
            "defect": {"slope": learned.spec.slope, "offset": learned.spec.offset},
        },
        "regions": learned.spec.to_json(),
        "cross_validated": {name: round(value, 6) for name, value in crossed.items() if not np.isnan(value)},
        "backbone": None,
    }
    description["dataset"]["classes_left_out"] = left_out
    release = write_bundle(
        workshop.folder,
        plan.name,
        description,
        {
            MODEL: graph.SerializeToString(deterministic=True),
            FILE: pack_templates(_templates(material, boards)),
        },
        load_private_key(workshop.key),
    )
    return Outcome(release, metrics, limits, TEMPLATE, classes, left_out)


def comparable(snapshot: Snapshot) -> tuple[Row, ...]:
    """The rows to compare: good ones without a template are templates of others. Raises `SnapshotError`."""
    rows = tuple(row for row in snapshot.rows if row.template is not None or row.is_defect)
    if not any(row.template for row in rows):
        raise SnapshotError("no image has a template; name the defect-free picture of each board")
    shared = joined_groups(
        [row.group or None for row in rows],
        [
            row.template.sha256 or row.template.path or row.template.key if row.template else None
            for row in rows
        ],
    )
    # A board and another with the same template are one thing to a comparison.
    return tuple(replace(row, group=str(group)) for row, group in zip(rows, shared, strict=True))


def learn(
    boards: Sequence[Board], groups: Sequence[int], classes: int, costs: Costs, report: Report
) -> Learned:
    """Learns from all boards; calibrates, and chooses the score of a box, by answers out of fold.

    Raises `SnapshotError` where a board does not match its template, or where there is too little to learn from.
    """
    spec = TemplateSpec()
    examples = []
    for number, board in enumerate(boards):
        examples.append(_taught(board, number, spec))
        if (number + 1) % 50 == 0:
            report(f"differences of {number + 1} of {len(boards)} boards")
    fold = folds(groups, FOLDS)
    asked: list[Board] = []
    found: list[Comparison] = []
    for number in range(FOLDS):
        held = [board for board, place in zip(boards, fold, strict=True) if place == number]
        if not held:
            continue
        taught = [own for own, place in zip(examples, fold, strict=True) if place != number]
        if not taught:
            raise SnapshotError("all boards belong together, so nothing can be calibrated; add other boards")
        trees, fitted = _fitted(taught, spec, classes)
        both = [one for board in held for one in (board, repaired(board, spec))]
        for board, answer in zip(both, answers(both, fitted, trees, classes), strict=True):
            if answer is not None:
                asked.append(board)
                found.append(answer)
        report(f"calibrating: fold {number + 1} of {FOLDS}")
    is_defect = np.array([len(board.corners) > 0 for board in asked])
    if is_defect.all() or not is_defect.any():
        raise SnapshotError(
            "no board has a labelled defect, so nothing can be calibrated; draw boxes around defects"
        )
    scores = np.array([np.log(one.defect_score / (1.0 - one.defect_score)) for one in found])
    platt = fit_platt(scores, is_defect)
    cut = matched([board.rows for board in asked], [one.boxes for one in found], IOU).best_cut()
    trees, fitted = _fitted(examples, spec, classes)
    final = replace(fitted, slope=platt.slope, offset=platt.offset, score_from=cut)
    report(f"a box is shown from a score of {cut:.2f} on")
    limits = choose_thresholds(platt(scores), is_defect, costs)
    return Learned(final, trees, limits, (platt(scores), is_defect))


def _taught(board: Board, number: int, spec: TemplateSpec) -> Examples:
    """Of a board as it came, and as the station could have taken it. Raises `SnapshotError`."""
    try:
        as_it_came = examples_of(board, spec)
    except ImageRefused as error:
        raise SnapshotError(f"{board.name} cannot be compared with its template: {error}") from error
    try:
        return together([as_it_came, examples_of(disturbed(board, number), spec)])
    except ImageRefused:  # all but blank, it was lost in the noise
        return as_it_came


def _fitted(examples: Sequence[Examples], spec: TemplateSpec, classes: int) -> tuple[Forest, TemplateSpec]:
    """Trees, and the margins of labelled boxes, of these examples."""
    whole = together(examples)
    if not (whole.kinds > 0).any():
        raise SnapshotError("no labelled box lies on a difference between a board and its template")
    margin = np.nanmedian(whole.margins, axis=0)
    left, top, right, bottom = (float(value) for value in margin)
    return Forest(whole, classes), replace(spec, margin=(left, top, right, bottom))


def _logit(score: float) -> float:
    return float(np.log(score / (1.0 - score)))


def answers(
    boards: Sequence[Board], spec: TemplateSpec, forest: Forest, classes: int
) -> list[Comparison | None]:
    """Comparisons of boards with their own templates; None where the template does not match."""
    found: list[Comparison | None] = []
    for board in boards:
        try:
            found.append(compare(board.picture, [board.template], spec, classes, forest))
        except ImageRefused:
            found.append(None)
    return found


def rows_of(answer: Comparison | None) -> Rows:
    """The boxes of an answer; a refused board shows none."""
    return np.zeros((0, 6), np.float32) if answer is None else answer.boxes


def scores_of(found: Sequence[Comparison | None]) -> npt.NDArray[np.float64]:
    """The probability of a defect; nan for a refused board, which goes to a person."""
    return np.array([np.nan if one is None else one.defect_score for one in found])


def evaluate(
    learned: Learned,
    limits: Thresholds,
    boards: Sequence[Board],
    found: Sequence[Comparison | None],
    groups: Sequence[int],
    classes: int,
) -> dict[str, Figure]:
    """Figures on boards that were not learned from, with their answers `found`, and on the same boards repaired.

    Intervals are grouped.
    """
    spec = learned.spec
    good = answers([repaired(board, spec) for board in boards], spec, learned.forest, classes)
    scores = np.stack([scores_of(found), scores_of(good)])
    truth = np.array([[len(board.corners) > 0 for board in boards], [False] * len(boards)])

    def figures(index: Index) -> dict[str, float]:
        labelled, rows = [boards[at].rows for at in index], [rows_of(found[at]) for at in index]
        boxes = box_figures(labelled, rows, [spec.score_from] * len(index), classes)
        known = ~np.isnan(scores[:, index])
        return boxes | decision_figures(scores[:, index][known], truth[:, index][known], limits)

    values = bootstrap(figures, groups)
    return {name: figure for name, figure in values.items() if not np.isnan(figure.value)}


def box_figures(
    labelled: Sequence[Rows], found: Sequence[Rows], cuts: Sequence[float], classes: int
) -> dict[str, float]:
    """map33, map50 and, of the boxes from each image's score in `cuts` on, f1. Rows: x1, y1, x2, y2, score, class."""
    truth, said = (
        [Boxes(rows[:, :4], rows[:, 5].astype(int), rows[:, 4]) for rows in side]
        for side in (labelled, found)
    )
    shown = [rows[rows[:, 4] >= cut] for rows, cut in zip(found, cuts, strict=True)]
    return {
        "map33": average_precision(truth, said, classes, IOU).mean,
        "map50": average_precision(truth, said, classes, 0.5).mean,
        "f1": matched(labelled, shown, IOU).f1(0.0),
    }


def _templates(material: Material, boards: Sequence[Board]) -> dict[str, npt.NDArray[np.uint8]]:
    """Every board's template once, in grey where it has no colour, by `<variant>/<id>`."""
    kept: dict[str, npt.NDArray[np.uint8]] = {}
    seen: set[bytes] = set()
    for row, board in zip(material.rows, boards, strict=True):
        pixels = board.template
        content = pixels.tobytes()
        if content in seen:
            continue
        seen.add(content)
        is_grey = (pixels == pixels[..., :1]).all()
        name = row.id.rpartition("/")[2].rpartition(".")[0] or row.id
        kept[f"{row.variant}/{name}"] = pixels[..., 0] if is_grey else pixels
    return kept

"""Rows that measure the detection task: boxes of unseen images, as a reader of the release would see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import onnx
from andon_vision import Preprocessing, decode_image, prepare_pixels
from andon_vision.regions import MOST_REGIONS

from trainer.adapters import (
    backbone,
    box_metrics,
    detection_graph,
    detection_head,
    detection_learning,
    detection_turns,
    heads,
    maps,
)
from trainer.adapters.box_metrics import Boxes, average_precision
from trainer.adapters.detection_graph import (
    ask,
    build_detection_release,
    read_from,
    regions_of,
    uncalibrated,
)
from trainer.adapters.detection_learning import SCHEDULE, Views, learn, pictures_of
from trainer.adapters.evaluation_page import Picture, Section, Table, thumbnail
from trainer.adapters.heads import Schedule
from trainer.adapters.region_scoring import FAINTEST
from trainer.adapters.whole_files import written_whole
from trainer.benchmark import loading
from trainer.benchmark.classification import labels_of
from trainer.benchmark.table import Answers, Bench, Effort, Material, TableRow
from trainer.detection import INPUT
from trainer.domain import detection as geometry
from trainer.domain.evaluation import Index
from trainer.domain.snapshot import Row, defect_classes

# Answers: found boxes as x1, y1, x2, y2, score, class in pixels of the image, the surest first, and how many there are.
FOUND, COUNT = "found", "count"
FEWER: Final = (5, 15, 30)
"""Rounds of the efforts that show what learning longer brings."""
EXAMPLES: Final = 24
SIDE: Final = 200
LABELLED, CALLED = (15, 157, 118), (214, 69, 69)
"""RGB of a box that a person drew, and of one that the model found."""


def detection_row(
    name: str,
    title: str,
    dataset: str,
    *,
    targets: Mapping[str, float],
    published: str,
    limits: str,
) -> TableRow:
    """A row that measures the task on one data set with boxes."""
    return TableRow(
        name=name,
        title=title,
        targets=targets,
        headline=("map_50",),
        published=published,
        limits=limits,
        load=lambda bench: loading.load(bench, dataset, bench.extractor(INPUT)),
        labels=lambda material: labels_of(material.rows),
        fit_and_score=answers,
        figures=figures_of,
        sections=sections_of,
        recipe=f"anchor-free head on frozen levels of lite0, {INPUT}, {SCHEDULE}, asked in four turns",
        modules=(
            backbone,
            maps,
            heads,
            detection_head,
            detection_learning,
            detection_graph,
            detection_turns,
            box_metrics,
            geometry,
        ),
        rounds=60,
        efforts=[
            Effort(f"{epochs} rounds", partial(answers, schedule=replace(SCHEDULE, epochs=epochs)))
            for epochs in FEWER
        ],
    )


def answers(
    bench: Bench, material: Material, train: Index, test: Index, schedule: Schedule = SCHEDULE
) -> Answers:
    """Boxes for the rows `test` by a detector that the rows `train` taught, read as a release's are, faint ones too."""
    classes = defect_classes(material.rows)
    model = onnx.load(str(written_whole(backbone.write_backbone, bench.work)))
    pictures = pictures_of(material.rows, material.images, classes, INPUT)
    views = Views(pictures, model, bench.work / "maps", bench.report)
    detector = learn(pictures, views, train, classes, bench.work / "checkpoints", bench.report, schedule)
    graph = build_detection_release(model, detector, uncalibrated(classes))
    outputs = ask(graph, (pictures.pixels(int(at)) for at in test))
    found = np.zeros((len(test), MOST_REGIONS, 6), np.float32)
    count = np.zeros(len(test), np.int64)
    images = [material.images[at] for at in test]
    for at, regions in enumerate(regions_of(outputs, images, classes, read_from(FAINTEST), INPUT)):
        count[at] = len(regions)
        for place, box in enumerate(regions):
            corners = (box.x, box.y, box.x + box.width, box.y + box.height)
            found[at, place] = (*corners, box.score, classes.index(box.class_name))
    return {FOUND: found, COUNT: count}


def figures_of(material: Material, answers: Answers, index: Index) -> dict[str, float]:
    """Mean average precision at an overlap of one half, and that of each class."""
    classes = defect_classes(material.rows)
    judged = average_precision(
        [truth_of(material.rows[at], classes) for at in index],
        [found_of(answers, int(at)) for at in index],
        len(classes),
    )
    each = {f"ap_50 {name}": value for name, value in zip(classes, judged.of_class, strict=True)}
    return {"map_50": judged.mean, **each}


def truth_of(row: Row, classes: Sequence[str]) -> Boxes:
    """What a person drew."""
    known = [box for box in row.boxes if box.class_name in classes]
    corners = [(box.x, box.y, box.x + box.width, box.y + box.height) for box in known]
    return Boxes(
        np.array(corners, np.float64).reshape(-1, 4),
        np.array([classes.index(box.class_name) for box in known], np.int_),
        np.ones(len(known)),
    )


def found_of(answers: Answers, at: int) -> Boxes:
    """What the detector found in one image."""
    rows = answers[FOUND][at, : answers[COUNT][at]]
    return Boxes(rows[:, :4], rows[:, 5].astype(np.int_), rows[:, 4])


def sections_of(material: Material, answers: Answers) -> list[Section]:
    """Average precision by class at several overlaps, and the images that the detector does worst on."""
    return [_classes(material, answers), _worst(material, answers)]


def _classes(material: Material, answers: Answers) -> Section:
    classes = defect_classes(material.rows)
    truth = [truth_of(row, classes) for row in material.rows]
    found = [found_of(answers, at) for at in range(len(truth))]
    overlaps = (0.3, 0.5, 0.75)
    judged = [average_precision(truth, found, len(classes), overlap) for overlap in overlaps]
    labelled = np.concatenate([boxes.classes for boxes in truth])
    lines = [
        (name, str(int((labelled == at).sum())), *(f"{item.of_class[at]:.3f}" for item in judged))
        for at, name in enumerate(classes)
    ]
    head = ("class", "boxes", *(f"AP at {overlap}" for overlap in overlaps))
    mean = ("all", str(len(labelled)), *(f"{item.mean:.3f}" for item in judged))
    return Section(
        "By class",
        "All out-of-fold boxes together. Where a figure rises steeply towards small overlaps, defects are found but "
        "drawn differently from how the annotator drew them.",
        tables=(Table([head, *lines, mean]),),
    )


def _worst(material: Material, answers: Answers) -> Section:
    classes = defect_classes(material.rows)
    judged = [
        average_precision([truth_of(row, classes)], [found_of(answers, at)], len(classes)).mean
        for at, row in enumerate(material.rows)
    ]
    worst = np.argsort(np.nan_to_num(judged, nan=1.0), kind="stable")[:EXAMPLES]
    return Section(
        "The worst answers",
        "Green is what a person drew, red what the detector found from a score of 0.3 on.",
        pictures=[_picture(material, answers, int(at), judged[at], classes) for at in worst],
    )


def _picture(
    material: Material, answers: Answers, at: int, quality: float, classes: Sequence[str]
) -> Picture:
    whole = decode_image(material.images[at]).pixels
    drawn = prepare_pixels(whole, Preprocessing(SIDE, SIDE))
    scale = np.array([SIDE / whole.shape[1], SIDE / whole.shape[0]] * 2)
    row, found = material.rows[at], found_of(answers, at)
    _outline(drawn, truth_of(row, classes).corners * scale, LABELLED)
    _outline(drawn, found.corners[found.scores >= 0.3] * scale, CALLED)
    return thumbnail(drawn, f"{row.id}: {quality:.2f}")


def _outline(
    drawn: npt.NDArray[np.uint8], corners: npt.NDArray[np.floating], colour: tuple[int, int, int]
) -> None:
    for left, top, right, bottom in corners.astype(int).tolist():
        cv2.rectangle(drawn, (left, top), (right, bottom), colour, 1)

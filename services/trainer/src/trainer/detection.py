"""Learns where which defect is, from a snapshot with boxes to a signed release bundle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from andon_vision import Preprocessing
from andon_vision.regions import Region
from andon_vision.release_bundle import MODEL, load_private_key, write_bundle

from trainer.adapters.detection_graph import (
    PLAIN,
    Outputs,
    ask,
    build_detection_release,
    read_from,
    regions_of,
    uncalibrated,
)
from trainer.adapters.detection_head import Calibrations
from trainer.adapters.detection_learning import SCHEDULE, Index, Pictures, Views, learn, pictures_of
from trainer.adapters.heads import Pixels, Schedule
from trainer.adapters.region_scoring import FAINTEST, box_figures
from trainer.adapters.release_graph import CLASS_PROBABILITIES, DEFECT_SCORE
from trainer.domain.calibration import Bools, Floats, fit_platt
from trainer.domain.detection import hits, shown_from
from trainer.domain.metrics import Figure, bootstrap, decision_figures
from trainer.domain.snapshot import TRAIN, VALIDATION, LabelledBox, Row, Snapshot, SnapshotError
from trainer.domain.split import grouped_split, strata_of
from trainer.domain.thresholds import Thresholds, choose_thresholds, escape_costs
from trainer.training import Material, Outcome, Plan, described, gather, learnable_classes, promised
from trainer.workshop import Workshop

DETECTION: Final = "detection"
INPUT: Final = Preprocessing(256, 256)
COARSEST: Final = 32
"""Pixels between the points of the coarsest grid; they divide the input."""
MOST_VIEWS: Final = 8
"""What the network sees at once; each image is several views, and eight images of four took 800 MB."""
CALIBRATION_SHARE: Final = 0.2
"""Of the training side, kept from a first detector, whose scores on it calibrate the second, which learns from all."""


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What images that a detector has not learned from say about its scores."""

    calibrations: Calibrations
    thresholds: Thresholds
    score_from: float


def train_detection(
    snapshot: Snapshot, plan: Plan, workshop: Workshop, schedule: Schedule = SCHEDULE
) -> Outcome:
    """Trains on a snapshot with boxes and writes a signed bundle. Raises `SnapshotError` or `LeakError`."""
    spec, report = plan.preprocessing or INPUT, workshop.report
    if spec.width % COARSEST or spec.height % COARSEST:
        raise SnapshotError(
            f"an input of {spec.width} x {spec.height} pixels is not a multiple of {COARSEST}"
        )
    material = gather(snapshot, plan, workshop)
    classes, left_out = learnable_classes(material, material.side(TRAIN))
    check_boxes(material.rows, classes)
    training, validation = (np.flatnonzero(material.side(part)) for part in (TRAIN, VALIDATION))
    report(f"{len(training)} images to learn from and calibrate with, {len(validation)} to validate")
    backbone = onnx.load(str(workshop.backbone))
    pictures = _pictures(material, training, classes, spec)
    views = Views(pictures, backbone, workshop.work / "maps", report)
    report("a first detector, to calibrate by")
    calibrated = calibrated_aside(
        backbone, pictures, views, material, training, classes, plan, workshop, schedule
    )
    report(
        f"boxes are shown from a score of {calibrated.score_from:.2f} on; now the detector that is released"
    )
    detector = learn(pictures, views, np.arange(len(training)), classes, workshop.work, report, schedule)
    graph = build_detection_release(backbone, detector, calibrated.calibrations)
    checked = _pictures(material, validation, classes, spec)
    outputs = ask(graph, _shown(checked, np.ones(len(validation), bool)))
    limits, promises = promised(plan, material, outputs[DEFECT_SCORE], calibrated.thresholds, report)
    metrics = evaluate(outputs, material, validation, classes, spec, limits)
    report("writing the release")
    description = described(snapshot, plan, material, metrics, graph, workshop.now) | promises
    description |= {
        "task": DETECTION,
        "classes": list(classes),
        "knows_normal": calibrated.calibrations.defect is not None,
        "preprocessing": spec.to_json(),
        "thresholds": asdict(limits),
        "calibration": {
            "method": "platt, by a detector that has not learned from the images it was asked about",
            "defect": asdict(calibrated.calibrations.defect) if calibrated.calibrations.defect else None,
            "classes": [asdict(platt) for platt in calibrated.calibrations.classes],
        },
        "regions": read_from(calibrated.score_from),
        "max_batch": MOST_VIEWS // len(detector.turns),
        "schedule": asdict(schedule),
    }
    description["dataset"]["classes_left_out"] = left_out
    release = write_bundle(
        workshop.folder,
        plan.name,
        description,
        {MODEL: graph.SerializeToString(deterministic=True)},
        load_private_key(workshop.key),
    )
    return Outcome(release, metrics, limits, DETECTION, classes, left_out)


def check_boxes(rows: Sequence[Row], classes: Sequence[str]) -> None:
    """Raises `SnapshotError` for a defect without a box: it would teach that the defect is background."""
    bare = [row.id for row in rows if set(row.classes) & set(classes) and not row.boxes]
    if bare:
        raise SnapshotError(
            f"{len(bare)} defective images have no box, such as {bare[0]}; draw their boxes or leave them out, or "
            "train a classification or an anomaly model, which need none"
        )


def calibrated_aside(
    backbone: onnx.ModelProto,
    pictures: Pictures,
    views: Views,
    material: Material,
    training: Index,
    classes: Sequence[str],
    plan: Plan,
    workshop: Workshop,
    schedule: Schedule,
) -> Calibrated:
    """What a detector that learns from most of the training side says of the rest. Raises `SnapshotError`."""
    rows = [material.rows[at] for at in training]
    groups = [material.groups[at] for at in training]
    aside = np.array(grouped_split(groups, strata_of(rows), CALIBRATION_SHARE)) == VALIDATION
    if not aside.any():
        raise SnapshotError("too few independent parts to calibrate with; add images of other parts")
    first = learn(pictures, views, np.flatnonzero(~aside), classes, workshop.work, workshop.report, schedule)
    outputs = ask(build_detection_release(backbone, first, uncalibrated(classes)), _shown(pictures, aside))
    held = [row for row, kept in zip(rows, aside, strict=True) if kept]
    images = [data for data, kept in zip(pictures.encoded, aside, strict=True) if kept]
    return calibrate(outputs, held, images, classes, pictures.spec, plan)


def calibrate(
    outputs: Outputs,
    rows: Sequence[Row],
    images: Sequence[bytes],
    classes: Sequence[str],
    spec: Preprocessing,
    plan: Plan,
) -> Calibrated:
    """From an uncalibrated release's answers to images that it has not learned from."""
    raw = PLAIN.scores(outputs[CLASS_PROBABILITIES].astype(np.float64))
    shows = np.array([[name in _named(row) for name in classes] for row in rows])
    is_defect = np.array([row.is_defect for row in rows])
    own = tuple(fit_platt(raw[:, at], shows[:, at]) for at in range(len(classes)))
    score_from = _score_from(outputs, rows, images, classes, spec)
    if is_defect.all() or not is_defect.any():
        return Calibrated(Calibrations(own, None), Thresholds(0.5, 0.5), score_from)
    surest = raw.max(axis=1)
    whole = fit_platt(surest, is_defect)
    escapes = escape_costs([row.classes for row in rows], plan.severities, plan.costs)
    limits = choose_thresholds(whole(surest), is_defect, plan.costs, escapes)
    return Calibrated(Calibrations(own, whole), limits, score_from)


def evaluate(
    outputs: Outputs,
    material: Material,
    rows: Index,
    classes: Sequence[str],
    spec: Preprocessing,
    thresholds: Thresholds,
) -> dict[str, Figure]:
    """Boxes, and decisions where there are good parts, on images that took no part in training or calibration.

    Average precision ranks faint boxes too, which are not shown.
    """
    own, groups = [material.rows[at] for at in rows], [material.groups[at] for at in rows]
    found = regions_of(outputs, [material.images[at] for at in rows], classes, read_from(FAINTEST), spec)
    figures = box_figures(own, found, classes, groups)
    is_defect: Bools = np.array([row.is_defect for row in own])
    if is_defect.all() or not is_defect.any():
        return figures
    scores: Floats = outputs[DEFECT_SCORE].astype(np.float64)
    decided = bootstrap(lambda at: decision_figures(scores[at], is_defect[at], thresholds), groups)
    return figures | {name: figure for name, figure in decided.items() if not np.isnan(figure.value)}


def _score_from(
    outputs: Outputs,
    rows: Sequence[Row],
    images: Sequence[bytes],
    classes: Sequence[str],
    spec: Preprocessing,
) -> float:
    scores: list[float] = []
    right: list[Bools] = []
    labelled = 0
    for row, found in zip(rows, regions_of(outputs, images, classes, read_from(FAINTEST), spec), strict=True):
        truth = _table(row.boxes, classes)
        scores += [region.score for region in found]
        right.append(hits(_table(found, classes), truth))
        labelled += len(truth)
    return shown_from(np.array(scores), np.concatenate(right), labelled)


def _table(boxes: Sequence[LabelledBox | Region], classes: Sequence[str]) -> npt.NDArray[np.float64]:
    """Rows of x1, y1, x2, y2, class, without boxes of a class that is not learned."""
    known = [box for box in boxes if box.class_name in classes]
    rows = [
        (box.x, box.y, box.x + box.width, box.y + box.height, classes.index(box.class_name)) for box in known
    ]
    return np.array(rows, np.float64).reshape(-1, 5)


def _named(row: Row) -> set[str]:
    """Every class that the image shows: those of its boxes, which may be more than its own."""
    return {*row.classes, *(box.class_name for box in row.boxes)}


def _pictures(material: Material, rows: Index, classes: Sequence[str], spec: Preprocessing) -> Pictures:
    return pictures_of(
        [material.rows[at] for at in rows], [material.images[at] for at in rows], classes, spec
    )


def _shown(pictures: Pictures, keep: Bools) -> Iterator[Pixels]:
    return (pictures.pixels(int(at)) for at in np.flatnonzero(keep))

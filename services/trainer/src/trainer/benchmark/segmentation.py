"""The row of segmentation: masks by class as `trainer train --task segmentation` learns them, and cracks measured."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import onnx
from andon_vision import Preprocessing, decode_image, measurement, prepare_pixels, regions
from andon_vision.measurement import measure
from andon_vision.regions import class_map

from trainer import segmentation
from trainer.adapters import (
    evaluation_sections,
    heads,
    mask_metrics,
    masks,
    scoring,
    segmentation_head,
    segmentation_learning,
    segmentation_pictures,
    synthetic,
)
from trainer.adapters.backbone import write_backbone
from trainer.adapters.evaluation_page import THUMBNAIL, Picture, Section, Table, thumbnail
from trainer.adapters.heads import FrozenMaps, Schedule
from trainer.adapters.images import ImageStore
from trainer.adapters.mask_metrics import overlap
from trainer.adapters.segmentation_head import LEVELS
from trainer.adapters.segmentation_learning import SCHEDULE, Views, scores_of
from trainer.adapters.segmentation_pictures import draw
from trainer.adapters.whole_files import written_whole
from trainer.benchmark import loading
from trainer.benchmark.classification import labels_of, truth_of
from trainer.benchmark.table import Answers, Bench, Effort, Material, TableRow
from trainer.domain import crack_errors
from trainer.domain.calibration import Platt
from trainer.domain.crack_errors import COLUMNS, Crack, crack_figures
from trainer.domain.evaluation import Index
from trainer.domain.segmentation import dice_of, dice_of_images, dice_of_shown, iou_of, mean_of_classes
from trainer.domain.snapshot import defect_classes
from trainer.segmentation import INPUT, learn_and_calibrate, masks_of
from trainer.training import Plan

MODULES: Final = (
    segmentation,
    segmentation_head,
    segmentation_learning,
    segmentation_pictures,
    synthetic,
    mask_metrics,
    masks,
    heads,
    regions,
    measurement,
    crack_errors,
)
CRACK: Final = "crack"
WORST_EACH: Final = 6
_DRAWN, _PREDICTED = (40, 220, 60), (230, 40, 40)

# Answers: pixels counted by class, probability of a defect before and after calibration, measured cracks (`COLUMNS`),
# and for the pictures the predicted classes on a small grid.
COUNTS, RAW, DEFECT, CRACKS, SMALL = "counts", "raw", "defect", "cracks", "small"

Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Decoding:
    """The method of `trainer train --task segmentation`; its text names it for people and for kept folds."""

    preprocessing: Preprocessing = INPUT
    synthetic_share: float = 0.0
    schedule: Schedule = SCHEDULE

    def with_rounds(self, rounds: int) -> Decoding:
        """The same, learning for so many rounds."""
        return replace(self, schedule=replace(self.schedule, epochs=rounds))

    def __str__(self) -> str:
        side, plan = self.preprocessing, self.schedule
        return (
            f"decoder on frozen levels and the picture itself, {side.width}x{side.height}, {plan.epochs} rounds of "
            f"batches of {plan.batch} at {plan.rate}, synthetic share {self.synthetic_share}"
        )

    def answers(self, bench: Bench, material: Material, train: Index, test: Index) -> Answers:
        """All answers for the rows `test`, by what the rows `train` taught."""
        classes = defect_classes(material.rows)
        backbone = onnx.load(str(written_whole(write_backbone, bench.work)))
        work = bench.work / "segmentation"
        drawn = draw(
            material.rows, material.images, material.groups, classes, ImageStore(), self.preprocessing
        )
        # Views of all images, so that folds share one file of maps; those of `test` are not learned from.
        views = Views(drawn.pictures, len(classes), backbone, work, bench.report)
        plan = Plan(SMALL, self.preprocessing, synthetic_share=self.synthetic_share)
        learned = learn_and_calibrate(
            drawn, views, train, classes, backbone, plan, work / _code(), bench.report, self.schedule
        )
        asked = drawn.take(test)
        maps = FrozenMaps(backbone, LEVELS, work / "maps")
        probabilities = learned.segmenter.probabilities(maps, asked.pictures.pixels)
        counts, cracks, small = [], [], []
        for mask, frame, actual in zip(masks_of(probabilities), asked.frames, asked.truth, strict=True):
            predicted = class_map(mask, frame, learned.threshold).labels
            counts.append(overlap(predicted, actual, len(classes)))
            cracks.append(crack_errors_of(predicted, actual, classes))
            small.append(cv2.resize(predicted, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_NEAREST))
        scores = scores_of(probabilities)
        return {
            COUNTS: np.stack(counts),
            RAW: Platt(1.0, 0.0)(scores),
            DEFECT: learned.platt(scores),
            CRACKS: np.stack(cracks),
            SMALL: np.stack(small),
        }


def segmentation_row(
    name: str,
    title: str,
    dataset: str,
    method: Decoding,
    *,
    targets: dict[str, float],
    headline: tuple[str, ...] = (),
    published: str,
    limits: str,
    efforts: Mapping[str, Decoding],
) -> TableRow:
    """A row that measures the method on one data set with masks, and variants of it by their labels (see `Effort`)."""
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
        modules=MODULES,
        efforts=[Effort(label, variant.answers) for label, variant in efforts.items()],
    )


def _code() -> str:
    """Names the code, so that a checkpoint of other code is never taken up."""
    digest = hashlib.sha256()
    for module in MODULES:
        digest.update(Path(module.__file__ or "").read_bytes())
    return digest.hexdigest()[:16]


def crack_errors_of(predicted: Labels, actual: Labels, classes: Sequence[str]) -> npt.NDArray[np.float64]:
    """Of the largest annotated crack and the predicted one that covers most of it; nan where there is none."""
    number = classes.index(CRACK) + 1 if CRACK in classes else 0
    if not number or not (actual == number).any():
        return np.full(len(COLUMNS), np.nan)
    _, parts = cv2.connectedComponents((actual == number).astype(np.uint8))
    largest = parts == np.bincount(parts[parts > 0]).argmax()
    _, found = cv2.connectedComponents((predicted == number).astype(np.uint8))
    covering = np.bincount(found[largest], minlength=2)[1:]
    one = _measured(found == 1 + covering.argmax()) if covering.any() else None
    return crack_errors.errors(one, _measured(largest))


def _measured(mask: npt.NDArray[np.bool_]) -> Crack:
    found = measure(mask)
    values = found.measurements
    return Crack(
        values["length_px"], values["mean_width_px"], found.key_points["centre"], values["angle_deg"]
    )


def figures_of(material: Material, answers: Answers, index: Index) -> dict[str, float]:
    """`dice` and `iou` from all pixels of all images, good ones too; the others say over what they are taken."""
    classes, counts = defect_classes(material.rows), answers[COUNTS][index]
    dice = dice_of(counts)
    found = {
        "dice": mean_of_classes(dice),
        "iou": mean_of_classes(iou_of(counts)),
        "dice_where_shown": mean_of_classes(dice_of_shown(counts)),
        "dice_mean_of_images": mean_of_classes(dice_of_images(counts)),
        **{f"dice {name}": float(value) for name, value in zip(classes, dice, strict=True)},
    }
    truth = truth_of(material)[index]
    if truth.any() and not truth.all():
        found |= scoring.binary_figures(answers[DEFECT][index], truth)
    return found | dict(crack_figures(answers[CRACKS][index]))


def sections_of(material: Material, answers: Answers) -> list[Section]:
    """Overlap by class, cracks, defect or not, and the images with the least overlap."""
    truth = truth_of(material)
    found = [_overlap(material, answers), _cracks(answers)]
    if truth.any() and not truth.all():
        found.append(
            evaluation_sections.curves(
                answers[DEFECT],
                truth,
                "The score is made of the masks: how much defect there is, and how surely.",
            )
        )
        note = "Platt's, on images of the training part that the decoder has not learned from."
        found.append(evaluation_sections.honesty(answers[RAW], answers[DEFECT], truth, note))
    return [*found, *_worst(material, answers)]


def _overlap(material: Material, answers: Answers) -> Section:
    counts = answers[COUNTS]
    columns = (dice_of(counts), iou_of(counts), dice_of_shown(counts), dice_of_images(counts))
    lines: list[Sequence[str]] = [
        ("class", "images", "Dice", "IoU", "Dice where shown", "Dice, mean of images"),
    ]
    for at, name in enumerate(defect_classes(material.rows)):
        images = sum(name in row.classes for row in material.rows)
        lines.append((name, str(images), *(f"{values[at]:.3f}" for values in columns)))
    lines.append(("mean", "", *(f"{mean_of_classes(values):.3f}" for values in columns)))
    note = (
        "At the images' own resolution. Dice and IoU: pixels of all images together, so false alarms on good images "
        "count. Where shown: pixels of the images that show the class. Mean of images: each such image counts alike."
    )
    return Section("Overlap by class", note, tables=(Table(lines),))


def _cracks(answers: Answers) -> Section:
    lines = [
        (name.replace("_", " "), f"{value:.3f}") for name, value in crack_figures(answers[CRACKS]).items()
    ]
    note = (
        "The largest annotated crack of each image against the predicted one on it: median distance between what was "
        "measured of the two masks, in pixels of the image."
    )
    return Section("Measured cracks", note, tables=(Table([("figure", "value"), *lines]),))


def _worst(material: Material, answers: Answers) -> list[Section]:
    """Of each class the images with the least overlap, the annotated outline green, the predicted one red."""
    classes, store = defect_classes(material.rows), ImageStore()
    found = []
    for at, name in enumerate(classes):
        common, predicted, actual = answers[COUNTS][:, at].T
        shown = np.flatnonzero(actual > 0)
        dice = 2 * common[shown] / (predicted + actual)[shown]
        pictures = [
            _picture(material, answers, row, at + 1, f"Dice {value:.2f}. {material.rows[row].id}", store)
            for value, row in sorted(zip(dice.tolist(), shown.tolist(), strict=True))[:WORST_EACH]
        ]
        found.append(
            Section(f"{name}: least overlap", "Green as annotated, red as predicted.", pictures=pictures)
        )
    return found


def _picture(
    material: Material, answers: Answers, row: int, number: int, caption: str, store: ImageStore
) -> Picture:
    whole = decode_image(material.images[row]).pixels
    height, width = whole.shape[:2]
    drawn = masks.labels_of(material.rows[row], store, (height, width), defect_classes(material.rows))
    pixels = prepare_pixels(whole, Preprocessing(THUMBNAIL, THUMBNAIL)).copy()
    truth = cv2.resize(drawn, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_NEAREST)
    for labels, colour in ((truth, _DRAWN), (answers[SMALL][row], _PREDICTED)):
        rings, _ = cv2.findContours(
            (labels == number).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(pixels, rings, -1, colour, 1)
    return thumbnail(pixels, caption)

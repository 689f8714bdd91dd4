"""Learns which pixel shows which defect, from a snapshot with masks to a signed release bundle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from andon_vision import Preprocessing
from andon_vision.regions import class_map
from andon_vision.release_bundle import MODEL, load_private_key, write_bundle

from trainer.adapters.heads import FrozenMaps, Schedule, identity
from trainer.adapters.mask_metrics import overlap
from trainer.adapters.segmentation_graph import build_segmentation_release
from trainer.adapters.segmentation_head import LEVELS
from trainer.adapters.segmentation_learning import (
    SCHEDULE,
    Part,
    Probabilities,
    Segmenter,
    Views,
    learn,
    scores_of,
)
from trainer.adapters.segmentation_pictures import Drawn, Pictures, draw
from trainer.adapters.synthetic import synthesise
from trainer.domain.calibration import Floats, Platt, fit_platt
from trainer.domain.evaluation import Index
from trainer.domain.metrics import Figure, bootstrap, decision_figures
from trainer.domain.segmentation import Counts, dice_of, dice_of_images, iou_of, mean_of_classes
from trainer.domain.snapshot import TRAIN, VALIDATION, Snapshot, SnapshotError
from trainer.domain.split import grouped_split, independent_images, strata_of
from trainer.domain.thresholds import Thresholds, choose_thresholds
from trainer.training import Outcome, Plan, described, gather, learnable_classes, promised
from trainer.workshop import Report, Workshop

SEGMENTATION: Final = "segmentation"
INPUT: Final = Preprocessing(320, 320)
CALIBRATION_SHARE: Final = 0.15
"""Of the images to learn from, kept from the decoder: its score is calibrated and its threshold chosen on these."""
THRESHOLDS: Final = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
RARE: Final = 0.5
"""A class with fewer independent images than this share of the most common one's is not calibrated with."""
FEWEST: Final = 50
"""Images of a class in a round; a rarer class's come several times, each time in another view."""
MOST_REPEATS: Final = 3
MIN_AREA_SHARE: Final = 0.0002


@dataclass(frozen=True, slots=True)
class Learned:
    """A decoder with what makes its cells a decision.

    Attributes:
        threshold: The probability from which a pixel counts.
        synthetic: How many pictures were made to learn from, by the number of their class from 1 on.
    """

    segmenter: Segmenter
    platt: Platt
    threshold: float
    thresholds: Thresholds
    synthetic: Mapping[int, int]


def learn_and_calibrate(
    drawn: Drawn,
    views: Views,
    rows: Index,
    classes: Sequence[str],
    backbone: onnx.ModelProto,
    plan: Plan,
    work: Path,
    report: Report,
    schedule: Schedule = SCHEDULE,
) -> Learned:
    """Learns from most of these rows; calibrates, and chooses the threshold, on the others. Raises `SnapshotError`."""
    learning, held = put_aside(drawn, rows)
    is_defect = drawn.is_defect[held]
    if is_defect.all() or not is_defect.any():
        raise SnapshotError(
            "too few independent parts to calibrate with: good and defective ones are needed; add images of other parts"
        )
    pictures = drawn.pictures.take(learning)
    made = synthesise(
        pictures.pixels, pictures.labels, drawn.numbers[learning], plan.synthetic_share, schedule.seed
    )
    parts: list[Part] = [(views, repeated(learning, drawn.numbers))]
    if len(made.pixels):
        report(f"{len(made.pixels)} synthetic pictures beside {len(learning)} to learn from")
        blended = Pictures(made.pixels, made.labels, [picture.tobytes() for picture in made.pixels])
        parts.append((Views(blended, len(classes), backbone, work, report), np.arange(len(made.pixels))))
    name = identity(
        [*pictures.encoded, pictures.labels.tobytes()],
        SEGMENTATION,
        tuple(classes),
        plan.synthetic_share,
        schedule,
    )
    segmenter = learn(parts, len(classes), work, name, report, schedule)
    maps = FrozenMaps(backbone, LEVELS, work / "maps")
    probabilities = segmenter.probabilities(maps, drawn.pictures.pixels[held])
    scores = scores_of(probabilities)
    platt = fit_platt(scores, is_defect)
    limits = choose_thresholds(platt(scores), is_defect, plan.costs)

    def quality(threshold: float) -> float:
        counts = counted(probabilities, drawn.take(held), len(classes), threshold)
        shown = counts[:, :, 2].sum(axis=0) > 0
        return mean_of_classes(np.where(shown, dice_of(counts), np.nan))

    threshold = max(THRESHOLDS, key=quality)
    report(f"a pixel counts from a probability of {threshold} on")
    return Learned(segmenter, platt, threshold, limits, Counter(made.numbers.tolist()))


def put_aside(drawn: Drawn, rows: Index) -> tuple[Index, Index]:
    """The rows to learn from, and those to calibrate with; rare classes are all learned from."""
    chosen = drawn.take(rows)
    parts = grouped_split(chosen.groups, strata_of(chosen.rows), CALIBRATION_SHARE)
    images = independent_images(chosen.rows, chosen.groups)
    rare = {name for name, count in images.items() if count < RARE * max(images.values())}
    needed = {
        group
        for group, row in zip(chosen.groups, chosen.rows, strict=True)
        if not rare.isdisjoint(row.classes)
    }
    aside = np.array(
        [part == VALIDATION and group not in needed for part, group in zip(parts, chosen.groups, strict=True)]
    )
    return rows[~aside], rows[aside]


def repeated(rows: Index, numbers: npt.NDArray[np.int_]) -> Index:
    """All rows, those of rare classes several times."""
    own, images = np.unique(numbers[rows], return_counts=True)
    times = dict(
        zip(own.tolist(), np.clip(np.rint(FEWEST / images), 1, MOST_REPEATS).astype(int), strict=True)
    )
    return np.repeat(rows, [times[int(number)] if number else 1 for number in numbers[rows]])


def counted(probabilities: Probabilities, drawn: Drawn, classes: int, threshold: float) -> Counts:
    """(images, classes, 3) overlap of predictions with masks in each image's own size."""
    return np.stack(
        [
            overlap(class_map(mask, frame, threshold).labels, truth, classes)
            for mask, frame, truth in zip(masks_of(probabilities), drawn.frames, drawn.truth, strict=True)
        ]
    )


def masks_of(probabilities: Probabilities) -> npt.NDArray[np.uint8]:
    """(images, classes, h, w) as the release's graph gives them."""
    return (np.moveaxis(probabilities[..., 1:], -1, 1) * 255.0 + 0.5).astype(np.uint8)


def train_segmentation(
    snapshot: Snapshot, plan: Plan, workshop: Workshop, schedule: Schedule = SCHEDULE
) -> Outcome:
    """Trains on a snapshot with masks and writes a signed bundle. Raises `SnapshotError` or `LeakError`."""
    spec, report = plan.preprocessing or INPUT, workshop.report
    material = gather(snapshot, plan, workshop)
    training, validation = (np.flatnonzero(material.side(part)) for part in (TRAIN, VALIDATION))
    classes, left_out = learnable_classes(material, material.side(TRAIN))
    drawn = draw(material.rows, material.images, material.groups, classes, workshop.reader, spec)
    backbone = onnx.load(str(workshop.backbone))
    report(f"{len(training)} images to learn from and calibrate with, {len(validation)} to validate")
    own, checked = drawn.take(training), drawn.take(validation)
    views = Views(own.pictures, len(classes), backbone, workshop.work, report)
    learned = learn_and_calibrate(
        own, views, np.arange(len(training)), classes, backbone, plan, workshop.work, report, schedule
    )
    maps = FrozenMaps(backbone, LEVELS, workshop.work / "maps")
    probabilities = learned.segmenter.probabilities(maps, checked.pictures.pixels)
    scores = learned.platt(scores_of(probabilities))
    limits, promises = promised(plan, material, scores, learned.thresholds, report)
    metrics = evaluate(probabilities, scores, checked, classes, limits, learned.threshold)
    report("writing the release")
    graph = build_segmentation_release(
        backbone, learned.segmenter, learned.platt, spec.width, spec.height, len(classes)
    )
    description = described(snapshot, plan, material, metrics, graph, workshop.now) | promises
    description |= {
        "task": SEGMENTATION,
        "classes": list(classes),
        "knows_normal": True,
        "preprocessing": spec.to_json(),
        "thresholds": asdict(limits),
        "calibration": {
            "method": "platt, on images of the training side that the decoder has not learned from",
            "defect": asdict(learned.platt),
        },
        "regions": {
            "from": "masks",
            "threshold": learned.threshold,
            "min_area_share": MIN_AREA_SHARE,
            "measure": [name for name in plan.measure if name in classes],
            "mm_per_pixel": plan.mm_per_pixel,
        },
    }
    description["dataset"] |= {
        "classes_left_out": left_out,
        "synthetic": {classes[number - 1]: count for number, count in learned.synthetic.items()},
    }
    release = write_bundle(
        workshop.folder,
        plan.name,
        description,
        {MODEL: graph.SerializeToString(deterministic=True)},
        load_private_key(workshop.key),
    )
    return Outcome(release, metrics, limits, SEGMENTATION, classes, left_out)


def evaluate(
    probabilities: Probabilities,
    scores: Floats,
    checked: Drawn,
    classes: Sequence[str],
    limits: Thresholds,
    threshold: float,
) -> dict[str, Figure]:
    """Decisions by `limits` and overlap of masks from `threshold` on; `dice` as in `dice_of`.

    All are of images that were neither learned from nor calibrated with.
    """
    counts = counted(probabilities, checked, len(classes), threshold)

    def figures(index: Index) -> dict[str, float]:
        dice = dice_of(counts[index])
        return decision_figures(scores[index], checked.is_defect[index], limits) | {
            "dice": mean_of_classes(dice),
            "dice_of_images": mean_of_classes(dice_of_images(counts[index])),
            "iou": mean_of_classes(iou_of(counts[index])),
            **{f"dice_{name}": float(value) for name, value in zip(classes, dice, strict=True)},
        }

    found = bootstrap(figures, checked.groups)
    return {name: figure for name, figure in found.items() if not np.isnan(figure.value)}

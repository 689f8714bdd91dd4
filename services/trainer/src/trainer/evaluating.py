"""Measures a signed release on the holdout of a dataset version, and writes each reading of it down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from andon_vision import decode_image, near_duplicate_groups, perceptual_hash
from andon_vision.release_bundle import NORMAL, ReleaseBundle, bundle_files, load_public_key, read_bundle
from andon_vision.runner import Reading, ReleaseRunner

from trainer.adapters import scoring
from trainer.adapters.footprint import Footprint, footprint
from trainer.adapters.holdout_log import HoldoutLog
from trainer.adapters.images import brightness_of
from trainer.adapters.region_scoring import faint_too, region_figures
from trainer.domain.calibration import Floats, Platt, expected_calibration_error
from trainer.domain.evaluation import ConfusedPair, Index, confused_pairs, most_wrong
from trainer.domain.judging import (
    Judged,
    Rates,
    Slice,
    class_rates,
    compared,
    escaped_parts,
    good_rates,
    widened_rates,
)
from trainer.domain.metrics import Figure, bootstrap, confusion, decision_figures
from trainer.domain.snapshot import HOLDOUT, Row, Snapshot, SnapshotError, defect_classes
from trainer.domain.split import joined_groups
from trainer.domain.thresholds import Thresholds
from trainer.ports import ImageReader

BATCH = 8
NEAR_BITS = 6
"""Perceptual hashes up to this distance make near-duplicates, as in training."""
WORST = 24


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A release as measured on a holdout; rows, images and answers are those that could be decoded, in one order.

    Attributes:
        before: Defect probabilities before calibration, where the release says how it was calibrated.
        right: Probability that the release gave to the truth.
        regions: Figures of boxes, masks and the heat map, where people marked such.
        guarantees: Those of the release, each with the parts of the holdout that it speaks of and how many escaped.
        refused: Rows whose image could not be decoded, with the reason.
    """

    bundle: ReleaseBundle
    dataset: str
    reading: int
    purpose: str
    rows: Sequence[Row]
    images: Sequence[bytes]
    readings: Sequence[Reading]
    judged: Judged
    before: Floats | None
    right: Floats
    figures: Mapping[str, Figure]
    classes: Mapping[str, Rates]
    severities: Mapping[str, Rates]
    slices: Sequence[Slice]
    regions: Mapping[str, Figure]
    guarantees: Sequence[Mapping[str, Any]]
    cost: Footprint
    refused: Mapping[str, str]

    @property
    def actual(self) -> list[str]:
        """One name for what each image shows: what it was called where it shows that, else its first class."""
        return [
            (called if called in names else names[0]) if names else NORMAL
            for names, called in zip(self.judged.shown, self.judged.called, strict=True)
        ]

    @property
    def called(self) -> list[str]:
        return [name or NORMAL for name in self.judged.called]

    @property
    def pairs(self) -> list[ConfusedPair]:
        """Every mistake, the most frequent first."""
        wrong = self.judged.wrong()
        return confused_pairs(
            [item[0] or NORMAL if item else "" for item in wrong],
            [item[1] or NORMAL if item else "" for item in wrong],
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "release": self.bundle.release,
            "task": self.bundle.description.get("task"),
            "dataset": self.dataset,
            "reading": self.reading,
            "purpose": self.purpose,
            "images": len(self.rows),
            "groups": len(set(self.judged.groups)),
            "refused": dict(self.refused),
            "thresholds": {
                "pass_below": self.bundle.pass_below,
                "reject_from": self.bundle.reject_from,
            },
            "guarantees": list(self.guarantees),
            "figures": {name: figure.to_json() for name, figure in self.figures.items()},
            "classes": {name: item.to_json() for name, item in self.classes.items()},
            "severities": {name: item.to_json() for name, item in self.severities.items()},
            "confusion": confusion(self.actual, self.called),
            "confused": [
                {
                    "is": pair.actual,
                    "called": pair.predicted,
                    "images": [self.rows[row].id for row in pair.rows],
                }
                for pair in self.pairs
            ],
            "worst": [
                {"image": self.rows[row].id, "probability_of_truth": round(float(self.right[row]), 4)}
                for row in most_wrong(self.right, WORST)
            ],
            "regions": {name: figure.to_json() for name, figure in self.regions.items()},
            "compared": [item.to_json() for item in self.slices],
            "cost": self.cost.to_json(),
        }


def evaluate_release(
    folder: Path,
    key: Path,
    snapshot: Snapshot,
    reader: ImageReader,
    log: HoldoutLog,
    purpose: str,
    now: datetime,
    severities: Mapping[str, str] | None = None,
) -> Evaluation:
    """Measures the release in `folder` on the holdout alone.

    The log is written before the first image is opened: a reading that crashed has still been one. `severities` of
    classes stand beside those of the release. Raises `SnapshotError` where there is no holdout, `BundleRefused`, and
    `ModelUnusable` before the holdout is read.
    """
    bundle = read_bundle(folder, load_public_key(key))
    runner = ReleaseRunner(faint_too(bundle), bundle_files(folder), threads=2, all_regions=True)
    runner.warm_up()
    held = [row for row in snapshot.rows if row.split == HOLDOUT]
    if not held:
        raise SnapshotError("the dataset version has no holdout; freeze one before a release is measured")
    number = log.write(snapshot.hash, bundle.release, len(held), purpose, now)
    opened = [reader.read(row.image) for row in held]
    templates = [reader.read(row.template) if row.template else None for row in held]
    answers = [
        answer
        for part in (slice(at, at + BATCH) for at in range(0, len(opened), BATCH))
        for answer in runner.read(opened[part], templates[part])
    ]
    usable = [at for at, answer in enumerate(answers) if not answer.refused]
    if not usable:
        raise SnapshotError("no image of the holdout can be decoded; look at what the dataset version names")
    rows, images = [held[at] for at in usable], [opened[at] for at in usable]
    readings = [answers[at] for at in usable]
    judged = _judged(bundle, rows, images, readings)
    before = _before(bundle, judged)
    graded = {**bundle.description.get("severities", {}), **(severities or {})}
    return Evaluation(
        bundle,
        snapshot.hash,
        number,
        purpose,
        rows,
        images,
        readings,
        judged,
        before,
        _right(bundle, judged, readings),
        _figures(judged, before),
        _classes(judged, rows),
        _severities(judged, rows, graded),
        compared(judged, rows, brightness_of(images)),
        region_figures(bundle, rows, images, readings, judged.groups, reader),
        _guarantees(bundle, rows, judged, graded),
        footprint(folder, key, images),
        {held[at].id: answer.refused for at, answer in enumerate(answers) if answer.refused},
    )


def _groups(rows: Sequence[Row], images: Sequence[bytes]) -> tuple[int, ...]:
    """Images of one part, and near-duplicates: they are no evidence of their own."""
    hashes = [perceptual_hash(decode_image(image).pixels) for image in images]
    return tuple(joined_groups(near_duplicate_groups(hashes, NEAR_BITS), [row.group for row in rows]))


def _judged(
    bundle: ReleaseBundle, rows: Sequence[Row], images: Sequence[bytes], readings: Sequence[Reading]
) -> Judged:
    named = [bundle.named(item.defect_score, item.class_probabilities)[0] for item in readings]
    return Judged(
        tuple(row.classes if row.is_defect else () for row in rows),
        tuple("" if name == NORMAL else name for name in named),
        np.array([item.defect_score for item in readings], np.float64),
        Thresholds(bundle.pass_below, bundle.reject_from),
        _groups(rows, images),
        bundle.classes,
    )


def _before(bundle: ReleaseBundle, judged: Judged) -> Floats | None:
    """The raw score squeezed to 0 to 1, as if nobody had calibrated it."""
    platt = bundle.description.get("calibration", {}).get("defect")
    return None if not platt else Platt(1.0, 0.0)(Platt(**platt).scores(judged.scores))


def _right(bundle: ReleaseBundle, judged: Judged, readings: Sequence[Reading]) -> Floats:
    """Of a good image the probability of good, else that of the likeliest class it shows; of any defect where the
    release cannot name one."""
    found = []
    for names, reading in zip(judged.shown, readings, strict=True):
        of = dict(zip(bundle.classes, reading.class_probabilities, strict=True))
        likely = [of[name] for name in names if name in of]
        found.append(max(likely, default=reading.defect_score) if names else 1 - reading.defect_score)
    return np.array(found)


def _figures(judged: Judged, before: Floats | None) -> dict[str, Figure]:
    """Over all images, with grouped intervals; those that say nothing are left out."""
    truth = judged.is_defect

    def of(index: Index) -> dict[str, float]:
        scores, positive = judged.scores[index], truth[index]
        found = scoring.binary_figures(scores, positive) | {
            name: value
            for name, value in decision_figures(scores, positive, judged.limits).items()
            if name in ("review_share", "false_reject_rate", "false_escape_rate")
        }
        if before is not None:
            found["calibration_error_before"] = expected_calibration_error(before[index], positive)
        return found

    return widened_rates(bootstrap(of, judged.groups), truth, judged.groups)


def _classes(judged: Judged, rows: Sequence[Row]) -> dict[str, Rates]:
    found = {name: class_rates(judged, frozenset([name])) for name in defect_classes(rows)}
    return found if judged.is_defect.all() else {NORMAL: good_rates(judged)} | found


def _guarantees(
    bundle: ReleaseBundle, rows: Sequence[Row], judged: Judged, severities: Mapping[str, str]
) -> list[dict[str, Any]]:
    known = defect_classes(rows)
    found = []
    for item in bundle.description.get("guarantees", ()):
        subject = item["class"]
        classes = {name for name in known if subject in (name, severities.get(name))}
        escaped, parts = escaped_parts(judged, frozenset(classes))
        found.append({**item, "holdout": {"parts": parts, "escaped": escaped}})
    return found


def _severities(judged: Judged, rows: Sequence[Row], severities: Mapping[str, str]) -> dict[str, Rates]:
    """By severity, in the order of their names; classes of no known severity stand in no line."""
    known = defect_classes(rows)
    return {
        grade: class_rates(judged, frozenset(name for name in known if severities.get(name) == grade))
        for grade in sorted({severities[name] for name in known if name in severities})
    }

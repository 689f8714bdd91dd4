"""Probabilities, thresholds and figures of a model that was trained elsewhere, from a plant's own labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from andon_vision import ImageRefused, Preprocessing, decode_image, perceptual_hash, prepare

from trainer.adapters.onnx_import.decoding import Scaling
from trainer.adapters.onnx_import.inspection import ImportRefused
from trainer.adapters.onnx_import.layouts import MAP, Layout
from trainer.adapters.onnx_import.reading import Decoded, decode
from trainer.adapters.onnx_import.reference import Reference
from trainer.adapters.release_graph import HeatScale, choose_scale
from trainer.anomaly import MIN_DEFECT_GROUPS, MIN_NORMAL_GROUPS, Parts, evaluate
from trainer.domain.calibration import Platt, fit_platt
from trainer.domain.metrics import Figure
from trainer.domain.snapshot import TRAIN, VALIDATION, Snapshot
from trainer.domain.thresholds import Thresholds, choose_thresholds
from trainer.training import Material, Plan, gather
from trainer.workshop import Workshop

HEAT_SAMPLE = 96
"""Good images, and as many defective ones, that fix black and white of an anomaly map whose scale is not known."""


@dataclass(frozen=True, slots=True)
class ImportedScores:
    """The model's raw scores, read by NumPy, in the place of a backbone's features."""

    reference: Reference
    layout: Layout
    scaling: Scaling
    preprocessing: Preprocessing

    def hashes(self, images: Sequence[bytes]) -> list[int | None]:
        """Perceptual hash of each image; None for one that is refused."""
        found: list[int | None] = []
        for data in images:
            try:
                found.append(perceptual_hash(decode_image(data).pixels))
            except ImageRefused:
                found.append(None)
        return found

    def features(self, images: Sequence[bytes], view: str = "as-is") -> npt.NDArray[np.float32]:
        """(images, classes): best raw score of each class. The model is asked for images as they are, in any view."""
        return np.stack([self.decoded(data).best for data in images])

    def decoded(self, data: bytes) -> Decoded:
        """All that the model says of one encoded image."""
        picture = prepare(data, self.preprocessing)
        return decode(self.layout, self.reference.outputs(picture), self.scaling)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What labelled images said of a model."""

    scaling: Scaling
    platt: Platt
    thresholds: Thresholds
    metrics: dict[str, Figure]
    material: Material

    def facts(self, snapshot: Snapshot, plan: Plan) -> dict[str, Any]:
        """What the release's description says of it."""
        rows = self.material.rows
        return {
            "thresholds": asdict(self.thresholds),
            "costs": asdict(plan.costs),
            "calibration": {
                "method": "platt, on the training side of the labelled images; if the model was trained on images "
                "like these, or on them, scores and figures flatter it",
                "defect": asdict(self.platt),
            },
            "metrics": {name: figure.to_json() for name, figure in self.metrics.items()},
            "dataset": {
                "name": snapshot.name,
                "hash": snapshot.hash,
                "images": {part: int(self.material.side(part).sum()) for part in (TRAIN, VALIDATION)},
                "groups": max(self.material.groups) + 1,
                "refused": self.material.refused,
                "variants": sorted({row.variant for row in rows if row.variant}),
            },
        }


def calibrate(
    snapshot: Snapshot, plan: Plan, scores: ImportedScores, workshop: Workshop, *, scale_known: bool
) -> Calibration:
    """Platt and thresholds from the training side, figures from validation; the holdout stays closed.

    Args:
        scale_known: Whether an anomaly map lies between 0 and 1; where not, black and white are chosen as well.

    Raises:
        ImportRefused: There are too few independent images, or the score does not rise with defects.
        SnapshotError, LeakError: As for any training.
    """
    material = gather(snapshot, plan, workshop)
    parts = Parts(np.array([row.is_defect for row in material.rows]), tuple(material.groups))
    training = material.side(TRAIN)
    learning = parts.rows(training)
    _check_enough(learning)
    raw = workshop.extractor.features(material.images).max(axis=1).astype(np.float64)
    platt = fit_platt(raw[training], learning.is_defect)
    if platt.slope <= 0:
        raise ImportRefused(
            "the model's score does not rise with defects on these labelled images: it was trained for something "
            "else, its numbers are not these (see --scale, --mean, --std, --colour), or the labels are wrong"
        )
    probabilities = platt(raw)
    thresholds = choose_thresholds(probabilities[training], learning.is_defect, plan.costs)
    metrics = evaluate(probabilities[~training], parts.rows(~training), thresholds)
    scaling = replace(scores.scaling, platt=platt)
    if MAP in scores.layout.tensors and not scale_known:
        images = [image for image, used in zip(material.images, training, strict=True) if used]
        scaling = replace(scaling, heat=_heat(scores, images, learning))
    return Calibration(scaling, platt, thresholds, metrics, material)


def _check_enough(learning: Parts) -> None:
    groups = [
        {g for g, d in zip(learning.groups, learning.is_defect, strict=True) if d == side} for side in (0, 1)
    ]
    good, bad = (len(found) for found in groups)
    if good < MIN_NORMAL_GROUPS or bad < MIN_DEFECT_GROUPS:
        raise ImportRefused(
            f"{good} independent good and {bad} independent defective parts are too few to calibrate; at least "
            f"{MIN_NORMAL_GROUPS} and {MIN_DEFECT_GROUPS} are needed on the training side. Add images of other parts, "
            "or leave --dataset away and let people decide at first"
        )


def _heat(scores: ImportedScores, images: Sequence[bytes], parts: Parts) -> HeatScale:
    """Black and white of the anomaly map, from a sample of both sides."""
    sample = np.concatenate([np.flatnonzero(parts.is_defect == side)[:HEAT_SAMPLE] for side in (False, True)])
    planes = [scores.decoded(images[index]).plane for index in sample]
    return choose_scale(np.stack([plane for plane in planes if plane is not None]), parts.is_defect[sample])

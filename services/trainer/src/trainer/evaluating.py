"""Measures a signed release on the holdout of a dataset version, and writes each reading of it down."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from andon_vision import decode_image, prepare_pixels
from andon_vision.release_bundle import MODEL, NORMAL, ReleaseBundle

from trainer.adapters import scoring
from trainer.adapters.features import BATCH, open_session
from trainer.adapters.holdout_log import HoldoutLog
from trainer.domain.evaluation import Index, class_figures
from trainer.domain.metrics import bootstrap, confusion, decision_figures
from trainer.domain.snapshot import HOLDOUT, Row, Snapshot, SnapshotError
from trainer.domain.split import joined_groups
from trainer.domain.thresholds import Thresholds
from trainer.ports import ImageReader

Answers = tuple[Any, Any]


def evaluate_release(
    bundle: ReleaseBundle,
    folder: Path,
    snapshot: Snapshot,
    reader: ImageReader,
    log: HoldoutLog,
    purpose: str,
    now: datetime,
) -> dict[str, Any]:
    """Figures of the release on the holdout alone, as JSON. Raises `SnapshotError` where there is no holdout.

    The log is written before the first image is opened: a reading that crashed has still been one.
    """
    rows = [row for row in snapshot.rows if row.split == HOLDOUT]
    if not rows:
        raise SnapshotError("the dataset version has no holdout; freeze one before a release is measured")
    reading = log.write(snapshot.hash, bundle.release, len(rows), purpose, now)
    scores, classes = _answers(bundle, folder, rows, reader)
    truth = np.array([row.is_defect for row in rows])
    names = tuple(bundle.description["classes"])
    called = [
        names[best] if defect else NORMAL
        for best, defect in zip(classes.argmax(axis=1), scores >= 0.5, strict=True)
    ]
    actual = [row.classes[0] if row.is_defect else NORMAL for row in rows]
    limits = Thresholds(**bundle.description["thresholds"])
    # Without a part's name an image stands for itself; near-duplicates inside the holdout do not flatter its figures.
    groups = joined_groups([row.group or row.id for row in rows])
    found = bootstrap(_figures(scores, truth, limits), groups)
    return {
        "release": bundle.release,
        "dataset": snapshot.hash,
        "reading": reading,
        "images": len(rows),
        "groups": max(groups) + 1,
        "figures": {name: figure.to_json() for name, figure in found.items() if not np.isnan(figure.value)},
        "classes": {name: item.to_json() for name, item in class_figures(actual, called).items()},
        "confusion": confusion(actual, called),
    }


def _figures(scores: Any, truth: Any, limits: Thresholds) -> Callable[[Index], dict[str, float]]:
    def of(index: Index) -> dict[str, float]:
        return scoring.binary_figures(scores[index], truth[index]) | {
            name: value
            for name, value in decision_figures(scores[index], truth[index], limits).items()
            if name in ("review_share", "false_reject_rate", "false_escape_rate")
        }

    return of


def _answers(bundle: ReleaseBundle, folder: Path, rows: list[Row], reader: ImageReader) -> Answers:
    """Defect score (images) and class probabilities (images x classes) by the release's own graph."""
    session = open_session(folder / MODEL, threads=2)
    scores, classes = [], []
    for start in range(0, len(rows), BATCH):
        pictures = np.stack(
            [
                prepare_pixels(decode_image(reader.read(row.image)).pixels, bundle.preprocessing)
                for row in rows[start : start + BATCH]
            ]
        )
        score, likely = session.run(["defect_score", "class_probabilities"], {"image": pictures})
        scores.append(score)
        classes.append(likely)
    return np.concatenate(scores).astype(np.float64), np.concatenate(classes).astype(np.float64)

"""Which tasks `trainer train` knows; a new one is a line here."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Final, cast

from trainer.domain.snapshot import Snapshot
from trainer.training import Outcome, Plan
from trainer.workshop import Workshop

Task = Callable[[Snapshot, Plan, Workshop], Outcome]
"""Trains on a snapshot and writes a signed bundle. Raises `SnapshotError` or `LeakError`."""

SEGMENTATION: Final = "segmentation"
TASKS: Final[Mapping[str, str]] = {
    "classification": "trainer.training:train_classification",
    "anomaly": "trainer.anomaly:train_anomaly",
    "auto": "trainer.choosing:train_auto",
    "detection": "trainer.detection:train_detection",
    SEGMENTATION: "trainer.segmentation:train_segmentation",
    "template": "trainer.template:train_template",
}
"""Where each is; imported when it is wanted, because jax takes seconds to import and only some tasks need it."""


def task(name: str) -> Task:
    """The task of this name."""
    module, _, function = TASKS[name].partition(":")
    return cast(Task, getattr(importlib.import_module(module), function))

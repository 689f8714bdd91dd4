"""`trainer cross-validate`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from trainer import anomaly
from trainer.adapters.images import load_dataset
from trainer.commands.common import add_dataset, add_features, square, workshop_of
from trainer.training import Plan

HELP = "grouped five-fold figures of anomaly over a whole set; the holdout stays closed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_dataset(parser)
    add_features(parser)
    parser.add_argument("--size", type=int, help="this input alone instead of the usual ones")


def run(options: argparse.Namespace) -> None:
    """Raises `SnapshotError` or `LeakError`."""
    plan = Plan("cross-validation", square(options.size))
    workshop = workshop_of(options.backbone, options.cache, None, plan, Path(plan.name))
    print(json.dumps(anomaly.cross_validate(load_dataset(options.dataset), plan, workshop), indent=1))

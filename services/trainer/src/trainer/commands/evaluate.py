"""`trainer evaluate`."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

from trainer.adapters.holdout_log import HoldoutLog
from trainer.adapters.images import ImageStore, load_dataset
from trainer.commands.common import (
    add_bundle,
    add_severity,
    extra_missing,
    objects_of,
    report,
    severities,
)
from trainer.evaluating import Evaluation, evaluate_release
from trainer.settings import TrainerSettings

HELP = "measure a release on the holdout; each reading is logged"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    parser.add_argument(
        "--dataset", required=True, help="snapshot manifest whose rows of split holdout are read"
    )
    parser.add_argument("--log", type=Path, required=True, help="file to which the reading is appended")
    parser.add_argument("--purpose", required=True, help="why the holdout is read; goes into the log")
    parser.add_argument(
        "--out", type=Path, help="folder for evaluation.json and evaluation.html; needs the extra [models]"
    )
    add_severity(parser)


def run(options: argparse.Namespace) -> None:
    """Raises `SnapshotError`, `BundleRefused`, `ModelUnusable` or `Invalid`."""
    graded = severities(options.severity)
    found = evaluate_release(
        options.bundle,
        options.key,
        load_dataset(options.dataset),
        ImageStore(objects_of(TrainerSettings())),
        HoldoutLog(options.log),
        options.purpose,
        datetime.now(UTC),
        graded,
    )
    if options.out:
        _write_report(options.out, found)
    print(json.dumps(found.to_json(), indent=1))


def _write_report(folder: Path, found: Evaluation) -> None:
    try:
        from trainer.evaluation_report import write_report
    except ModuleNotFoundError as error:
        raise extra_missing(error) from error
    for file in write_report(folder, found):
        report(str(file))

"""`trainer train`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from trainer.adapters.images import load_dataset
from trainer.commands.card import write_card
from trainer.commands.common import add_dataset, add_features, add_severity, severities, square, workshop_of
from trainer.domain.guarantees import Wish
from trainer.domain.holdout import open_rows
from trainer.domain.snapshot import SnapshotError, check_masks
from trainer.tasks import SEGMENTATION, TASKS, task
from trainer.training import CLASSIFICATION, Outcome, Plan

HELP = "train and write a signed release bundle"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_dataset(parser)
    parser.add_argument(
        "--out", type=Path, required=True, help="folder in which the release's folder is made"
    )
    parser.add_argument("--release", required=True, help="name of the release; its id gets a hash behind it")
    parser.add_argument(
        "--task",
        choices=tuple(TASKS),
        default=CLASSIFICATION,
        help="anomaly learns from good parts alone; auto keeps classification or anomaly, by validation; "
        "detection needs boxes, segmentation masks, template pairs",
    )
    parser.add_argument(
        "--size",
        type=int,
        help="side of the model's input in pixels (default: 224; for classification and anomaly, several are tried)",
    )
    parser.add_argument(
        "--finetune",
        type=int,
        default=0,
        metavar="ROUNDS",
        help="let the backbone learn as well (classification); sensible on a GPU, slow on a processor",
    )
    parser.add_argument(
        "--measure",
        action="append",
        default=[],
        metavar="CLASS",
        help="measure this class's regions as lines: length, width (segmentation); may be repeated",
    )
    parser.add_argument(
        "--mm-per-pixel", type=float, help="the station's scale, for measurements in millimetres"
    )
    parser.add_argument(
        "--guarantee",
        action="append",
        default=[],
        metavar="WISH",
        help="crack:0.01@0.95 asks that at most 1 %% of crack escape, with 95 %% confidence; a class or a severity; "
        "may be repeated",
    )
    add_severity(parser)
    parser.add_argument(
        "--synthetic-share",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="learn from synthetic images of rare classes too, up to this share of the most common class's "
        "(segmentation)",
    )
    parser.add_argument("--key", type=Path, help="signing key (default: ANDON_SIGNING_KEY)")
    add_features(parser)


def run(options: argparse.Namespace) -> None:
    """Prints a summary as JSON. Raises `SnapshotError`, `SourceError` or `LeakError`."""
    plan = Plan(
        options.release,
        square(options.size),
        finetune=options.finetune,
        measure=tuple(options.measure),
        mm_per_pixel=options.mm_per_pixel,
        synthetic_share=options.synthetic_share,
        severities=severities(options.severity),
        guarantees=tuple(map(Wish.parse, options.guarantee)),
    )
    if plan.finetune and options.task != CLASSIFICATION:
        raise SnapshotError(
            f"fine-tuning is for {CLASSIFICATION}; {options.task} keeps the backbone as it is"
        )
    snapshot = load_dataset(options.dataset)
    if options.task == SEGMENTATION:
        check_masks(open_rows(snapshot))
    working = options.out / f".{options.release}.partial"
    workshop = workshop_of(options.backbone, options.cache, options.key, plan, working)
    outcome = task(options.task)(snapshot, plan, workshop)
    folder = options.out / outcome.release
    if not folder.exists():
        working.rename(folder)
    card = write_card(
        folder, workshop.key.with_suffix(".pub"), folder.with_name(f"{folder.name}.pages") / "card.html"
    )
    print(json.dumps(_summary(outcome, folder, snapshot.hash) | {"card": str(card)}, indent=1))


def _summary(outcome: Outcome, folder: Path, dataset_hash: str) -> dict[str, object]:
    """What a caller may want to read: the last thing on stdout, as JSON."""
    return {
        "release": outcome.release,
        "folder": str(folder),
        "task": outcome.task,
        "classes": list(outcome.classes),
        "classes_left_out": outcome.left_out,
        "dataset_hash": dataset_hash,
        "pass_below": outcome.thresholds.pass_below,
        "reject_from": outcome.thresholds.reject_from,
        "metrics": {name: figure.to_json() for name, figure in outcome.metrics.items()},
        "chosen_by_validation": outcome.chosen_by_validation,
    }

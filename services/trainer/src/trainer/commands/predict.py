"""`trainer predict`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from andon_vision.release_bundle import load_public_key, read_bundle

from trainer.adapters.images import ImageStore
from trainer.commands.common import add_bundle, objects_of
from trainer.predicting import pictures, predict, rows_of
from trainer.settings import TrainerSettings

HELP = "what a release says of images, one JSON line each"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--images", type=Path, help="a folder of pictures")
    which.add_argument("--dataset", help='snapshot manifest, folder with an index.csv, or "elpv"')


def run(options: argparse.Namespace) -> None:
    """Raises `SnapshotError`, `BundleRefused` or `ModelUnusable`."""
    bundle = read_bundle(options.bundle, load_public_key(options.key))
    asked = pictures(options.images) if options.images else rows_of(options.dataset)
    reader = ImageStore(objects_of(TrainerSettings()))
    for answer in predict(bundle, options.bundle, asked, reader):
        print(json.dumps(answer))

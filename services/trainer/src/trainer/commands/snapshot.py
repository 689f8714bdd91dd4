"""`trainer snapshot`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from trainer.adapters.images import load_dataset

HELP = "write a snapshot manifest of a folder of images"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", required=True, help='a folder, or "elpv"')
    parser.add_argument("--out", type=Path, required=True, help="manifest file")


def run(options: argparse.Namespace) -> None:
    """Raises `SnapshotError` or `SourceError`."""
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(load_dataset(options.dataset).to_json(), indent=1), "utf-8")
    print(options.out)

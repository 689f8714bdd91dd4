"""`trainer models`."""

from __future__ import annotations

import argparse
from pathlib import Path

from trainer.commands.common import FeatureProgress, extra_missing, report

HELP = "measure every method on public data; needs the extra [models]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="folder for report.json and report.html")
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="folder of public data sets"
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="ROW", help="this row; may be repeated"
    )


def run(options: argparse.Namespace) -> None:
    """Raises `Invalid`."""
    try:
        from trainer.benchmark.command import run as measure
    except ModuleNotFoundError as error:
        raise extra_missing(error) from error
    print(measure(options.out, options.data, options.only, report, FeatureProgress(1000)))

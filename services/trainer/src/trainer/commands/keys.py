"""`trainer keys`."""

from __future__ import annotations

import argparse
from pathlib import Path

from andon_vision.release_bundle import make_keys

HELP = "make the key pair that signs releases, unless it is there"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="folder for release.key and release.pub")


def run(options: argparse.Namespace) -> None:
    print(*make_keys(options.out), sep="\n")

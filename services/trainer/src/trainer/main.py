"""The trainer's command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from andon_chassis.errors import Invalid, Unavailable
from andon_vision.release_bundle import BundleRefused
from andon_vision.runner import ModelUnusable
from andon_vision.sources import SourceError

from trainer.adapters.backbone import BackboneMissing
from trainer.adapters.onnx_import.inspection import ImportRefused
from trainer.commands import (
    backbone,
    card,
    cross_validate,
    evaluate,
    import_onnx,
    keys,
    models,
    predict,
    publish,
    snapshot,
    train,
    verify,
)
from trainer.domain.snapshot import SnapshotError
from trainer.domain.split import LeakError


class Command(Protocol):
    """What a module of `trainer.commands` has."""

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Tells the parser of this command its options."""

    def run(self, options: argparse.Namespace) -> None:
        """Does it; answers on stdout. Raises one of `EXPECTED` where it cannot."""


COMMANDS: Final[Mapping[str, Command]] = {
    "backbone": backbone,
    "keys": keys,
    "snapshot": snapshot,
    "train": train,
    "cross-validate": cross_validate,
    "publish": publish,
    "verify": verify,
    "evaluate": evaluate,
    "card": card,
    "predict": predict,
    "import-onnx": import_onnx,
    "models": models,
}
EXPECTED: Final = (
    SnapshotError,
    SourceError,
    LeakError,
    BackboneMissing,
    BundleRefused,
    ImportRefused,
    ModelUnusable,
    Invalid,
    Unavailable,
    OSError,
)
"""What a person can do something about; its text says what."""


def parser() -> argparse.ArgumentParser:
    """Understands every command."""
    whole = argparse.ArgumentParser(prog="trainer", description=__doc__)
    commands = whole.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        command.add_arguments(commands.add_parser(name, help=command.HELP))
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 0 when it worked, 1 with a sentence on stderr when it could not."""
    options = parser().parse_args(arguments)
    try:
        COMMANDS[options.command].run(options)
    except EXPECTED as error:
        print(f"trainer: {error}", file=sys.stderr)
        return 1
    return 0

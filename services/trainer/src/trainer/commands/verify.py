"""`trainer verify`."""

from __future__ import annotations

import argparse

from andon_vision.release_bundle import load_public_key, read_bundle

from trainer.commands.common import add_bundle

HELP = "check a bundle's signature and files"
add_arguments = add_bundle


def run(options: argparse.Namespace) -> None:
    """Raises `BundleRefused`."""
    print(read_bundle(options.bundle, load_public_key(options.key)).release)

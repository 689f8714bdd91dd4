"""`trainer card`."""

from __future__ import annotations

import argparse
from pathlib import Path

from andon_vision.release_bundle import load_public_key, read_bundle

from trainer.adapters.card_page import card_html
from trainer.commands.common import add_bundle

HELP = "write a release's model card as one HTML page"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    parser.add_argument("--out", type=Path, required=True, help="the page, such as card.html")


def run(options: argparse.Namespace) -> None:
    """Raises `BundleRefused`."""
    print(write_card(options.bundle, options.key, options.out))


def write_card(bundle: Path, key: Path, page: Path) -> Path:
    """Only of a bundle whose signature and files are right. Raises `BundleRefused`."""
    description = read_bundle(bundle, load_public_key(key)).description
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(card_html(description, f"Ed25519, checked with {key.name}"), "utf-8")
    return page

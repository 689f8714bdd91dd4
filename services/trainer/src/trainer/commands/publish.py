"""`trainer publish`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from andon_chassis.bus.kafka import KafkaBus
from andon_chassis.codec import Codec, HttpSchemaRegistry
from andon_vision.release_bundle import load_public_key, read_bundle

from trainer.adapters import publishing
from trainer.commands.common import add_bundle, objects_of
from trainer.domain.snapshot import SnapshotError
from trainer.settings import TrainerSettings

HELP = "store a bundle and send model.trained"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    parser.add_argument(
        "--report",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="HTML page for people, such as card.html or evaluation.html; may be repeated, or follow later",
    )


def run(options: argparse.Namespace) -> None:
    """Raises `SnapshotError`, `BundleRefused`, `Invalid` or `Unavailable`."""
    settings = TrainerSettings()
    objects = objects_of(settings)
    if objects is None:
        raise SnapshotError("an object store is needed; set ANDON_S3_ACCESS_KEY and ANDON_S3_SECRET_KEY")
    bundle = read_bundle(options.bundle, load_public_key(options.key))
    producer = KafkaBus(settings.kafka_bootstrap, settings.kafka_login()).producer()
    try:
        codec = Codec(HttpSchemaRegistry(settings.registry_url))
        record = publishing.publish(bundle, options.bundle, objects, codec, producer, options.report)
    finally:
        producer.close()
    print(json.dumps({"release": record.release, "bundle": record.bundle.to_avro()}, indent=1))

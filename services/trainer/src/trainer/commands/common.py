"""What several commands need: progress on stderr, options that they share, the object store, and a workshop."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from andon_chassis.errors import Invalid
from andon_chassis.objects import ObjectStore, S3ObjectStore
from andon_vision import Preprocessing

from trainer.adapters.features import FeatureCache, FeatureExtractor
from trainer.adapters.images import ImageStore
from trainer.adapters.maxima import RICH, write_with_maxima
from trainer.adapters.networks import network_file
from trainer.domain.snapshot import SnapshotError
from trainer.settings import TrainerSettings
from trainer.training import DEFAULT_INPUT, Plan
from trainer.workshop import Workshop


def report(text: str) -> None:
    """A line of progress; stdout is for the answer."""
    print(text, file=sys.stderr, flush=True)


class FeatureProgress:
    """Writes a line each few hundred images, so that a log shows that the work goes on."""

    def __init__(self, every: int) -> None:
        self._every, self._done, self._told = every, 0, 0

    def __call__(self, count: int) -> None:
        self._done += count
        if self._done - self._told >= self._every:
            self._told = self._done
            report(f"features of {self._done} views")


def add_dataset(parser: argparse.ArgumentParser) -> None:
    """The images that a command learns from or asks about."""
    parser.add_argument("--dataset", required=True, help='snapshot manifest, folder, or "elpv"')


def add_bundle(parser: argparse.ArgumentParser) -> None:
    """A release, and the key that it must be signed with."""
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True, help="release.pub")


def add_features(parser: argparse.ArgumentParser) -> None:
    """Where features come from and are kept."""
    parser.add_argument("--backbone", type=Path, help="backbone.onnx (default: ANDON_BACKBONE)")
    parser.add_argument("--cache", type=Path, help="SQLite file of features (default: ANDON_FEATURE_CACHE)")


def add_severity(parser: argparse.ArgumentParser) -> None:
    """Severities of classes, read by `severities`."""
    parser.add_argument(
        "--severity",
        action="append",
        default=[],
        metavar="CLASS=SEVERITY",
        help="severity of classes, as in crack=critical,stain=minor; may be repeated",
    )


def severities(told: Sequence[str]) -> dict[str, str]:
    """Reads `crack=critical,stain=minor`. Raises `SnapshotError`."""
    pairs = [pair.partition("=") for text in told for pair in text.split(",")]
    if not all(name.strip() and grade.strip() for name, _, grade in pairs):
        raise SnapshotError(
            f"severities are written like crack=critical,stain=minor, not {', '.join(told)!r}"
        )
    return {name.strip(): grade.strip() for name, _, grade in pairs}


def square(side: int | None) -> Preprocessing | None:
    """The input that `--size` asks for."""
    return Preprocessing(side, side) if side else None


def objects_of(settings: TrainerSettings) -> ObjectStore | None:
    """The object store, when the settings hold keys for one; training from a folder needs none."""
    if not settings.s3_access_key:
        return None
    return S3ObjectStore(settings.s3_endpoint, settings.s3_access_key, settings.s3_secret_key)


def workshop_of(
    backbone: Path | None, cache: Path | None, key: Path | None, plan: Plan, folder: Path
) -> Workshop:
    """A workshop that writes into `folder` and works beside it; what is not given comes from the settings."""
    settings = TrainerSettings()
    network, known = backbone or settings.backbone, FeatureCache(cache or settings.feature_cache)
    work = folder.with_suffix(".work")
    extractor = FeatureExtractor(
        network, plan.preprocessing or DEFAULT_INPUT, known, progress=FeatureProgress(1000)
    )

    def rich(spec: Preprocessing) -> FeatureExtractor:
        wider = write_with_maxima(network, work)
        return FeatureExtractor(wider, spec, known, output=RICH, progress=FeatureProgress(1000))

    return Workshop(
        ImageStore(objects_of(settings)),
        extractor,
        network,
        key or settings.signing_key,
        folder,
        work,
        datetime.now(UTC),
        report,
        rich,
        lambda name: network_file(work, name),
    )


def extra_missing(error: ModuleNotFoundError) -> Invalid:
    """Plots need libraries that a plant's trainer does without."""
    return Invalid("extra-missing", f"{error.name} is missing; install the trainer with its extra [models]")

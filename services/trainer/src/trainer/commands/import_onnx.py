"""`trainer import-onnx`: a model trained elsewhere becomes a signed release, once it is understood and checked."""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from andon_vision import ImageRefused, Preprocessing, prepare
from andon_vision.release_bundle import MODEL, load_private_key, write_bundle

from trainer.adapters.images import ImageStore, load_dataset
from trainer.adapters.onnx_import import choices
from trainer.adapters.onnx_import.checking import Checked, check
from trainer.adapters.onnx_import.decoding import NMS_IOU, Scaling
from trainer.adapters.onnx_import.inspection import ImportRefused, Original, read_original
from trainer.adapters.onnx_import.layouts import ANOMALIB, LAYOUTS, Layout, recognise
from trainer.adapters.onnx_import.reading import SCORE_TOLERANCE, SURE, read_pictures
from trainer.adapters.onnx_import.reference import Numbers, Pixels, Reference, probes
from trainer.adapters.onnx_import.surgery import wrap
from trainer.calibrating import ImportedScores, calibrate
from trainer.commands.common import objects_of, report
from trainer.domain.thresholds import Thresholds
from trainer.settings import TrainerSettings
from trainer.training import Plan, installed_version
from trainer.workshop import Workshop

PASS_BELOW: Final = 0.05
NEVER: Final = 1.01
"""No score reaches it: the release rejects nothing by itself."""
SMALLEST_SHARE: Final = 0.0001
MOST_SAMPLES: Final = 200
IMAGE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


HELP = "make a release of a model that was trained elsewhere"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, required=True, help="the exported ONNX file")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder in which the release's folder is made"
    )
    parser.add_argument("--release", required=True, help="name of the release; its id gets a hash behind it")
    parser.add_argument("--key", type=Path, help="signing key (default: ANDON_SIGNING_KEY)")
    parser.add_argument("--licence", help="under which the model may be used (default: as the file says)")
    parser.add_argument("--origin", help="who trained the model, on what; goes into the model card")
    parser.add_argument("--classes", type=choices.names, help="names in the model's order: scratch,dent")
    parser.add_argument("--layout", choices=LAYOUTS, help="what the outputs are, where that is not clear")
    parser.add_argument(
        "--size", type=choices.sides, help="the input in pixels, 640 or 640x480 (width first)"
    )
    parser.add_argument("--fit", choices=("stretch", "letterbox"), help="how pictures become that size")
    parser.add_argument("--scale", type=choices.number, help="what a byte is multiplied by, such as 1/255")
    parser.add_argument(
        "--mean", type=choices.three_numbers, help="subtracted after that, one number a channel"
    )
    parser.add_argument(
        "--std", type=choices.three_numbers, help="divided by after that, one number a channel"
    )
    parser.add_argument(
        "--colour", choices=("rgb", "bgr"), default="rgb", help="the model's order of channels"
    )
    parser.add_argument(
        "--range", type=choices.two_numbers, metavar="GOOD,BAD", help="anomaly scores that become 0 and 1"
    )
    parser.add_argument("--metadata", type=Path, help="anomalib's metadata.json, instead of --range")
    parser.add_argument(
        "--check",
        type=Path,
        metavar="FOLDER",
        help=f"sample images that the model is tried on, {MOST_SAMPLES} at most",
    )
    parser.add_argument("--dataset", help="labelled images to calibrate with: manifest, folder, or elpv")
    parser.add_argument(
        "--score-from",
        type=choices.share,
        default=SURE,
        help=f"a box or mask of this score is shown (default: {SURE})",
    )
    parser.add_argument(
        "--pass-below",
        type=choices.share,
        default=PASS_BELOW,
        help=f"without --dataset, only a part below this score passes (default: {PASS_BELOW})",
    )


@dataclass(frozen=True, slots=True)
class _Imported:
    """An exported model with all that was found out about it.

    Attributes:
        scale_known: Whether its scores and maps lie between 0 and 1 once scaled.
    """

    original: Original
    numbers: Numbers
    layout: Layout
    preprocessing: Preprocessing
    scaling: Scaling
    scale_known: bool
    licence: str


def run(options: argparse.Namespace) -> None:
    """Imports a model and prints a summary as JSON.

    Raises `ImportRefused`, and with labelled images what a training raises.
    """
    settings = TrainerSettings()
    model, reference = _understood(options)
    pictures = _pictures(options.check, model.preprocessing)
    # Before anything is computed with it: a model that cannot be read is not worth a calibration.
    for _ in read_pictures(reference, model.layout, model.scaling, pictures):
        pass
    scaling, facts = model.scaling, _uncalibrated(options.pass_below)
    working = options.out / f".{options.release}.partial"
    if options.dataset is not None:
        scores = ImportedScores(reference, model.layout, model.scaling, model.preprocessing)
        workshop = Workshop(
            ImageStore(objects_of(settings)),
            scores,
            settings.backbone,
            options.key or settings.signing_key,
            working,
            working.with_suffix(".work"),
            datetime.now(UTC),
            report,
        )
        snapshot, plan = load_dataset(options.dataset), Plan(options.release, model.preprocessing)
        calibration = calibrate(snapshot, plan, scores, workshop, scale_known=model.scale_known)
        scaling, facts = calibration.scaling, calibration.facts(snapshot, plan)
    spec = model.preprocessing
    graph = wrap(model.original, model.layout, model.numbers, spec.width, spec.height, scaling)
    data = graph.SerializeToString(deterministic=True)
    readings = read_pictures(reference, model.layout, model.scaling, pictures)
    checked = check(data, scaling, pictures, readings)
    description = _description(model, options) | facts
    description["checked"] = {"pictures": checked.pictures, "scores_agree_within": SCORE_TOLERANCE}
    key = load_private_key(options.key or settings.signing_key)
    release = write_bundle(working, options.release, description, {MODEL: data}, key)
    folder = options.out / release
    if folder.exists():
        shutil.rmtree(working)
    else:
        working.rename(folder)
    print(json.dumps(_summary(release, folder, description, checked), indent=1))


def _understood(options: argparse.Namespace) -> tuple[_Imported, Reference]:
    original = read_original(options.model)
    licence = options.licence or original.metadata.get("license")
    if not licence:
        raise ImportRefused(
            "the file names no licence; say under which the model may be used: --licence TEXT"
        )
    size = choices.size_of(original, options.size)
    numbers = choices.numbers_of(original, options)
    reference = Reference(original, numbers)
    probe, *_ = probes(*size)
    layout = recognise(reference.outputs(probe), original.metadata, options.classes or (), options.layout)
    scaling = choices.scaling_of(layout, options)
    preprocessing = choices.preprocessing_of(layout, size, options.fit)
    known = scaling is not None
    return _Imported(
        original, numbers, layout, preprocessing, scaling or Scaling(), known, licence
    ), reference


def _pictures(folder: Path | None, spec: Preprocessing) -> dict[str, Pixels]:
    """Made-up pictures, and images from all over a folder, as the model's input."""
    made_up = {
        f"made-up picture {at}": item for at, item in enumerate(probes(spec.width, spec.height), start=1)
    }
    if folder is None:
        return made_up
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise ImportRefused(f"{folder} holds no image to check the model with")
    samples = {}
    for path in found[:: -(-len(found) // MOST_SAMPLES)]:
        try:
            samples[str(path.relative_to(folder))] = prepare(path.read_bytes(), spec)
        except ImageRefused as error:
            raise ImportRefused(f"{path.name} cannot be used to check the model: {error}") from error
    return samples | made_up


def _uncalibrated(pass_below: float) -> dict[str, Any]:
    """What a description says of a model that no labelled image was shown to."""
    return {
        "thresholds": asdict(Thresholds(pass_below, NEVER)),
        "calibration": {
            "method": "none: the score is the model's own and no probability; "
            f"a part passes below {pass_below:g}, every other goes to a person, none is rejected without one",
            "defect": None,
        },
        "metrics": {},
        "dataset": {"name": "none: imported without labelled images", "hash": "", "images": {}},
    }


def _description(model: _Imported, options: argparse.Namespace) -> dict[str, Any]:
    original, layout = model.original, model.layout
    regions: dict[str, Any] = {"from": "boxes", "score_from": options.score_from, "nms_iou": NMS_IOU}
    task = "detection"
    if layout.kind == ANOMALIB:
        task, regions = "anomaly", {"from": "heat_map"}
    elif layout.masked:
        task = "segmentation"
        regions = {"from": "masks", "threshold": options.score_from, "min_area_share": SMALLEST_SHARE}
    origin = options.origin or "trained elsewhere; its owner has not said on what"
    return {
        "task": task,
        "classes": list(layout.classes),
        "knows_normal": True,
        "preprocessing": model.preprocessing.to_json(),
        "regions": regions,
        "taxonomy_version": None,
        "code": {name: installed_version(f"andon-{name}") for name in ("trainer", "vision")},
        "backbone": f"imported: {original.name}, SHA-256 {original.sha256}",
        "licence": model.licence,
        "imported": {
            "file": original.name,
            "sha256": original.sha256,
            "origin": origin,
            "exporter": original.producer,
            "opset": original.opset,
            "layout": layout.kind,
            "outputs": {role: output.name for role, output in layout.tensors.items()},
            "numbers": asdict(model.numbers),
            "scaling": {"score": asdict(model.scaling.score), "map": asdict(model.scaling.map)},
            "metadata": dict(original.metadata),
        },
        "trained_at": datetime.now(UTC).isoformat(),
    }


def _summary(release: str, folder: Path, description: dict[str, Any], checked: Checked) -> dict[str, Any]:
    """What a caller may want to read: the last thing on stdout, as JSON."""
    return {
        "release": release,
        "folder": str(folder),
        **{name: description[name] for name in ("task", "classes", "preprocessing")},
        "layout": description["imported"]["layout"],
        **description["thresholds"],
        "calibration": description["calibration"]["method"],
        "metrics": description["metrics"],
        "checked": asdict(checked),
    }

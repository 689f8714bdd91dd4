"""From a snapshot to a signed release bundle, step by step."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from andon_vision import Preprocessing, decode_image, near_duplicate_groups, prepare_pixels
from andon_vision.release_bundle import MODEL, NORMAL, load_private_key, write_bundle

from trainer.adapters.features import BATCH, FeatureCache, FeatureExtractor, open_session
from trainer.adapters.fitting import TrainingSet
from trainer.adapters.release_graph import ATTRIBUTION, HeatScale, build_release, choose_scale
from trainer.domain.calibration import Floats
from trainer.domain.contradictions import check_labels, doubtful_labels
from trainer.domain.guarantees import Wish, classes_of, keep_promises
from trainer.domain.head import Head
from trainer.domain.holdout import open_rows
from trainer.domain.metrics import Figure, bootstrap, confusion, decision_figures
from trainer.domain.snapshot import TRAIN, VALIDATION, Row, Snapshot, SnapshotError, defect_classes
from trainer.domain.split import check_no_leak, grouped_split, independent_images, joined_groups, strata_of
from trainer.domain.thresholds import Costs, Thresholds, choose_thresholds, escape_costs
from trainer.head_choice import INPUTS, Chosen, choose_head
from trainer.ports import Extractor
from trainer.workshop import Report, Workshop

CLASSIFICATION = "classification"
DEFAULT_INPUT = INPUTS[0]
HEAT_SAMPLE = 96
HEAD_SHARE = 0.35
"""Of the training side, kept from a backbone that learns, so that its head is calibrated on images new to it."""
MIN_IMAGES = 20
MIN_GROUPS = 2
"""Independent images that a class needs in training: one to learn from while the other is asked about."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train.

    Attributes:
        preprocessing: The model's input; None leaves it to the task, which knows one or chooses among several.
        near_duplicate_bits: The hash distance up to which two images may not be split.
        finetune: Rounds in which the backbone itself learns; none by default.
        severities: Of defect classes, as far as they are known: an escape costs by severity.
        guarantees: Escape rates that are wished for, by class or severity.
        measure: Classes whose regions are measured as lines, such as cracks (segmentation).
        mm_per_pixel: The station's scale, for measurements in millimetres; None leaves them in pixels.
        synthetic_share: Rare classes get synthetic images up to this share of the most common class's (segmentation).
    """

    name: str
    preprocessing: Preprocessing | None = None
    views: tuple[str, ...] = ("as-is", "turned")
    validation_share: float = 0.25
    near_duplicate_bits: int = 6
    finetune: int = 0
    measure: tuple[str, ...] = ()
    mm_per_pixel: float | None = None
    synthetic_share: float = 0.0
    costs: Costs = field(default_factory=Costs)
    severities: Mapping[str, str] = field(default_factory=dict)
    guarantees: tuple[Wish, ...] = ()


@dataclass(frozen=True, slots=True)
class Material:
    """Rows with their images' bytes, groups and side of the split; refused images are only counted.

    `doubts` are sentences about labels that may be wrong.
    """

    rows: list[Row]
    images: list[bytes]
    groups: list[int]
    parts: list[str]
    refused: int
    doubts: tuple[str, ...] = ()

    def side(self, part: str) -> npt.NDArray[np.bool_]:
        return np.array([item == part for item in self.parts])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a training run.

    Attributes:
        left_out: Classes that the release does not know, with their number of independent images to train on.
        chosen_by_validation: AUROC by task, where several were trained and this one was kept.
    """

    release: str
    metrics: dict[str, Figure]
    thresholds: Thresholds
    task: str
    classes: tuple[str, ...]
    left_out: dict[str, int]
    chosen_by_validation: dict[str, float] = field(default_factory=dict)


def gather(snapshot: Snapshot, plan: Plan, workshop: Workshop) -> Material:
    """Reads the images that may be learned from, groups near-duplicates and splits. The holdout is not opened."""
    rows = open_rows(snapshot)
    images = [workshop.reader.read(row.image) for row in rows]
    hashes = workshop.extractor.hashes(images)
    kept = [index for index, value in enumerate(hashes) if value is not None]
    if len(kept) < MIN_IMAGES:
        raise SnapshotError(
            f"{len(kept)} usable images are too few to train and validate, at least {MIN_IMAGES} are needed; "
            f"{len(images) - len(kept)} could not be decoded. Add images, or look at what the dataset names."
        )
    rows, refused = [rows[index] for index in kept], len(images) - len(kept)
    images = [images[index] for index in kept]
    known = [value for value in hashes if value is not None]
    check_labels(rows, [hashlib.sha256(image).hexdigest() for image in images])
    for wish in plan.guarantees:  # known to be impossible before hours of training, not after
        classes_of(wish.subject, defect_classes(rows), plan.severities)
    doubt = doubtful_labels(rows, known, plan.near_duplicate_bits)
    if doubt:
        workshop.report(doubt)
    near = near_duplicate_groups(known, plan.near_duplicate_bits)
    groups = joined_groups(near, [row.group or None for row in rows])
    parts = [row.split or "" for row in rows]
    if not all(parts):
        parts = grouped_split(groups, strata_of(rows), plan.validation_share)
    check_no_leak(parts, groups)
    for part, purpose in ((TRAIN, "train on"), (VALIDATION, "validate with")):
        if part not in parts:
            raise SnapshotError(f"there is no image to {purpose}; add images of other parts")
    return Material(rows, images, groups, parts, refused, (doubt,) if doubt else ())


def promised(
    plan: Plan, material: Material, scores: Floats, thresholds: Thresholds, report: Report
) -> tuple[Thresholds, dict[str, Any]]:
    """The thresholds with what was promised about escapes, and what the release's description says of it.

    `scores` are the defect scores of the validation side, in its order, by the model as it is released; nothing may
    have been learned or chosen from that side. Raises `SnapshotError` for a wish about an unknown class or severity.
    """
    index = np.flatnonzero(material.side(VALIDATION))
    limits, made = keep_promises(
        plan.guarantees,
        plan.severities,
        defect_classes(material.rows),
        [material.rows[at] for at in index],
        [material.groups[at] for at in index],
        scores,
        thresholds,
    )
    for item in made:
        report(f"{item.wish}: {item.verdict}. {item.advice}")
    return limits, {
        "severities": dict(plan.severities),
        "guarantees": [item.to_json() for item in made],
    }


def train_classification(snapshot: Snapshot, plan: Plan, workshop: Workshop) -> Outcome:
    """Trains on `snapshot` and writes a signed bundle. Raises `SnapshotError` or `LeakError`."""
    material, report = gather(snapshot, plan, workshop), workshop.report
    training, validation = material.side(TRAIN), material.side(VALIDATION)
    report(
        f"{training.sum()} images to train, {validation.sum()} to validate, {max(material.groups) + 1} groups"
    )
    classes, left_out = learnable_classes(material, training)
    for name, count in left_out.items():
        report(
            f"{name} is not learned: of the {MIN_GROUPS} independent images that training needs there are {count}. "
            "Add images of other parts; until then such a part is a defect under another class's name."
        )
    if plan.finetune:
        workshop, training = _tuned(material, training, classes, plan, workshop)
    data = _training_set(material, training, plan.views, workshop.extractor)
    report("fitting the head")
    chosen = _chosen(data, material, training, classes, plan, workshop)
    head, probabilities, spec = chosen.head, chosen.probabilities, chosen.preprocessing
    extractor = workshop.rich(spec) if chosen.is_kernel and workshop.rich else workshop.extractor
    thresholds = _thresholds(probabilities, data, plan)
    checked = extractor.features(
        [image for image, keep in zip(material.images, validation, strict=True) if keep]
    )
    rows = [row for row, keep in zip(material.rows, validation, strict=True) if keep]
    groups = [group for group, keep in zip(material.groups, validation, strict=True) if keep]
    thresholds, promises = promised(plan, material, head.defect_probability(checked), thresholds, report)
    metrics = evaluate(head, checked, rows, groups, thresholds)
    report("writing the release")
    model = _graph(onnx.load(str(workshop.backbone)), head, spec, material, training)
    description = _description(snapshot, plan, chosen, thresholds, metrics, material, model, workshop.now)
    description |= promises
    description["dataset"]["classes_left_out"] = left_out
    description["confusion"] = _confusion(head, checked, rows)
    if probabilities is not None:
        crossed = decision_figures(probabilities, data.is_defect, thresholds)
        description["cross_validated"] = {name: round(value, 6) for name, value in crossed.items()}
    release = write_bundle(
        workshop.folder,
        plan.name,
        description,
        {MODEL: model.SerializeToString(deterministic=True)},
        load_private_key(workshop.key),
    )
    return Outcome(release, metrics, thresholds, description["task"], classes, left_out)


def _chosen(
    data: TrainingSet,
    material: Material,
    training: npt.NDArray[np.bool_],
    classes: tuple[str, ...],
    plan: Plan,
    workshop: Workshop,
) -> Chosen:
    """The head that the training side alone chooses, on its input."""
    rich = workshop.rich
    inputs = (plan.preprocessing,) if plan.preprocessing else INPUTS

    def rich_of(spec: Preprocessing) -> TrainingSet:
        assert rich is not None
        return _training_set(material, training, plan.views[:1], rich(spec))

    return choose_head(data, rich_of if rich else None, classes, inputs, workshop.report)


def _tuned(
    material: Material,
    training: npt.NDArray[np.bool_],
    classes: Sequence[str],
    plan: Plan,
    workshop: Workshop,
) -> tuple[Workshop, npt.NDArray[np.bool_]]:
    """A workshop with a backbone that learned from most of the training side, and the rest of that side.

    The head is fitted and calibrated on the rest: a backbone is surer of images that it learned from.
    """
    # jax takes seconds to import, and few trainings need it.
    from trainer.adapters.finetuning import fine_tuned

    index = np.flatnonzero(training)
    rows = [material.rows[i] for i in index]
    parts = grouped_split([material.groups[i] for i in index], strata_of(rows), HEAD_SHARE)
    for_head = np.array([part == VALIDATION for part in parts])
    tuning = index[~for_head]
    workshop.report(f"fine-tuning the backbone on {len(tuning)} images, {plan.finetune} rounds")
    model = fine_tuned(
        onnx.load(str(workshop.backbone)),
        [material.rows[i] for i in tuning],
        [material.images[i] for i in tuning],
        classes,
        _input(plan),
        plan.finetune,
        workshop.work,
        workshop.report,
    )
    backbone = workshop.work / "backbone.onnx"
    backbone.write_bytes(model.SerializeToString(deterministic=True))
    extractor = FeatureExtractor(backbone, _input(plan), FeatureCache(None))
    rest = np.zeros_like(training)
    rest[index[for_head]] = True
    return replace(workshop, backbone=backbone, extractor=extractor, rich=None), rest


def _input(plan: Plan) -> Preprocessing:
    return plan.preprocessing or DEFAULT_INPUT


def learnable_classes(
    material: Material, training: npt.NDArray[np.bool_]
) -> tuple[tuple[str, ...], dict[str, int]]:
    """The defect classes that can be learned, and the others with their independent images. Raises `SnapshotError`."""
    index = np.flatnonzero(training)
    rows = [material.rows[i] for i in index]
    counts = independent_images(rows, [material.groups[i] for i in index])
    known = tuple(name for name in defect_classes(rows) if counts[name] >= MIN_GROUPS)
    left_out = {name: counts.get(name, 0) for name in defect_classes(material.rows) if name not in known}
    if not known:
        listed = ", ".join(f"{name}: {count}" for name, count in left_out.items()) or "there are none"
        raise SnapshotError(
            f"no defect class has {MIN_GROUPS} independent images to train on ({listed}); add images of other parts"
        )
    if len(known) == 1 and all(row.is_defect for row in rows):
        raise SnapshotError(
            f"there is nothing to tell {known[0]} apart from; add good parts or another class"
        )
    return known, left_out


def _training_set(
    material: Material, training: npt.NDArray[np.bool_], views: Sequence[str], extractor: Extractor
) -> TrainingSet:
    index = np.flatnonzero(training)
    images = [material.images[i] for i in index]
    return TrainingSet(
        np.stack([extractor.features(images, view) for view in views]),
        np.array([material.rows[i].is_defect for i in index]),
        tuple(material.rows[i].classes for i in index),
        np.array([material.rows[i].weight for i in index]),
        [material.groups[i] for i in index],
    )


def _thresholds(probabilities: npt.NDArray[np.float64] | None, data: TrainingSet, plan: Plan) -> Thresholds:
    """From out-of-fold probabilities; where every training image is a defect there is nothing to weigh up."""
    if probabilities is None:
        return Thresholds(0.5, 0.5)
    return choose_thresholds(
        probabilities, data.is_defect, plan.costs, escape_costs(data.classes, plan.severities, plan.costs)
    )


def evaluate(
    head: Head,
    features: npt.NDArray[np.float32],
    rows: Sequence[Row],
    groups: Sequence[int],
    thresholds: Thresholds,
) -> dict[str, Figure]:
    """Figures on rows the head has never seen, with grouped bootstrap intervals."""
    positive = np.array([row.is_defect for row in rows])
    probability = head.defect_probability(features)
    correct = _class_hits(head, features, rows)

    def figures(index: npt.NDArray[np.int_]) -> dict[str, float]:
        # Without a good part in the data, "defect or not" was never asked, and perfect rates would be a lie.
        values = decision_figures(probability[index], positive[index], thresholds) if head.defect else {}
        if head.classes_head is not None:
            hits = correct[index][positive[index]]
            values["class_accuracy"] = float(hits.mean()) if len(hits) else float("nan")
        return values

    return {name: figure for name, figure in bootstrap(figures, groups).items() if not np.isnan(figure.value)}


def _class_hits(head: Head, features: npt.NDArray[np.float32], rows: Sequence[Row]) -> npt.NDArray[np.bool_]:
    """Whether the most likely defect class is one that the image shows."""
    best = head.class_probabilities(features).argmax(axis=1)
    return np.array([head.classes[index] in row.classes for index, row in zip(best, rows, strict=True)])


def _confusion(
    head: Head, features: npt.NDArray[np.float32], rows: Sequence[Row]
) -> dict[str, dict[str, int]]:
    called = head.defect_probability(features) >= 0.5
    best = head.class_probabilities(features).argmax(axis=1)
    predicted = [
        head.classes[index] if defect else NORMAL for index, defect in zip(best, called, strict=True)
    ]
    return confusion(["+".join(row.classes) or NORMAL for row in rows], predicted)


def _graph(
    backbone: onnx.ModelProto,
    head: Head,
    preprocessing: Preprocessing,
    material: Material,
    training: npt.NDArray[np.bool_],
) -> onnx.ModelProto:
    """The release's graph, with the heat map scaled on a sample of the training images."""
    width, height = preprocessing.width, preprocessing.height
    probe = open_session(
        build_release(backbone, head, width, height, HeatScale(), raw=True).SerializeToString(), threads=2
    )
    defective = np.array([row.is_defect for row in material.rows])
    sample = np.concatenate(
        [np.flatnonzero(training & (defective == side))[: HEAT_SAMPLE // 2] for side in (False, True)]
    )
    drawn = []
    for start in range(0, len(sample), BATCH):
        batch = np.stack(
            [
                prepare_pixels(decode_image(material.images[i]).pixels, preprocessing)
                for i in sample[start : start + BATCH]
            ]
        )
        drawn.append(probe.run([ATTRIBUTION], {"image": batch})[0])
    scale = choose_scale(np.concatenate(drawn), defective[sample])
    return build_release(backbone, head, width, height, scale)


def _description(
    snapshot: Snapshot,
    plan: Plan,
    chosen: Chosen,
    thresholds: Thresholds,
    metrics: dict[str, Figure],
    material: Material,
    model: onnx.ModelProto,
    now: datetime,
) -> dict[str, Any]:
    head = chosen.head
    return described(snapshot, plan, material, metrics, model, now) | {
        "task": CLASSIFICATION,
        "classes": list(head.classes),
        "knows_normal": head.defect is not None,
        "preprocessing": chosen.preprocessing.to_json(),
        "head": "kernel" if chosen.is_kernel else "linear",
        "heat_map": "first-order" if chosen.is_kernel else "exact",
        "chosen_by": {"figure": "auroc, out of fold, training side", "tried": chosen.tried},
        "thresholds": asdict(thresholds),
        "calibration": {
            "method": "platt, out-of-fold",
            "defect": asdict(head.calibration) if head.calibration else None,
        },
    }


def described(
    snapshot: Snapshot,
    plan: Plan,
    material: Material,
    metrics: Mapping[str, Figure],
    model: onnx.ModelProto,
    now: datetime,
) -> dict[str, Any]:
    """What the description of every task's release says: costs, figures, data, and where things came from."""
    origin = {item.key: item.value for item in model.metadata_props}
    return {
        "costs": asdict(plan.costs),
        "metrics": {name: figure.to_json() for name, figure in metrics.items()},
        "dataset": {
            "name": snapshot.name,
            "hash": snapshot.hash,
            "images": {part: int(material.side(part).sum()) for part in (TRAIN, VALIDATION)},
            "groups": max(material.groups) + 1,
            "refused": material.refused,
            "doubtful_labels": list(material.doubts),
            "variants": sorted({row.variant for row in material.rows if row.variant}),
        },
        "taxonomy_version": None,
        "code": {name: installed_version(f"andon-{name}") for name in ("trainer", "vision")},
        "backbone": origin.get("weights", "unknown"),
        "licence": snapshot.licence,
        "trained_at": now.isoformat(),
    }


def installed_version(package: str) -> str:
    """The installed version, or the tree's own when it runs from sources."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "0.1.0"

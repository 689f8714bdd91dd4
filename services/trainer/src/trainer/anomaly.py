"""Learns good parts alone, from a snapshot to a signed release bundle. Known defects only choose and calibrate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from andon_vision import Preprocessing
from andon_vision.release_bundle import MODEL, load_private_key, write_bundle

from trainer.adapters.anomaly_graph import build_anomaly_release
from trainer.adapters.maps import MapExtractor
from trainer.adapters.neighbours import IndexedMemory
from trainer.adapters.release_graph import CELL, choose_scale
from trainer.domain.anomaly import (
    GAUSSIAN,
    MEMORY,
    USUAL,
    AnomalyModel,
    Array,
    PositionModel,
    fit_gaussians,
    fit_memory,
    joined,
    platt_of_normals,
    thresholds_of_normals,
    top_mean,
    upsampled,
)
from trainer.domain.calibration import Bools, Floats, Platt, fit_platt
from trainer.domain.metrics import Figure, auroc, beyond_chance, bootstrap, decision_figures, ranking_gain
from trainer.domain.snapshot import TRAIN, VALIDATION, Snapshot, SnapshotError
from trainer.domain.split import folds
from trainer.domain.thresholds import Thresholds, choose_thresholds
from trainer.training import Material, Outcome, Plan, described, gather, promised
from trainer.workshop import Report, Workshop

ANOMALY = "anomaly"
FOLDS = 5
CHOICE_FOLDS = 3  # enough to rank the cells of a grid
MIN_NORMALS, MIN_NORMAL_GROUPS = 20, 10
MIN_DEFECT_GROUPS = 5
"""Independent defective parts from which on a choice and a calibration mean more than a convention."""
TOP_SHARES = (0.05, 0.0, 0.2)
INPUTS = (Preprocessing(256, 256), Preprocessing(320, 192))


class Method(NamedTuple):
    """How distances are made: the kind of model, the layers that it looks at, and whose they are."""

    kind: str
    layers: tuple[str, ...]
    backbone: str = USUAL

    def __str__(self) -> str:
        return f"{self.kind} on {self.backbone} {'+'.join(self.layers)}"


METHODS = (
    Method(GAUSSIAN, ("level10",)),
    Method(GAUSSIAN, ("level10", "level14")),
    Method(MEMORY, ("level10",)),
    Method(GAUSSIAN, ("level10", "level14"), "lite1"),
    Method(GAUSSIAN, ("level10", "level14"), "lite2"),
)
QUICK_METHODS = tuple(method for method in METHODS if method.kind == GAUSSIAN)
"""A patch memory takes minutes to choose; a plain `--task anomaly` tries it as well."""
SQUARE = 32
"""Pixels of the input in a Gaussian's position. Finer ones know too few good parts for what lies under them."""

Maps = Mapping[str, npt.NDArray[np.float16]]
MapsOf = Callable[[str, Preprocessing], Maps]
"""All layers that a grid needs of a backbone, by the backbone's name and the input."""


@dataclass(frozen=True, slots=True)
class Grid:
    """What is tried. The first of each is taken where there are no defects to choose by."""

    inputs: tuple[Preprocessing, ...] = INPUTS
    methods: tuple[Method, ...] = METHODS
    top_shares: tuple[float, ...] = TOP_SHARES

    def __post_init__(self) -> None:
        for spec in self.inputs:
            if spec.width % 32 or spec.height % 32:
                raise SnapshotError(
                    f"an anomaly model's input of {spec.width} x {spec.height} pixels is not a multiple of 32"
                )

    @classmethod
    def of(cls, plan: Plan) -> Grid:
        """The usual grid, at the plan's input alone where it names one."""
        return cls(inputs=(plan.preprocessing,)) if plan.preprocessing else cls()

    def with_usual_backbone(self) -> Grid:
        """Without the methods that need another one."""
        return replace(self, methods=tuple(method for method in self.methods if method.backbone == USUAL))

    def backbones(self) -> tuple[str, ...]:
        """Every backbone that a method needs."""
        return tuple(dict.fromkeys(method.backbone for method in self.methods))

    def layers(self, backbone: str) -> tuple[str, ...]:
        """Every layer that a method needs of a backbone."""
        used = [name for method in self.methods if method.backbone == backbone for name in method.layers]
        return tuple(dict.fromkeys(used))


@dataclass(frozen=True, slots=True)
class Candidate:
    """One cell of the grid."""

    preprocessing: Preprocessing
    method: Method
    top_share: float

    def to_json(self) -> dict[str, Any]:
        return {
            "method": self.method.kind,
            "backbone": self.method.backbone,
            "layers": list(self.method.layers),
            "top_share": self.top_share,
            "preprocessing": self.preprocessing.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Parts:
    """What is known of the images in hand: which are defects, and which belong together."""

    is_defect: Bools
    groups: tuple[int, ...]

    def rows(self, keep: Bools) -> Parts:
        return Parts(
            self.is_defect[keep], tuple(g for g, kept in zip(self.groups, keep, strict=True) if kept)
        )

    def can_choose(self) -> bool:
        """Whether there are enough independent defects to choose and to calibrate by."""
        shown = {g for g, defect in zip(self.groups, self.is_defect, strict=True) if defect}
        return len(shown) >= MIN_DEFECT_GROUPS

    def check(self) -> None:
        """Raises `SnapshotError` where there are too few good parts to learn from."""
        normals = int((~self.is_defect).sum())
        independent = len({g for g, defect in zip(self.groups, self.is_defect, strict=True) if not defect})
        if normals < MIN_NORMALS or independent < MIN_NORMAL_GROUPS:
            raise SnapshotError(
                f"{normals} images of {independent} independent good parts are too few to learn what is normal; at "
                f"least {MIN_NORMALS} images of {MIN_NORMAL_GROUPS} parts are needed for training. Add images of good "
                "parts."
            )


@dataclass(frozen=True, slots=True)
class Found:
    """The best candidate so far, its distances out of fold, and the score by which it won (nan: a convention)."""

    candidate: Candidate
    distances: Array
    quality: float
    tried: list[dict[str, Any]] = field(default_factory=list)


def fit_positions(kind: str, maps: Array, spec: Preprocessing) -> PositionModel:
    """A model of these good parts, on their joined layers for that input; behind an index where one helps."""
    if kind == MEMORY:
        return IndexedMemory(fit_memory(maps))
    return fit_gaussians(maps, step=SQUARE * maps.shape[2] // spec.width)


def out_of_fold(
    method: Method, maps: Maps, spec: Preprocessing, parts: Parts, count: int = CHOICE_FOLDS
) -> Array:
    """Distances of all images by models that have seen no good part of their group; defects are never learned from."""
    fold = np.array(folds(parts.groups, count, parts.is_defect.astype(int).tolist()))
    together = joined(maps, method.layers)
    order, found = [], []
    for number in sorted(set(fold.tolist())):
        held = fold == number
        model = fit_positions(method.kind, together[~held & ~parts.is_defect], spec)
        order.append(np.flatnonzero(held))
        found.append(model.distances(together[held]))
    return np.concatenate(found)[np.argsort(np.concatenate(order))]


def choose(maps_of: MapsOf, parts: Parts, grid: Grid, report: Report = lambda text: None) -> Found:
    """The candidate that ranks best out of fold, among these images alone.

    Another backbone than the grid's first is taken only where the gain is more than one standard error (groups drawn as
    a whole): it costs more, and the best of many is lucky. Raises `SnapshotError`.
    """
    parts.check()
    best: dict[str, Found] = {}
    tried: list[dict[str, Any]] = []
    known = parts.can_choose()
    for spec in grid.inputs if known else grid.inputs[:1]:
        for method in grid.methods if known else grid.methods[:1]:
            distances = out_of_fold(method, maps_of(method.backbone, spec), spec, parts)
            for share in grid.top_shares if known else grid.top_shares[:1]:
                quality = auroc(top_mean(distances, share), parts.is_defect) if known else float("nan")
                candidate = Candidate(spec, method, share)
                tried.append(
                    candidate.to_json() | {"auroc": None if np.isnan(quality) else round(quality, 4)}
                )
                report(f"{method}, {spec.width}x{spec.height}, {share}: {quality:.4f}")
                if method.backbone not in best or quality > best[method.backbone].quality:
                    best[method.backbone] = Found(candidate, distances, quality)
    if not best:
        raise SnapshotError("the grid of anomaly models is empty")
    chosen, *others = best.values()
    for other in others:
        gain = _gain(other, chosen, parts)
        told = f"{gain.value:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})"
        report(
            f"{other.candidate.method.backbone} instead of {chosen.candidate.method.backbone}: AUROC {told}"
        )
        if beyond_chance(gain):
            chosen = other
    return replace(chosen, tried=tried)


def _gain(new: Found, old: Found, parts: Parts) -> Figure:
    better, worse = (top_mean(found.distances, found.candidate.top_share) for found in (new, old))
    return ranking_gain(better, worse, parts.is_defect, parts.groups)


def calibrate(scores: Floats, parts: Parts, plan: Plan) -> tuple[Platt, Thresholds, str]:
    """Probabilities and thresholds from scores out of fold, with a line that says what they are worth."""
    if parts.can_choose():
        platt = fit_platt(scores, parts.is_defect)
        limits = choose_thresholds(platt(scores), parts.is_defect, plan.costs)
        return platt, limits, "platt, out-of-fold, with the training side's defects"
    normal = scores[~parts.is_defect]
    platt = platt_of_normals(normal)
    return (
        platt,
        thresholds_of_normals(normal, platt),
        (
            "from the quantiles of good parts alone (2 % at the median, 50 % at the 99th percentile): too few defects "
            "are known to calibrate, so this is a rank and not a probability"
        ),
    )


def train_anomaly(snapshot: Snapshot, plan: Plan, workshop: Workshop, grid: Grid | None = None) -> Outcome:
    """Trains on the good parts of `snapshot` and writes a signed bundle. Raises `SnapshotError` or `LeakError`."""
    grid, report = grid or Grid.of(plan), workshop.report
    material = gather(snapshot, plan, workshop)
    backbones = _Backbones(workshop, grid)
    training, validation = material.side(TRAIN), material.side(VALIDATION)
    parts = _parts(material)
    learning = parts.rows(training)
    images = _chosen(material.images, training)
    report(f"{(~learning.is_defect).sum()} good images to learn from, {validation.sum()} to validate")
    found = choose(backbones.of(images), learning, backbones.grid, report)
    candidate = found.candidate
    chosen = candidate.method.backbone
    scores = top_mean(found.distances, candidate.top_share)
    platt, thresholds, note = calibrate(scores, learning, plan)
    good = [image for image, defect in zip(images, learning.is_defect, strict=True) if not defect]
    report("fitting the chosen model")
    spec = candidate.preprocessing
    model = fit_anomaly(candidate, backbones.of(good)(chosen, spec), platt)
    checked = _probabilities(model, backbones.of(_chosen(material.images, validation))(chosen, spec))
    thresholds, promises = promised(plan, material, checked, thresholds, report)
    metrics = evaluate(checked, parts.rows(validation), thresholds)
    report("writing the release")
    drawn = upsampled(found.distances, spec.height // CELL, spec.width // CELL)
    graph = build_anomaly_release(
        onnx.load(str(backbones.file(chosen))),
        model,
        spec.width,
        spec.height,
        choose_scale(drawn, learning.is_defect),
    )
    description = _description(snapshot, plan, candidate, material, metrics, graph, workshop.now)
    description |= promises
    description["thresholds"] = asdict(thresholds)
    description["calibration"] = {"method": note, "defect": asdict(platt)}
    description["chosen_by"] = {
        "folds": CHOICE_FOLDS,
        "figure": "auroc, out of fold, training side" if learning.can_choose() else "convention: no defects",
        "tried": found.tried,
    }
    crossed = decision_figures(platt(scores), learning.is_defect, thresholds)
    description["cross_validated"] = {
        name: round(value, 6) for name, value in crossed.items() if not np.isnan(value)
    }
    release = write_bundle(
        workshop.folder,
        plan.name,
        description,
        {MODEL: graph.SerializeToString(deterministic=True)},
        load_private_key(workshop.key),
    )
    return Outcome(release, metrics, thresholds, ANOMALY, (ANOMALY,), {})


def fit_anomaly(candidate: Candidate, good: Maps, platt: Platt) -> AnomalyModel:
    """The model of a candidate on maps of good parts."""
    method = candidate.method
    positions = fit_positions(method.kind, joined(good, method.layers), candidate.preprocessing)
    plain = positions.memory if isinstance(positions, IndexedMemory) else positions
    return AnomalyModel(method.layers, plain, candidate.top_share, platt)


def evaluate(probabilities: Floats, parts: Parts, thresholds: Thresholds) -> dict[str, Figure]:
    """Figures on images that were neither learned from nor chosen by, with grouped bootstrap intervals."""

    def figures(index: npt.NDArray[np.int_]) -> dict[str, float]:
        return decision_figures(probabilities[index], parts.is_defect[index], thresholds)

    found = bootstrap(figures, parts.groups)
    return {name: figure for name, figure in found.items() if not np.isnan(figure.value)}


def cross_validate(
    snapshot: Snapshot,
    plan: Plan,
    workshop: Workshop,
    grid: Grid | None = None,
) -> dict[str, Any]:
    """Grouped five-fold figures over the whole set (without its holdout), with the choice made anew in each fold.

    Each fold's candidates are ranked on the other four alone, by inner folds, so no image is scored by a choice it
    took part in. Scores are compared between folds as probabilities.
    """
    grid, report = grid or Grid.of(plan), workshop.report
    material = gather(snapshot, plan, workshop)
    backbones, parts = _Backbones(workshop, grid), _parts(material)
    grid = backbones.grid
    fold = np.array(folds(parts.groups, FOLDS, parts.is_defect.astype(int).tolist()))
    best: dict[int, tuple[float, Candidate]] = {}
    probabilities = np.zeros(len(fold))
    for spec in grid.inputs:
        whole = {name: backbones.of(material.images)(name, spec) for name in grid.backbones()}
        for number in range(FOLDS):
            inner = fold != number
            found = choose(_rows_of(whole, inner), parts.rows(inner), replace(grid, inputs=(spec,)))
            if number in best and not found.quality > best[number][0]:
                continue
            best[number] = found.quality, found.candidate
            scores = top_mean(found.distances, found.candidate.top_share)
            platt, _, _ = calibrate(scores, parts.rows(inner), plan)
            chosen = found.candidate.method.backbone
            good = _rows_of(whole, inner & ~parts.is_defect)(chosen, spec)
            model = fit_anomaly(found.candidate, good, platt)
            probabilities[~inner] = _probabilities(model, _rows_of(whole, ~inner)(chosen, spec))
            report(f"fold {number}: {found.candidate.to_json()}, {found.quality:.4f} inside")
    figures = evaluate(probabilities, parts, Thresholds(0.5, 0.5))
    kept = ("auroc", "accuracy", "calibration_error")
    each = [auroc(probabilities[fold == n], parts.is_defect[fold == n]) for n in range(FOLDS)]
    return {
        "images": len(fold),
        "groups": len(set(parts.groups)),
        "figures": {name: figures[name].to_json() for name in kept if name in figures},
        "auroc_of_folds": [round(value, 4) for value in each],
        "auroc_by_class": _by_class(probabilities, material),
        "chosen": [best[number][1].to_json() for number in range(FOLDS)],
    }


class _Backbones:
    """The backbones of a grid that are at hand, each opened when its maps are first asked for."""

    def __init__(self, workshop: Workshop, grid: Grid) -> None:
        self._workshop = workshop
        self.grid = grid if workshop.other_backbone else grid.with_usual_backbone()
        self._opened: dict[str, MapExtractor] = {}

    def file(self, name: str) -> Path:
        other = self._workshop.other_backbone
        return self._workshop.backbone if name == USUAL or other is None else other(name)

    def of(self, images: Sequence[bytes]) -> MapsOf:
        """The maps of these images; those of the last input that was asked for are remembered."""
        known: dict[str, Maps] = {}
        shown: Preprocessing | None = None

        def maps_of(name: str, spec: Preprocessing) -> Maps:
            nonlocal shown
            if spec != shown:
                known.clear()
                shown = spec
            if name not in known:
                known[name] = self._extractor(name).maps(images, spec)
            return known[name]

        return maps_of

    def _extractor(self, name: str) -> MapExtractor:
        if name not in self._opened:
            self._opened[name] = MapExtractor(self.file(name), self.grid.layers(name))
        return self._opened[name]


def _rows_of(whole: Mapping[str, Maps], keep: Bools) -> MapsOf:
    """Maps of some of the images whose maps of one input are `whole`, by backbone."""
    return lambda name, _: {layer: values[keep] for layer, values in whole[name].items()}


def _probabilities(model: AnomalyModel, maps: Maps) -> Floats:
    distances = model.positions.distances(joined(maps, model.layers))
    return model.calibration(top_mean(distances, model.top_share))


def _by_class(probabilities: Floats, material: Material) -> dict[str, float]:
    """How well each defect class alone is told apart from good parts."""
    good = np.array([not row.is_defect for row in material.rows])
    found = {}
    for name in sorted({name for row in material.rows for name in row.classes}):
        shown = np.array([name in row.classes for row in material.rows])
        found[name] = round(auroc(probabilities[good | shown], shown[good | shown]), 4)
    return found


def _parts(material: Material) -> Parts:
    return Parts(np.array([row.is_defect for row in material.rows]), tuple(material.groups))


def _chosen(images: Sequence[bytes], keep: Bools) -> list[bytes]:
    return [image for image, kept in zip(images, keep, strict=True) if kept]


def _description(
    snapshot: Snapshot,
    plan: Plan,
    candidate: Candidate,
    material: Material,
    metrics: Mapping[str, Figure],
    graph: onnx.ModelProto,
    now: datetime,
) -> dict[str, Any]:
    good = material.side(TRAIN) & ~_parts(material).is_defect
    shared = described(snapshot, plan, material, metrics, graph, now)
    return shared | {
        "task": ANOMALY,
        "classes": [ANOMALY],
        "knows_normal": True,
        "preprocessing": candidate.preprocessing.to_json(),
        "method": candidate.method.kind,
        "layers": list(candidate.method.layers),
        "top_share": candidate.top_share,
        "dataset": shared["dataset"] | {"learned_from": int(good.sum())},
    }

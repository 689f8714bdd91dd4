"""Rows of the anomaly task: good parts alone teach, known defects of the training side choose and calibrate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from andon_vision import Preprocessing, decode_image, prepare_pixels
from andon_vision.release_bundle import NORMAL

from trainer import anomaly as task
from trainer.adapters import backbone, heads, localising, maps, masks, neighbours, networks, scoring
from trainer.adapters import evaluation_sections as sections
from trainer.adapters.evaluation_page import Section, Table
from trainer.adapters.heads import FrozenMaps, identity
from trainer.adapters.images import ImageStore
from trainer.adapters.localising import LEVELS, count_heat
from trainer.adapters.maps import even_light
from trainer.anomaly import Found, Grid, Maps, Parts, calibrate, choose, fit_anomaly
from trainer.benchmark import loading
from trainer.benchmark.classification import labels_of, truth_of
from trainer.benchmark.table import Answers, Bench, Effort, Material, TableRow
from trainer.domain import anomaly as positions
from trainer.domain import calibration, localisation
from trainer.domain.anomaly import Array, joined, top_mean
from trainer.domain.evaluation import Index
from trainer.domain.localisation import per_region_overlap, pixel_auroc
from trainer.domain.metrics import auroc
from trainer.domain.snapshot import defect_classes
from trainer.training import Plan

# Answers: probability of a defect, and pixels by level of heat (see `HeatCounts`), zeros where there are no masks.
DEFECT, GOOD, BAD, COVERED, REGIONS = "defect", "good", "bad", "covered", "regions"
COLDEST: Final = -3.0
HOTTEST: Final = 9.0
"""Heat from 0 to 1, in standard deviations of the good parts' distances (logarithms): folds then compare."""
HONEST = "Platt's calibration on distances out of fold, inside each training part, with its known defects."


def anomaly_row(
    name: str,
    title: str,
    dataset: str,
    grid: Grid,
    *,
    targets: Mapping[str, float],
    published: str,
    limits: str,
    headline: tuple[str, ...] = ("auroc", "auprc", "pixel_auroc", "aupro"),
    compares_naive: bool = False,
    efforts: Mapping[str, Grid] | None = None,
) -> TableRow:
    """A row that measures the task on one data set, its choice made anew in each fold; `efforts` are other grids."""
    return TableRow(
        name=name,
        title=title,
        targets=targets,
        headline=headline,
        published=published,
        limits=limits,
        load=lambda bench: loading.load(bench, dataset, bench.extractor(grid.inputs[0])),
        labels=lambda material: labels_of(material.rows),
        fit_and_score=lambda bench, material, train, test: answers(bench, material, train, test, grid),
        figures=figures_of,
        sections=sections_of,
        recipe=f"good parts alone on frozen levels, chosen inside each training part from {grid}",
        modules=(
            task,
            positions,
            localisation,
            calibration,
            localising,
            neighbours,
            maps,
            masks,
            heads,
            backbone,
            networks,
        ),
        compares_naive=compares_naive,
        efforts=[Effort(label, partial(answers, grid=other)) for label, other in (efforts or {}).items()],
    )


def answers(bench: Bench, material: Material, train: Index, test: Index, grid: Grid) -> Answers:
    """Probabilities and heat for the rows `test`, by what the good ones of the rows `train` taught."""

    @cache
    def frozen(name: str) -> FrozenMaps:
        model = even_light(onnx.load(str(networks.network_file(bench.work, name))))
        return FrozenMaps(model, grid.layers(name), bench.work / "maps")

    @cache
    def whole(name: str, spec: Preprocessing) -> Maps:
        pixels = (prepare_pixels(decode_image(image).pixels, spec) for image in material.images)
        known = identity(material.images, spec)
        return frozen(name).maps(pixels, len(material.images), known, bench.report)

    truth = truth_of(material)
    parts = Parts(truth[train], tuple(material.groups[at] for at in train))
    found = choose(lambda name, spec: _rows(whole(name, spec), train), parts, grid, bench.report)
    candidate = found.candidate
    platt, _, _ = calibrate(top_mean(found.distances, candidate.top_share), parts, Plan("row"))
    known = whole(candidate.method.backbone, candidate.preprocessing)
    learned = fit_anomaly(candidate, _rows(known, train[~truth[train]]), platt)
    distances = learned.positions.distances(joined(_rows(known, test), learned.layers))
    probability = learned.calibration(top_mean(distances, candidate.top_share))
    return {DEFECT: probability} | _heat_of(material, test, _heat(distances, found, parts))


def _rows(maps_of: Maps, index: Index) -> Maps:
    return {name: values[index] for name, values in maps_of.items()}


def _heat(distances: Array, found: Found, parts: Parts) -> Array:
    """Distances as heat from 0 to 1."""
    usual = np.log(found.distances[~parts.is_defect] + 1e-6)
    scaled = (np.log(distances + 1e-6) - usual.mean()) / usual.std()
    return np.asarray(((scaled - COLDEST) / (HOTTEST - COLDEST)).clip(0, 1), np.float32)


def _heat_of(material: Material, test: Index, heat: Array) -> Answers:
    """Counts of pixels; zeros for defects without a mask."""
    classes, reader = defect_classes(material.rows), ImageStore()
    counted = {name: np.zeros((len(test), LEVELS)) for name in (GOOD, BAD, COVERED)}
    regions = np.zeros(len(test))
    has_masks = any(row.mask for row in material.rows)
    for place, at in enumerate(test):
        row = material.rows[at]
        if not has_masks or (row.is_defect and row.mask is None):
            continue
        height, width = decode_image(material.images[at]).pixels.shape[:2]
        counts = count_heat(heat[place], masks.labels_of(row, reader, (height, width), classes) > 0)
        counted[GOOD][place], counted[BAD][place], counted[COVERED][place] = (
            counts.good,
            counts.bad,
            counts.covered,
        )
        regions[place] = counts.regions
    return {**counted, REGIONS: regions}


def figures_of(material: Material, answers: Answers, index: Index) -> dict[str, float]:
    """Ranking and honesty of the image's probability, the heat map's figures, and the AUROC of each class alone."""
    truth, probability = truth_of(material)[index], answers[DEFECT][index]
    good, bad, covered = (answers[name][index].sum(axis=0) for name in (GOOD, BAD, COVERED))
    found = scoring.binary_figures(probability, truth) | {
        "pixel_auroc": pixel_auroc(good, bad),
        "aupro": per_region_overlap(good, covered, float(answers[REGIONS][index].sum())),
    }
    classes = defect_classes(material.rows)
    if len(classes) == 1:
        return found
    for name in classes:
        shown = np.array([name in material.rows[at].classes for at in index])
        asked = shown | ~truth
        found[f"auroc {name}"] = auroc(probability[asked], shown[asked])
    return found


def sections_of(material: Material, answers: Answers) -> list[Section]:
    """Curves, reliability, each class's heat and the worst images."""
    truth, probability = truth_of(material), answers[DEFECT]
    actual = ["+".join(row.classes) or NORMAL for row in material.rows]
    called = ["anomaly" if value >= 0.5 else NORMAL for value in probability]
    return [
        sections.curves(probability, truth, "All out-of-fold probabilities together."),
        sections.honesty(None, probability, truth, HONEST),
        *_localised(material, answers),
        sections.worst(
            np.where(truth, probability, 1 - probability),
            actual,
            called,
            lambda row: material.rows[row].id,
            sections.shown(material.images),
        ),
    ]


def _localised(material: Material, answers: Answers) -> list[Section]:
    """How well the heat map finds the regions of each class; nothing where there are no masks."""
    if not answers[REGIONS].any():
        return []
    good = answers[GOOD].sum(axis=0)
    lines: list[Sequence[str]] = [("class", "images", "regions", "pixel AUROC", "AUPRO")]
    for name in defect_classes(material.rows):
        shown: npt.NDArray[np.bool_] = np.array([name in row.classes for row in material.rows])
        bad, covered = (answers[kind][shown].sum(axis=0) for kind in (BAD, COVERED))
        regions = answers[REGIONS][shown].sum()
        figures = (pixel_auroc(good, bad), per_region_overlap(good, covered, float(regions)))
        lines.append((name, str(int(shown.sum())), f"{regions:.0f}", *(f"{value:.3f}" for value in figures)))
    return [Section("Where the defect is", "Good pixels are those of all images.", tables=(Table(lines),))]

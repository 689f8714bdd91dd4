"""Figures of where a release saw defects, beside what people marked; each by the library that the field uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from andon_vision import Preprocessing, decode_image, frame_of
from andon_vision.regions import BOXES, MASKS, Region
from andon_vision.release_bundle import ReleaseBundle
from andon_vision.runner import Reading

from trainer.adapters.box_metrics import Boxes, average_precision
from trainer.adapters.localising import count_heat
from trainer.adapters.mask_metrics import overlap
from trainer.adapters.masks import Labels, labels_of
from trainer.domain.evaluation import Index
from trainer.domain.localisation import per_region_overlap, pixel_auroc
from trainer.domain.metrics import Figure, bootstrap
from trainer.domain.segmentation import dice_of, iou_of, mean_of_classes
from trainer.domain.snapshot import LabelledBox, Row
from trainer.ports import ImageReader

ROUNDS = 60
"""Rounds of the bootstrap of boxes: each one matches all of them anew."""
OVERLAPS: Mapping[str, float] = {"map_50": 0.5, "map_33": 0.33}
FAINTEST: Final = 0.005
"""Average precision ranks all boxes, those too that are not shown; below this score they say nothing."""

Drawn = Mapping[int, Labels]
"""By row, what people drew: 0 or the number of a class from 1 on; only of rows that can be counted."""


def faint_too(bundle: ReleaseBundle) -> ReleaseBundle:
    """The release as it also tells of boxes too faint to be shown to people."""
    regions = bundle.description.get("regions", {})
    if regions.get("from") != BOXES:
        return bundle
    return replace(bundle, description={**bundle.description, "regions": {**regions, "score_from": FAINTEST}})


def region_figures(
    bundle: ReleaseBundle,
    rows: Sequence[Row],
    images: Sequence[bytes],
    readings: Sequence[Reading],
    groups: Sequence[int],
    reader: ImageReader,
) -> dict[str, Figure]:
    """Of boxes or masks, whichever the release finds, and of its heat map, where people marked such.

    A class that was marked but that the release cannot name is never found, and counts. The one rectangle around a
    heat map's brightest part is a hint for people, and is not measured. Raises `SnapshotError` for an unusable mask.
    """
    kind = bundle.description.get("regions", {}).get("from")
    marked = {name for row in rows for name in (*row.classes, *(box.class_name for box in row.boxes))}
    classes = (*bundle.classes, *sorted(marked - set(bundle.classes)))
    regions = [item.regions for item in readings]
    drawn = drawn_masks(rows, images, classes, reader)
    found = box_figures(rows, regions, classes, groups) if kind == BOXES else {}
    if kind == MASKS:
        found |= mask_figures(drawn, regions, classes, groups)
    return found | heat_figures(drawn, [item.heat_map for item in readings], bundle.preprocessing, groups)


def drawn_masks(
    rows: Sequence[Row], images: Sequence[bytes], classes: Sequence[str], reader: ImageReader
) -> Drawn:
    """The masks of all rows but of defects without one; empty where there is no mask at all."""
    if not any(row.mask for row in rows):
        return {}
    sizes = [decode_image(image).pixels.shape[:2] for image in images]
    return {
        at: labels_of(row, reader, (sizes[at][0], sizes[at][1]), classes)
        for at, row in enumerate(rows)
        if row.mask or not row.is_defect
    }


def box_figures(
    rows: Sequence[Row], regions: Sequence[Sequence[Region]], classes: Sequence[str], groups: Sequence[int]
) -> dict[str, Figure]:
    """Mean average precision at two overlaps and that of each class at one half; empty where no box is marked."""
    if not any(row.boxes for row in rows):
        return {}
    number = {name: at for at, name in enumerate(classes)}
    truth = [_boxes([(box, 1.0) for box in row.boxes], number) for row in rows]
    found = [_boxes([(region, region.score) for region in seen], number) for seen in regions]

    def of(index: Index) -> dict[str, float]:
        sides = [truth[row] for row in index], [found[row] for row in index]
        judged = {name: average_precision(*sides, len(number), least) for name, least in OVERLAPS.items()}
        each = {f"ap_50 {name}": judged["map_50"].of_class[at] for name, at in number.items()}
        return {name: item.mean for name, item in judged.items()} | each

    return _that_say_something(bootstrap(of, groups, ROUNDS))


def mask_figures(
    drawn: Drawn, regions: Sequence[Sequence[Region]], classes: Sequence[str], groups: Sequence[int]
) -> dict[str, Figure]:
    """Dice and IoU over all pixels, of each class and their means, from the outlines as they are served.

    An outline has lost the holes of its region and corners of less than a pixel.
    """
    if not drawn:
        return {}
    counts = np.stack(
        [overlap(_filled(regions[at], classes, actual), actual, len(classes)) for at, actual in drawn.items()]
    )

    def of(index: Index) -> dict[str, float]:
        found = {"dice": dice_of(counts[index]), "iou": iou_of(counts[index])}
        return {name: mean_of_classes(each) for name, each in found.items()} | {
            f"{name} {label}": float(value)
            for name, each in found.items()
            for label, value in zip(classes, each, strict=True)
        }

    return _that_say_something(bootstrap(of, [groups[at] for at in drawn]))


def heat_figures(
    drawn: Drawn,
    heat_maps: Sequence[npt.NDArray[np.uint8] | None],
    spec: Preprocessing,
    groups: Sequence[int],
) -> dict[str, Figure]:
    """AUPRO and the AUROC of pixels, of heat maps over the graph's whole input `spec`."""
    counted = []
    for at, actual in drawn.items():
        heat = heat_maps[at]
        if heat is None:
            return {}
        shown = frame_of(actual.shape[1], actual.shape[0], spec).cut(heat)
        counted.append(count_heat(shown.astype(np.float32) / np.float32(255), actual > 0))
    if not counted:
        return {}
    good, bad, covered = (
        np.stack([getattr(item, name) for item in counted]) for name in ("good", "bad", "covered")
    )
    areas = np.array([item.regions for item in counted])

    def of(index: Index) -> dict[str, float]:
        cold = good[index].sum(axis=0)
        return {
            "aupro": per_region_overlap(cold, covered[index].sum(axis=0), float(areas[index].sum())),
            "pixel_auroc": pixel_auroc(cold, bad[index].sum(axis=0)),
        }

    return _that_say_something(bootstrap(of, [groups[at] for at in drawn]))


def _filled(regions: Sequence[Region], classes: Sequence[str], like: Labels) -> Labels:
    """The regions as numbers of classes from 1 on, the surest on top."""
    canvas = np.zeros_like(like)
    for region in sorted(regions, key=lambda region: region.score):
        ring = np.round(np.array(region.outline).reshape(-1, 1, 2)).astype(np.int32)
        if len(ring):
            cv2.fillPoly(canvas, [ring], classes.index(region.class_name) + 1)
    return canvas


def _boxes(seen: Sequence[tuple[LabelledBox | Region, float]], number: Mapping[str, int]) -> Boxes:
    corners = [(box.x, box.y, box.x + box.width, box.y + box.height) for box, _ in seen]
    return Boxes(
        np.array(corners, np.float64).reshape(-1, 4),
        np.array([number[box.class_name] for box, _ in seen], np.int_),
        np.array([score for _, score in seen], np.float64),
    )


def _that_say_something(figures: Mapping[str, Figure]) -> dict[str, Figure]:
    return {name: figure for name, figure in figures.items() if not np.isnan(figure.value)}

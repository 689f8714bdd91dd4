"""Holds a release's graph against the original: the same pictures through both must come to the same answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from andon_vision.opencv import cv2

from trainer.adapters.backbone import OPSET
from trainer.adapters.features import open_session
from trainer.adapters.onnx_import.decoding import LEAST_SCORE, MOST_BOXES, NMS_IOU, Scaling
from trainer.adapters.onnx_import.inspection import ImportRefused
from trainer.adapters.onnx_import.layouts import BOXES, MASKS
from trainer.adapters.onnx_import.reading import SCORE_TOLERANCE, Array, Decoded, box_window
from trainer.adapters.onnx_import.reference import Pixels
from trainer.adapters.onnx_import.tensors import Line
from trainer.adapters.release_graph import CELL, CLASS_PROBABILITIES, DEFECT_SCORE, HEAT_MAP

Answer = Mapping[str, npt.NDArray[Any]]
"""A release's outputs for one picture, by name."""

BATCH: Final = 4
PIXEL_TOLERANCE: Final = 0.5
LEVEL_TOLERANCE: Final = 2
IOU_TOLERANCE: Final = 0.01
CELLS_ALIKE: Final = 0.98
"""Share of a map's cells that must agree: a border within rounding of a cell's edge may fall on either side of it."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found: pictures seen, and the largest difference of a score between both graphs."""

    pictures: int
    largest_difference: float
    scores: tuple[float, ...]


def check(
    graph: bytes,
    scaling: Scaling,
    pictures: Mapping[str, Pixels],
    readings: Iterable[Decoded],
    *,
    threads: int = 2,
) -> Checked:
    """Runs all pictures through the release's graph, several at once.

    Args:
        readings: What the original says of each picture.

    Raises:
        ImportRefused: The graph says something else; names the first picture.
    """
    largest, scores = 0.0, []
    answers = _answers(graph, list(pictures.values()), threads)
    for (name, picture), answer, said in zip(pictures.items(), answers, readings, strict=True):
        largest = max(largest, _compare(answer, said, scaling, picture.shape[:2], name))
        scores.append(float(answer[DEFECT_SCORE]))
    return Checked(len(scores), largest, tuple(scores))


def _answers(graph: bytes, pictures: Sequence[Pixels], threads: int) -> Iterator[Answer]:
    """The release's answer to each picture. Raises `ImportRefused` where its graph does not load or cannot run."""
    try:
        session = open_session(graph, threads)
        names = [item.name for item in session.get_outputs()]
        for start in range(0, len(pictures), BATCH):
            batch = np.stack(pictures[start : start + BATCH])
            for values in zip(*session.run(names, {"image": batch}), strict=True):
                yield dict(zip(names, values, strict=True))
    except Exception as error:  # onnxruntime has no common class for what it raises
        raise ImportRefused(f"onnxruntime cannot run the release's graph: {error}") from error


def _compare(
    answer: Answer,
    decoded: Decoded,
    scaling: Scaling,
    size: tuple[int, ...],
    name: str,
) -> float:
    """The largest difference of a score. Raises `ImportRefused` where both graphs do not say the same."""
    _refuse_impossible(answer, size, name)
    beyond = decoded.best.min() < -SCORE_TOLERANCE or decoded.best.max() > 1 + SCORE_TOLERANCE
    if scaling.platt is None and scaling.score == Line() and beyond:
        raise ImportRefused(
            f"{name}: the score {float(decoded.best.max()):.4g} is not between 0 and 1; give the scores that are "
            "surely good and surely bad with --range GOOD,BAD, anomalib's own file with --metadata metadata.json, "
            "or labelled images with --dataset"
        )
    expected = np.clip(decoded.best, 0, 1)
    if scaling.platt is not None:
        expected = scaling.platt(decoded.best.astype(np.float64)).astype(np.float32)
    difference = float(np.abs(answer[CLASS_PROBABILITIES] - expected).max())
    difference = max(difference, abs(float(answer[DEFECT_SCORE]) - float(expected.max())))
    if not difference <= SCORE_TOLERANCE:
        raise _differs(name, f"its scores differ from the original's by {difference:.3g}")
    if BOXES in answer:
        drawn = _drawn(answer, decoded, size, name)
        what, expected = (HEAT_MAP, drawn) if decoded.mask is None else (MASKS, drawn)
        _compare_levels(answer[what], expected * 255, what, name)
    elif decoded.plane is not None:
        cells = _plane_heat(decoded.plane, answer[HEAT_MAP].shape)
        levels = (cells - scaling.heat.base) * 255 / scaling.heat.span
        _compare_levels(answer[HEAT_MAP], levels, HEAT_MAP, name)
    return difference


def _differs(name: str, what: str) -> ImportRefused:
    return ImportRefused(
        f"{name}: the release would not answer as the model does: {what}. A model of an opset below {OPSET} is lifted, "
        f"which may be what went wrong: export it again with opset_version={OPSET}"
    )


def _refuse_impossible(answer: Answer, size: tuple[int, ...], name: str) -> None:
    """What no release may say, whatever the original says."""
    height, width = size[:2]
    probabilities, boxes = answer[CLASS_PROBABILITIES], answer.get(BOXES, np.zeros((0, 6)))
    if not all(np.isfinite(values).all() for values in answer.values()):
        raise _differs(name, "its answer holds numbers that are not finite")
    if (
        min(probabilities.min(), boxes[:, 4].min(initial=0)) < 0
        or boxes[:, 4].max(initial=probabilities.max()) > 1
    ):
        raise _differs(name, "its scores are not between 0 and 1")
    if (boxes[:, :4] < 0).any() or (boxes[:, :4] > (width, height, width, height)).any():
        raise _differs(name, "one of its boxes lies outside the picture")


def _drawn(answer: Answer, decoded: Decoded, size: tuple[int, ...], name: str) -> Array:
    """The masks that the release must draw for its boxes or, without masks, the heat map."""
    rows = answer[BOXES][answer[BOXES][:, 4] > 0]
    numbers = _matched(rows, decoded.finds, size, name)
    if decoded.mask is None:
        heat = np.zeros(answer[HEAT_MAP].shape, np.float32)
        for row in rows:
            window = box_window(row, CELL)
            heat[window] = np.maximum(heat[window], row[4])
        return heat
    masks = np.zeros(answer[MASKS].shape, np.float32)
    for row, number in zip(rows, numbers, strict=True):
        plane = masks[int(row[5])]
        np.maximum(plane, decoded.mask(number) * row[4], out=plane)
    return masks


def _matched(rows: Array, finds: Array, size: tuple[int, ...], name: str) -> list[int]:
    """Of each of the release's boxes, the number of the original's find.

    Raises `ImportRefused` where there is none, or where a find has no box and is no repeat of a surer one.
    """
    height, width = size[:2]
    known = finds.copy()
    known[:, :4] = np.clip(known[:, :4], 0, [width, height, width, height])
    numbers = []
    for row in rows:
        alike = (np.abs(known[:, 4] - row[4]) <= SCORE_TOLERANCE) & (known[:, 5] == row[5])
        far = np.where(alike, np.abs(known[:, :4] - row[:4]).max(axis=1, initial=0), np.inf)
        if not len(far) or far.min() > PIXEL_TOLERANCE:
            raise _differs(name, f"it adds the box {np.round(row, 2).tolist()}")
        numbers.append(int(far.argmin()))
    # Of the finds that score like the last one kept, others may have been kept.
    least = rows[-1, 4] if len(rows) == MOST_BOXES else LEAST_SCORE
    for find in known[known[:, 4] > least + SCORE_TOLERANCE]:
        surer = rows[(rows[:, 4] >= find[4] - SCORE_TOLERANCE) & (rows[:, 5] == find[5])]
        if not (_overlaps(find, surer) >= NMS_IOU - IOU_TOLERANCE).any():
            raise _differs(name, f"it lacks the box {np.round(find, 2).tolist()}")
    return numbers


def _overlaps(find: Array, others: Array) -> Array:
    """Intersection over union with each of the others; 1 with itself, however small."""
    low, high = np.maximum(find[:2], others[:, :2]), np.minimum(find[2:4], others[:, 2:4])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(find[2:4] - find[:2]) + np.prod(others[:, 2:4] - others[:, :2], axis=1)
    same = (np.abs(others[:, :4] - find[:4]) <= PIXEL_TOLERANCE).all(axis=1)
    return np.asarray(np.where(same, 1.0, shared / np.maximum(areas - shared, 1e-9)), np.float32)


def _compare_levels(actual: npt.NDArray[Any], expected: Array, what: str, name: str) -> None:
    near = np.abs(actual.astype(np.float32) - np.clip(expected, 0, 255)) <= LEVEL_TOLERANCE
    if near.mean() < CELLS_ALIKE:
        raise _differs(name, f"{near.size - int(near.sum())} of {near.size} cells of its {what} differ")


def _plane_heat(plane: Array, shape: tuple[int, ...]) -> Array:
    rows, columns = shape
    if plane.shape[0] % rows == 0 and plane.shape[1] % columns == 0:
        cells = plane.reshape(rows, plane.shape[0] // rows, columns, plane.shape[1] // columns)
        return np.asarray(cells.max(axis=(1, 3)), np.float32)
    # Half-pixel bilinear, as the graph's Resize without antialiasing and OpenCV's linear both do.
    return np.asarray(cv2.resize(plane, (columns, rows), interpolation=cv2.INTER_LINEAR), np.float32)

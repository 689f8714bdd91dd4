"""Tells what an exported model's outputs mean, from their shapes and the exporter's metadata; asks where it cannot.

| layout        | outputs for one picture                                                      | exported by         |
| ------------- | ---------------------------------------------------------------------------- | ------------------- |
| `yolo-v5`     | (1, boxes, 5 + C): centre, size, objectness, classes                         | YOLOv5, YOLOv7      |
| `yolo-v8`     | (1, 4 + C, boxes): centre, size, classes                                     | Ultralytics 8 on    |
| `yolo-nms`    | (1, boxes, 6): corners, score, class                                         | the same, after NMS |
| each of these | M more columns, and the planes (1, M, H / 4, W / 4) that masks are mixed from | the same, -seg      |
| `torchvision` | boxes (D, 4), labels (D) from 1 on, scores (D); masks (D, 1, H, W) may follow | Faster, Mask R-CNN  |
| `anomalib`    | anomaly_map (1, 1, h, w); pred_score (1) may be beside it                    | anomalib 0 to 2     |
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from andon_vision.release_bundle import NORMAL

from trainer.adapters.onnx_import.inspection import ImportRefused
from trainer.adapters.onnx_import.reference import Outputs

YOLO_V5, YOLO_V8, YOLO_NMS = "yolo-v5", "yolo-v8", "yolo-nms"
TORCHVISION, ANOMALIB = "torchvision", "anomalib"
LAYOUTS: Final = (YOLO_V5, YOLO_V8, YOLO_NMS, TORCHVISION, ANOMALIB)
YOLO: Final = (YOLO_V5, YOLO_V8, YOLO_NMS)
ANOMALY: Final = "anomaly"
ROWS, PROTOTYPES = "rows", "prototypes"
BOXES, LABELS, SCORES, MASKS = "boxes", "labels", "scores", "masks"
MAP, SCORE = "map", "score"
_OTHER_TASKS: Final = ("pose", "obb", "classify")


@dataclass(frozen=True, slots=True)
class RawOutput:
    """An output of the original and its shape for one picture; the number of finds varies from one to the next."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """What a model's outputs are, by role, and its classes in the model's order."""

    kind: str
    tensors: Mapping[str, RawOutput]
    classes: tuple[str, ...]

    @property
    def planes(self) -> int:
        """How many planes a YOLO mixes its masks from; 0 where it has none."""
        return self.tensors[PROTOTYPES].shape[1] if PROTOTYPES in self.tensors else 0

    @property
    def masked(self) -> bool:
        """Whether finds have masks."""
        return MASKS in self.tensors or PROTOTYPES in self.tensors


def recognise(
    outputs: Outputs, metadata: Mapping[str, str], classes: Sequence[str], wanted: str | None
) -> Layout:
    """The layout of these outputs of one picture.

    Args:
        outputs: Raw, by name.
        metadata: What the exporter wrote into the file.
        classes: Class names that were given; empty where the file's own names are to be used.
        wanted: The layout that was given, or None.

    Raises:
        ImportRefused: They are of no layout that is known, or of several.
    """
    task = metadata.get("task", "detect")
    if task in _OTHER_TASKS:
        raise ImportRefused(
            f"the file says that its task is {task}; of Ultralytics' exports, detect and segment can be imported"
        )
    names = tuple(classes) or names_of(metadata)
    found = next(
        (
            (kinds, roles)
            for kinds, find in _FINDERS
            if wanted is None or wanted in kinds
            if (roles := find(outputs)) is not None
        ),
        None,
    )
    if found is None:
        raise ImportRefused(
            f"the outputs {shapes_of(outputs)} are not those of {wanted or 'any layout that is known'}; "
            f"known are {', '.join(LAYOUTS)}, as the guide describes them"
        )
    kinds, roles = found
    tensors = {role: RawOutput(name, outputs[name].shape) for role, name in roles.items()}
    if kinds == (ANOMALIB,):
        return Layout(ANOMALIB, tensors, _one_class(classes))
    _check_names(names, tensors)
    if kinds == (TORCHVISION,):
        return Layout(TORCHVISION, tensors, names)
    return Layout(_yolo(tensors, metadata, names, wanted), tensors, names)


def shapes_of(outputs: Outputs) -> str:
    """The outputs for a message: names with shapes."""
    return ", ".join(f"{name} {value.shape}" for name, value in outputs.items())


def names_of(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The class names that Ultralytics writes, as a list or by number; empty where there are none."""
    try:
        value = ast.literal_eval(metadata.get("names", "()"))
    except (SyntaxError, ValueError):
        return ()
    ordered = [value[key] for key in sorted(value)] if isinstance(value, dict) else value
    return tuple(str(name) for name in ordered)


def _floats(outputs: Outputs) -> dict[str, tuple[int, ...]]:
    return {name: value.shape for name, value in outputs.items() if value.dtype.kind == "f"}


def _torchvision(outputs: Outputs) -> dict[str, str] | None:
    labels = [name for name, value in outputs.items() if value.dtype.kind in "iu"]
    if len(labels) != 1:
        return None
    shape = outputs[labels[0]].shape
    if len(shape) not in (1, 2) or (len(shape) == 2 and shape[0] != 1):
        return None
    floats = _floats(outputs)
    found = {
        LABELS: labels,
        BOXES: [name for name, axes in floats.items() if axes == (*shape, 4)],
        SCORES: [name for name, axes in floats.items() if axes == shape],
        MASKS: [name for name, axes in floats.items() if axes[:-2] == (*shape, 1)],
    }
    if not found[MASKS]:
        del found[MASKS]
    if any(len(names) != 1 for names in found.values()) or len(found) != len(outputs):
        return None
    return {role: names[0] for role, names in found.items()}


def _anomalib(outputs: Outputs) -> dict[str, str] | None:
    """Version 2 names its outputs; version 1 has a map, and some models a score behind it."""
    floats = _floats(outputs)
    maps = [name for name, axes in floats.items() if axes[:2] == (1, 1) and len(axes) == 4]
    scores = [name for name, axes in floats.items() if int(np.prod(axes)) == 1 and name not in maps]
    if len(maps) != 1 or len(scores) > 1:
        return None
    if {name for name, value in outputs.items() if value.dtype.kind != "b"} != {*maps, *scores}:
        return None
    return {MAP: maps[0]} | ({SCORE: scores[0]} if scores else {})


def _rows(outputs: Outputs) -> dict[str, str] | None:
    """One table, and the planes of masks behind it. Old YOLOv5 exports carry the raw grids beside, with five axes."""
    axes = _floats(outputs)
    tables = [name for name, shape in axes.items() if len(shape) == 3 and shape[0] == 1]
    planes = [name for name, shape in axes.items() if len(shape) == 4 and shape[0] == 1]
    others = {value.ndim for name, value in outputs.items() if name not in (*tables, *planes)}
    if len(tables) != 1 or len(planes) > 1 or not others <= {5}:
        return None
    return {ROWS: tables[0]} | ({PROTOTYPES: planes[0]} if planes else {})


_FINDERS: Final[tuple[tuple[tuple[str, ...], Callable[[Outputs], dict[str, str] | None]], ...]] = (
    ((TORCHVISION,), _torchvision),
    ((ANOMALIB,), _anomalib),
    (YOLO, _rows),
)


def _one_class(classes: Sequence[str]) -> tuple[str, ...]:
    if len(classes) > 1:
        raise ImportRefused(f"an anomaly model knows one class; {len(classes)} were given with --classes")
    return tuple(classes) or (ANOMALY,)


def _check_names(names: Sequence[str], tensors: Mapping[str, RawOutput]) -> None:
    if not names:
        hint = ""
        if ROWS in tensors:
            rows = tensors[ROWS]
            hint = f"; {rows.name} is {rows.shape}, of which one axis is 4 + classes, 5 + classes, or 6 after NMS"
        raise ImportRefused(
            f"the file names no classes; give them in the model's order: --classes scratch,dent{hint}"
        )
    if len(set(names)) != len(names) or NORMAL in names or not all(names):
        raise ImportRefused(
            f"class names must differ from each other and from {NORMAL!r}, which is the good part: {', '.join(names)}"
        )


def _yolo(
    tensors: Mapping[str, RawOutput], metadata: Mapping[str, str], names: Sequence[str], wanted: str | None
) -> str:
    output = tensors[ROWS]
    _, rows, columns = output.shape
    count, planes = len(names), tensors[PROTOTYPES].shape[1] if PROTOTYPES in tensors else 0
    width = {YOLO_V5: 5 + count + planes, YOLO_V8: 4 + count + planes, YOLO_NMS: 6 + planes}
    fits = {kind: width[kind] == (rows if kind == YOLO_V8 else columns) for kind in YOLO}
    found = [kind for kind, fit in fits.items() if fit and wanted in (None, kind)]
    if len(found) > 1 and YOLO_NMS in found and YOLO_V5 in found and "stride" in metadata:
        # Ultralytics writes the task into the file, YOLOv5 does not.
        found.remove(YOLO_V5 if "task" in metadata else YOLO_NMS)
    if len(found) > 1:
        raise ImportRefused(
            f"{output.name} {output.shape} may be {' or '.join(found)}; say which: --layout {found[0]}"
        )
    if not found:
        raise ImportRefused(
            f"{output.name} {output.shape} does not fit {count} classes ({', '.join(names)}): "
            f"{YOLO_V5} would be (1, boxes, {width[YOLO_V5]}), {YOLO_V8} (1, {width[YOLO_V8]}, boxes), "
            f"{YOLO_NMS} (1, boxes, {width[YOLO_NMS]}). "
            "Give all classes in the model's order with --classes. A model with one column more may have "
            "a background class, which cannot be imported"
        )
    return found[0]

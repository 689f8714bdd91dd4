"""What a model's file leaves open, from the command line: size, numbers, classes, scale of the scores."""

from __future__ import annotations

import argparse
import ast
import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from andon_vision import Preprocessing
from onnx import TensorProto

from trainer.adapters.onnx_import.decoding import Scaling
from trainer.adapters.onnx_import.inspection import ImportRefused, Original
from trainer.adapters.onnx_import.layouts import ANOMALIB, MAP, YOLO, Layout
from trainer.adapters.onnx_import.reference import Numbers
from trainer.adapters.onnx_import.tensors import Line

NORMALISED_MAP = "anomaly_map"
"""How anomalib 2 names its map, which is normalised; earlier versions say `output` and leave it as it is."""


def number(text: str) -> float:
    """A number or a fraction such as 1/255. Raises what argparse shows."""
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError) as error:
        raise argparse.ArgumentTypeError(f"{text} is not a number or a fraction") from error


def share(text: str) -> float:
    """A number from 0 to 1."""
    value = number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def three_numbers(text: str) -> tuple[float, float, float]:
    """One number for each channel, or one for all."""
    values = [number(part) for part in text.split(",")]
    if len(values) not in (1, 3):
        raise argparse.ArgumentTypeError(f"{text} is not one number or three with commas between")
    first, *others = values
    second, third = others or (first, first)
    return first, second, third


def two_numbers(text: str) -> tuple[float, float]:
    """Two numbers, the lower one first."""
    values = [number(part) for part in text.split(",")]
    if len(values) != 2 or values[0] >= values[1]:
        raise argparse.ArgumentTypeError(
            f"{text} is not two numbers, the lower one first, with a comma between"
        )
    return values[0], values[1]


def sides(text: str) -> tuple[int, int]:
    """Width and height from 640 or 640x480."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdigit() and int(part) for part in parts):
        raise argparse.ArgumentTypeError(f"{text} is not a size such as 640 or 640x480")
    return int(parts[0]), int(parts[-1])


def names(text: str) -> tuple[str, ...]:
    """Class names with commas between."""
    return tuple(part.strip() for part in text.split(","))


def size_of(original: Original, wanted: tuple[int, int] | None) -> tuple[int, int]:
    """Width and height of the input. Raises `ImportRefused` where the file leaves them open and nobody says."""
    picture = original.picture
    if picture.width is not None and picture.height is not None:
        fixed = (picture.width, picture.height)
        if wanted not in (None, fixed):
            raise ImportRefused(
                f"the model takes pictures of {fixed[0]} x {fixed[1]} pixels and no others; leave --size away"
            )
        return fixed
    known = wanted or _written_size(original.metadata)
    if known is None:
        raise ImportRefused(
            "the model takes pictures of any size; say at which it was trained: --size 640, or --size 640x480 "
            "for width and height"
        )
    for name, fixed_side, side in (("width", picture.width, known[0]), ("height", picture.height, known[1])):
        if fixed_side not in (None, side):
            raise ImportRefused(f"the model's {name} is {fixed_side} pixels, not {side}; see --size")
    return known


def _written_size(metadata: Mapping[str, str]) -> tuple[int, int] | None:
    """Ultralytics writes `imgsz`: height and width."""
    try:
        height, width = ast.literal_eval(metadata.get("imgsz", ""))
        return int(width), int(height)
    except (SyntaxError, TypeError, ValueError):
        return None


def numbers_of(original: Original, options: argparse.Namespace) -> Numbers:
    """How bytes become the model's numbers. Raises `ImportRefused` where neither the file nor an option says so."""
    scale = options.scale
    if original.picture.type == TensorProto.UINT8:
        if (scale, options.mean, options.std) != (None, None, None):
            raise ImportRefused("the model takes bytes as they are; leave --scale, --mean and --std away")
        scale = 1.0
    elif scale is None and "stride" in original.metadata and "names" in original.metadata:
        scale = 1 / 255  # written by YOLOv5 and Ultralytics, which know no other
    if scale is None:
        raise ImportRefused(
            "the file does not say how bytes become the model's numbers; give --scale 1/255 for numbers from 0 to 1 "
            "(torchvision, anomalib 1 and 2, YOLO), with --mean and --std behind it where the model does not "
            "normalise itself (anomalib 0: --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225), or --scale 1 for bytes"
        )
    none = Numbers()
    return Numbers(scale, options.mean or none.mean, options.std or none.std, options.colour)


def preprocessing_of(layout: Layout, size: tuple[int, int], fit: str | None) -> Preprocessing:
    """YOLOs are trained on letterboxed pictures, resized linearly; the others on stretched ones."""
    yolo = layout.kind in YOLO
    return Preprocessing.from_json(
        {
            "width": size[0],
            "height": size[1],
            "fit": fit or ("letterbox" if yolo else "stretch"),
            "interpolation": "linear" if yolo else "area",
        }
    )


def scaling_of(layout: Layout, options: argparse.Namespace) -> Scaling | None:
    """How raw scores come to lie between 0 and 1; None where only labelled images can tell.

    Raises:
        ImportRefused: Nothing says so, or something does where nothing may.
    """
    if layout.kind != ANOMALIB:
        if options.range or options.metadata:
            raise ImportRefused("--range and --metadata are for anomaly models; this one is not")
        return Scaling()
    if options.metadata is not None:
        return _anomalib_scaling(_json(options.metadata), options.metadata.name)
    if options.range is not None:
        low, high = options.range
        line = Line(1 / (high - low), -low / (high - low))
        return Scaling(line, line)
    if layout.tensors[MAP].name == NORMALISED_MAP:
        return Scaling()
    if options.dataset is None:
        raise ImportRefused(
            f"the scale of the map {layout.tensors[MAP].name} is not known: give --metadata metadata.json "
            "(anomalib 0 and 1 write it beside the model), --range GOOD,BAD with a score that is surely good and one "
            "that is surely bad (--range 0,1 where the model normalises), or labelled images with --dataset"
        )
    return None


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ImportRefused(f"{path.name} is not JSON: {error}") from error
    return value if isinstance(value, dict) else {}


def _anomalib_scaling(values: Mapping[str, Any], name: str) -> Scaling:
    """anomalib's own rule: the threshold becomes one half, and the whole range has length one."""

    def line(threshold: str, prefix: str) -> Line:
        try:
            low, high = (values.get(f"{prefix}.{end}", values.get(end)) for end in ("min", "max"))
            length = float(high) - float(low)
            return Line(1 / length, 0.5 - float(values[threshold]) / length)
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise ImportRefused(
                f"{name} lacks {threshold}, or min and max of {prefix}; give --range GOOD,BAD instead"
            ) from error

    return Scaling(line("image_threshold", "pred_scores"), line("pixel_threshold", "anomaly_maps"))

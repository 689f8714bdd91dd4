"""What the registry can propose to whoever labels an image. Every shape of it is unconfirmed: until a person takes it
over it is nobody's word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dataset_registry.domain.annotations import (
    Annotation,
    Box,
    Geometry,
    KeyPoints,
    Origin,
    Polygon,
    Shape,
    Verdict,
)


def of_model(regions: Sequence[Mapping[str, Any]], predicted_class: str | None) -> Annotation | None:
    """What a release saw: its regions, as `capture` events carry them; without any, the class that it predicted."""
    if not regions and predicted_class is None:
        return None
    shapes = tuple(
        Shape(
            shape_id=f"m{number}",
            class_name=region["class_name"],
            geometry=_geometry(region),
            origin=Origin.MODEL,
            confirmed=False,
        )
        for number, region in enumerate(regions, 1)
    )
    return Annotation(
        Verdict.LABELED,
        classes=() if shapes or predicted_class is None else (predicted_class,),
        shapes=shapes,
    )


def to_confirm(known: Annotation) -> Annotation:
    """A label that was made before, for somebody who labels the image again: under another taxonomy, say."""
    return replace(known, shapes=tuple(replace(shape, confirmed=False) for shape in known.shapes))


def _geometry(region: Mapping[str, Any]) -> Geometry:
    points = region.get("key_points") or {}
    outline = region.get("outline") or []
    if len(outline) >= 6:
        return Polygon((tuple(zip(outline[::2], outline[1::2], strict=False)),))
    if {"start", "end"} <= points.keys():
        return KeyPoints(
            tuple(sorted((name, (point[0], point[1])) for name, point in points.items())), (("start", "end"),)
        )
    return Box(region["x"], region["y"], region["width"], region["height"])

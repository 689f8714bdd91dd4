"""Annotations as JSON and back: the one form in which the API, drafts and the database hold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dataset_registry.domain.annotations import (
    Ambiguity,
    Annotation,
    Box,
    Geometry,
    KeyPoints,
    Mask,
    Origin,
    Polygon,
    Shape,
    Verdict,
)

Json = dict[str, Any]


def annotation_to_json(annotation: Annotation) -> Json:
    """`{verdict, classes, shapes, ambiguity, taxonomy_version}`."""
    return {
        "verdict": annotation.verdict.value,
        "classes": list(annotation.classes),
        "shapes": [shape_to_json(shape) for shape in annotation.shapes],
        "ambiguity": ambiguity_to_json(annotation.ambiguity),
        "taxonomy_version": annotation.taxonomy_version,
    }


def annotation_from_json(row: Mapping[str, Any]) -> Annotation:
    """The inverse of `annotation_to_json`; a row of the table with further columns will do."""
    ambiguity = row["ambiguity"]
    return Annotation(
        verdict=Verdict(row["verdict"]),
        classes=tuple(row["classes"]),
        shapes=tuple(shape_from_json(shape) for shape in row["shapes"]),
        ambiguity=Ambiguity(**ambiguity) if ambiguity else None,
        taxonomy_version=row["taxonomy_version"],
    )


def ambiguity_to_json(ambiguity: Ambiguity | None) -> Json | None:
    """`{reason, note, proposed_class}`."""
    if ambiguity is None:
        return None
    return {"reason": ambiguity.reason, "note": ambiguity.note, "proposed_class": ambiguity.proposed_class}


def shape_to_json(shape: Shape) -> Json:
    """A shape with its kind and the fields of that kind."""
    return {
        "shape_id": shape.shape_id,
        "class_name": shape.class_name,
        **_geometry_to_json(shape.geometry),
        "instance": shape.instance,
        "origin": shape.origin.value,
        "confirmed": shape.confirmed,
        "measurements": dict(shape.measurements),
    }


def shape_from_json(row: Mapping[str, Any]) -> Shape:
    """The inverse of `shape_to_json`; fields of other kinds may be there, as null. Names are sorted: a database may
    keep objects in any order."""
    return Shape(
        shape_id=row["shape_id"],
        class_name=row["class_name"],
        geometry=_geometry_from_json(row),
        instance=row.get("instance"),
        origin=Origin(row.get("origin", Origin.PERSON)),
        confirmed=row.get("confirmed", True),
        measurements=tuple(sorted((row.get("measurements") or {}).items())),
    )


def _geometry_to_json(geometry: Geometry) -> Json:
    match geometry:
        case Box(x, y, width, height):
            return {"kind": "box", "box": [x, y, width, height]}
        case Polygon(rings):
            return {"kind": "polygon", "rings": [[list(point) for point in ring] for ring in rings]}
        case Mask(height, width, counts):
            return {"kind": "mask", "size": [height, width], "counts": counts}
        case KeyPoints(points, joins):
            places = {name: list(point) for name, point in points}
            return {"kind": "key-points", "points": places, "joins": [list(join) for join in joins]}


def _geometry_from_json(row: Mapping[str, Any]) -> Geometry:
    match row["kind"]:
        case "box":
            return Box(*row["box"])
        case "polygon":
            return Polygon(tuple(tuple((x, y) for x, y in ring) for ring in row["rings"]))
        case "mask":
            height, width = row["size"]
            return Mask(height, width, row["counts"])
        case _:
            points = tuple(sorted((name, (x, y)) for name, (x, y) in row["points"].items()))
            return KeyPoints(points, tuple((start, end) for start, end in row.get("joins") or ()))

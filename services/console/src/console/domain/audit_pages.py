"""The audit trail and capture standards in the words of their pages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from console.domain.bounds import between
from console.domain.words import count, sentence

VERIFY = "python -m dataset_registry.audit verify"

STANDARD = {
    "camera": "Camera",
    "lens": "Lens",
    "resolution": "Resolution",
    "exposure": "Exposure",
    "lighting": "Lighting",
    "distance_mm": "Distance to the part",
    "angle_deg": "Angle of view",
    "background": "Background",
    "part_orientation": "Orientation of the part",
    "focus": "Focus",
    "trigger_timing": "Trigger",
    "media_types": "File formats",
    "mm_per_pixel": "Scale",
}
"""What a capture standard lays down, in the order in which a station is set up."""

_UNITS = {"distance_mm": " mm", "angle_deg": "°", "mm_per_pixel": " mm per pixel"}

DEVIATIONS = {
    "rejected": ("The quality audit rejected the image", "reject"),
    "ambiguous": ("The quality audit was in doubt", "hold"),
    "deviating": ("It deviates, and is only counted", "escalate-to-engineering"),
    "unproven": ("Nothing shows that it is as the standard says", "pending"),
    "missing": ("The capture does not say", "rework"),
    "violated": ("It is not as the standard says", "escalate-to-engineering"),
}
"""Kinds of deviation in words, each with the colour that it is drawn in."""


def verdict(verification: Mapping[str, Any]) -> tuple[str, str]:
    """Whether the trail is whole: in two words, and in a sentence."""
    broken, entries = verification["broken"], count(verification["entries"])
    if broken is None:
        return "Whole", f"All {entries} entries are as they were written, in their order, without a gap."
    at = count(broken["sequence"])
    return "Broken", f"Entry {at} is the first that is not what it was: {broken['what']}"


def moment(text: str) -> str | None:
    """What a form's date, or date and time, is as a moment in UTC; None for nothing readable."""
    try:
        read = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).isoformat()


def laid_down(station: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """Name and value of each field of a standard; None where nothing is laid down."""
    size = f"{station['width']} × {station['height']} px" if station["width"] and station["height"] else None
    known = {**station, "resolution": size, "media_types": ", ".join(station["media_types"])}
    return [(name, _value(field, known.get(field))) for field, name in STANDARD.items()]


def in_numbers(station: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the quality audit holds against each capture, and between which values it must lie."""
    bounds = station.get("bounds", ())
    return [(sentence(bound["name"]), between(bound["low"], bound["high"])) for bound in bounds]


def gap_names(gaps: list[str]) -> list[str]:
    """The open fields of a standard in words, each once."""
    size = {"width": "resolution", "height": "resolution"}
    fields = dict.fromkeys(size.get(field, field) for field in gaps)
    return [STANDARD.get(field, sentence(field)) for field in fields]


def _value(field: str, value: Any) -> str | None:
    if value in (None, ""):
        return None
    return f"{value:g}{_UNITS[field]}" if field in _UNITS else str(value)

"""What a plain form says about a station's capture standard, and what of it cannot be meant."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from console.domain import bounds
from console.domain.work_pages import people as names

TEXTS = {
    "camera": "Camera",
    "lens": "Lens",
    "exposure": "Exposure: time, gain, aperture",
    "lighting": "Lighting",
    "background": "Background",
    "part_orientation": "Orientation of the part",
    "focus": "Focus",
    "trigger_timing": "Trigger",
}
"""Fields in words that hold a text."""

NUMBERS = {
    "width": "Width, in pixels",
    "height": "Height, in pixels",
    "distance_mm": "Distance to the part, in mm",
    "angle_deg": "Angle of view, in degrees",
    "mm_per_pixel": "Scale, in mm per pixel",
}
"""Fields in words that hold a number."""

LISTS = {
    "media_types": "File formats, with commas between; empty for any",
    "validated_variants": "Product variants that a model may decide on, with commas between",
}
_WHOLE = frozenset({"width", "height", "takt_ms"})
_POSITIVE = frozenset({"width", "height", "distance_mm", "mm_per_pixel", "takt_ms"})
_MOST_PIXELS = 2**31 - 1
BOUNDS_EXAMPLE = bounds.EXAMPLE
BLANK_RULES = 3
"""Empty lines that a form offers for further rejection rules."""


def fields(station: Mapping[str, Any] | None) -> dict[str, str]:
    """The texts of a form that is filled with what is in force; of an empty one where nothing is."""
    known: dict[str, Any] = dict(station or {"takt_ms": 1000})
    found = {name: str(known.get(name) or "") for name in (*TEXTS, "line", "station")}
    found |= {name: _text(known.get(name)) for name in (*NUMBERS, "takt_ms")}
    found |= {name: ", ".join(known.get(name) or []) for name in LISTS}
    found["bounds"] = bounds.written(known.get("bounds") or [])
    found["capture_standard_version"] = str(known.get("capture_standard_version") or "")
    for number, rule in enumerate(known.get("rejection_rules") or []):
        found |= {f"reason-{number}": rule["reason"], f"rule-{number}": rule["rule"]}
    return found


def rules(typed: Mapping[str, str]) -> list[tuple[int, str, str]]:
    """Number, code and text of each line for a rejection rule: those that are filled, and some empty ones."""
    used = [number for number in range(100) if typed.get(f"reason-{number}") or typed.get(f"rule-{number}")]
    last = used[-1] + 1 if used else 0
    return [
        (number, typed.get(f"reason-{number}", ""), typed.get(f"rule-{number}", ""))
        for number in range(min(100, last + BLANK_RULES))
    ]


def body(typed: Mapping[str, str], person: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The command, and what is wrong in the form by field; where anything is, the command is not to be sent."""
    wrong: dict[str, str] = {}
    said: dict[str, Any] = {name: typed.get(name, "").strip() or None for name in TEXTS}
    said |= {name: _number(typed, name, wrong) for name in NUMBERS}
    said |= {name: names(typed.get(name, "")) for name in LISTS}
    said["bounds"], unclear = bounds.read(typed.get("bounds", ""))
    if unclear:
        wrong["bounds"] = unclear
    takt = _number(typed, "takt_ms", wrong)
    if takt is None and "takt_ms" not in wrong:
        wrong["takt_ms"] = "How long a part has, in milliseconds."
    version = typed.get("capture_standard_version", "").strip()
    if not version:
        wrong["capture_standard_version"] = "Give this version a name; what was published keeps its own."
    found = []
    for number, reason, rule in rules(typed):
        if rule.strip() and not reason.strip():
            wrong[f"reason-{number}"] = "Name the reason, as the quality audit does: blurred, cropped ..."
        elif reason.strip():
            found.append({"reason": reason.strip(), "rule": rule.strip()})
    for name in ("line", "station"):
        if not typed.get(name, "").strip():
            wrong[name] = "Say where it stands."
    made = {**said, "takt_ms": takt, "capture_standard_version": version, "rejection_rules": found}
    return made | {"published_by": person}, wrong


def fingerprint(station: Mapping[str, Any] | None) -> str:
    """Changes whenever somebody publishes something else: what a form was opened with."""
    return hashlib.sha256(json.dumps(station, sort_keys=True).encode()).hexdigest()[:20]


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.12g}"


def _number(typed: Mapping[str, str], name: str, wrong: dict[str, str]) -> float | int | None:
    text = typed.get(name, "").strip()
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        wrong[name] = "This is no number."
        return None
    if not math.isfinite(number) or (name in _WHOLE and (number != int(number) or number > _MOST_PIXELS)):
        wrong[name] = "A whole number." if name in _WHOLE else "This is no number."
        return None
    if name in _POSITIVE and number <= 0:
        wrong[name] = "A number above 0."
    if name == "angle_deg" and not -360 <= number <= 360:
        wrong[name] = "An angle from -360 to 360."
    return int(number) if name in _WHOLE else number

"""The names in which captures say how they were taken, and capture standards what must be (M2.1).

Each name belongs to a field of `station.published`. Numbers and texts travel in `settings` of `capture.recorded`, all as
text; measures are the quality audit's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

TEXTS: Final = (
    "lens",
    "exposure",
    "lighting",
    "background",
    "part_orientation",
    "focus",
    "trigger_timing",
)
"""Settings in words, named as the field that they must equal."""

NUMBERS: Final[Mapping[str, str]] = {
    "exposure_us": "exposure",
    "gain_db": "exposure",
    "aperture": "exposure",
    "lighting_level": "lighting",
    "distance_mm": "distance_mm",
    "angle_deg": "angle_deg",
    "orientation_deg": "part_orientation",
    "focus_mm": "focus",
    "trigger_delay_ms": "trigger_timing",
    "mm_per_pixel": "mm_per_pixel",
}
"""Settings in numbers, each with the field that it is about."""

MEASURES: Final[Mapping[str, str]] = {
    "sharpness": "focus",
    "brightness": "exposure",
    "over_fraction": "exposure",
    "under_fraction": "exposure",
    "contrast": "lighting",
    "border_fraction": "part_orientation",
    "edge_direction_deg": "part_orientation",
    "background_level": "background",
    "background_spread": "background",
    "bit_depth": "media_types",
    "channels": "media_types",
    "transfer_ms": "trigger_timing",
}
"""What the audit measures on every image, or only where a standard bounds it: edge direction, background, file, time
from the trigger to the plant."""

BOUNDED: Final[Mapping[str, str]] = {**NUMBERS, **MEASURES}
"""All that a standard can bound, with the field that it is about."""

PERIODS: Final[Mapping[str, float]] = {"angle_deg": 360.0, "orientation_deg": 360.0, "edge_direction_deg": 180.0}
"""Angles that come back to the same."""

SETTINGS: Final = (*TEXTS, *NUMBERS)
"""All that a capture can say of how it was taken."""

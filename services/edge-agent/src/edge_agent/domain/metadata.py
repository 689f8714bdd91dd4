"""What a camera says about its image, checked as capture-ingest will check it.

Days may pass until the plant sees an image. What it would refuse is refused here, while the camera is still there to be
mended.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

CHECKED: Final = (
    "line",
    "station",
    "camera",
    "part_number",
    "part_id",
    "product_variant",
    "customer",
    "batch",
    "shift",
    "operator",
    "supplier",
    "material",
    "origin",
    "capture_standard_version",
    "trigger_id",
)
"""Fields that the plant reads. Others are sent along: a newer plant may know them."""

SETTING_TEXTS: Final = (
    "lens",
    "exposure",
    "lighting",
    "background",
    "part_orientation",
    "focus",
    "trigger_timing",
)
SETTING_NUMBERS: Final = (
    "exposure_us",
    "gain_db",
    "aperture",
    "lighting_level",
    "distance_mm",
    "angle_deg",
    "orientation_deg",
    "focus_mm",
    "trigger_delay_ms",
    "mm_per_pixel",
)
"""How an image was taken: in the object `settings`, or flat as `settings.lens`."""

ORIGINS: Final = ("production", "lab")
LONGEST_VALUE: Final = 200
LONGEST: Final = 8 * 1024
"""Bytes of all metadata: they travel in a header."""

_NAME = re.compile(r"[^\s/#+*\\\x00-\x1f.][^/#+*\\\x00-\x1f]{0,99}")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


class MetadataError(ValueError):
    """Metadata that the plant would refuse. `reason` is a stable code, `advice` a sentence for a person."""

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(f"{reason}: {advice}")
        self.reason = reason
        self.advice = advice


@dataclass(frozen=True, slots=True)
class Said:
    """Metadata of one image.

    Attributes:
        trigger_id: The station's own id of the trigger.
        text: All of it as JSON in ASCII, as it is sent on.
    """

    line: str
    station: str
    trigger_id: str | None
    text: str

    def identity(self, sha256: str) -> str:
        """What makes the capture unique at its station: the trigger, or the image where nobody names one."""
        return f"trigger:{self.trigger_id}" if self.trigger_id is not None else f"image:{sha256}"


def parse(text: bytes | str) -> object:
    """JSON without the numbers that JSON does not have. Raises MetadataError."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no number")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise MetadataError("invalid-metadata", f"The metadata are not JSON: {error}.") from error


def read(said: object, defaults: Mapping[str, str], at: datetime) -> Said:
    """Metadata with the gaps filled: from the station's settings, and `captured_at` with the time at hand.

    Raises:
        MetadataError: The plant would refuse them.
    """
    if not isinstance(said, Mapping):
        raise MetadataError("invalid-metadata", "The metadata of an image are a JSON object.")
    whole: dict[str, Any] = {**defaults, **{str(k): v for k, v in said.items() if v not in (None, "")}}
    known = {name: text for name in CHECKED if (text := _text(name, whole.get(name))) is not None}
    for name in ("line", "station"):
        _check_name(name, known.get(name))
    if known.get("origin", ORIGINS[0]) not in ORIGINS:
        raise MetadataError("invalid-metadata", f"origin is one of {', '.join(ORIGINS)}.")
    _check_settings(whole)
    whole.setdefault("captured_at", at.isoformat())
    text = json.dumps({**whole, **known})
    if len(text) > LONGEST:
        raise MetadataError("invalid-metadata", f"The metadata of an image are at most {LONGEST} bytes.")
    return Said(known["line"], known["station"], known.get("trigger_id"), text)


def _check_name(name: str, text: str | None) -> None:
    if text is None:
        raise MetadataError(
            f"missing-{name}", f"Say which {name} the image comes from, or set ANDON_{name.upper()}."
        )
    if not _NAME.fullmatch(text):
        raise MetadataError(
            "invalid-metadata",
            f"A {name} is 1 to 100 characters without slashes, wildcards (# + *) or control characters.",
        )


def _check_settings(whole: Mapping[str, object]) -> None:
    nested = whole.get("settings", {})
    if not isinstance(nested, Mapping):
        raise MetadataError("invalid-metadata", "settings is an object: a name and a value for each setting.")
    for name in (*SETTING_TEXTS, *SETTING_NUMBERS):
        label = f"settings.{name}"
        text = _text(label, nested.get(name, whole.get(label)))
        if text is not None and name in SETTING_NUMBERS and not _is_number(text):
            raise MetadataError("invalid-metadata", f"{label} must be a number.")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _text(name: str, value: object) -> str | None:
    """A value as text; empty stands for unknown."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise MetadataError("invalid-metadata", f"{name} must be a text or a number.")
    text = str(value).strip()
    if len(text) > LONGEST_VALUE or _UNPRINTABLE.search(text):
        raise MetadataError(
            "invalid-metadata", f"{name} must be at most {LONGEST_VALUE} printable characters."
        )
    return text or None

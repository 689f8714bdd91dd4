"""What a camera says about its image: read leniently, gaps named, only nonsense refused.

An image is evidence; it is not thrown away because a field is missing. It cannot be filed at all without line
and station, and a field that is there but unusable is a fault somebody should hear of at once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from andon_events.standards import NUMBERS, SETTINGS

CONTEXT_FIELDS: Final = (
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
)

EXPECTED_FIELDS: Final = (
    "camera",
    "part_number",
    "product_variant",
    "batch",
    "shift",
    "origin",
    "capture_standard_version",
)
"""Named as missing when nobody said them; customer, operator, supplier, material and serial number are optional."""

SETTINGS_PREFIX: Final = "settings."
"""Where metadata are flat - MQTT properties, columns of an index - `settings.lens` stands for `lens` in `settings`."""

ORIGINS: Final = ("production", "lab")

LONGEST_VALUE: Final = 200
# A line and its station form the key of every event and are levels of MQTT topics and folders.
_NAME = re.compile(r"[^\s/#+*\\\x00-\x1f.][^/#+*\\\x00-\x1f]{0,99}")
# Lone surrogates come out of broken JSON and go into no database and no event.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


class MetadataError(ValueError):
    """Metadata that cannot be used. `reason` is a stable code, `advice` a sentence for a person."""

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(f"{reason}: {advice}")
        self.reason = reason
        self.advice = advice


@dataclass(frozen=True, slots=True)
class Metadata:
    """Metadata of one image.

    Attributes:
        fields: Context fields that are known, by name; line and station always are.
        settings: How the image was taken, by name.
        trigger_id: The station's own id of the trigger.
        captured_at: Time of the trigger, as the station wrote it.
        ignored: Names nobody here knows, for the sender to see.
    """

    fields: Mapping[str, str]
    trigger_id: str | None = None
    captured_at: str | None = None
    ignored: tuple[str, ...] = field(default=())
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def line(self) -> str:
        return self.fields["line"]

    @property
    def station(self) -> str:
        return self.fields["station"]


def missing_from(fields: Mapping[str, str]) -> list[str]:
    """Expected fields that are not known."""
    return [name for name in EXPECTED_FIELDS if name not in fields]


def read_metadata(raw: Mapping[str, object]) -> Metadata:
    """Metadata from a JSON object, MQTT properties or a row of an index. Raises MetadataError."""
    fields = {name: text for name in CONTEXT_FIELDS if (text := _text(name, raw.get(name))) is not None}
    for name in ("line", "station"):
        if name not in fields:
            raise MetadataError(
                f"missing-{name}", f"Say which {name} the image comes from: nothing else tells."
            )
        if not _NAME.fullmatch(fields[name]):
            raise MetadataError(
                "invalid-metadata",
                f"A {name} is 1 to 100 characters without slashes, wildcards (# + *) or control characters.",
            )
    if fields.get("origin", ORIGINS[0]) not in ORIGINS:
        raise MetadataError("invalid-metadata", f"origin is one of {', '.join(ORIGINS)}.")
    captured_at = raw.get("captured_at")
    said = _settings_said(raw)
    known = {*CONTEXT_FIELDS, "trigger_id", "captured_at", "settings"}
    others = [name for name in raw if name not in known and not name.startswith(SETTINGS_PREFIX)]
    others += [SETTINGS_PREFIX + name for name in said if name not in SETTINGS]
    return Metadata(
        fields,
        _text("trigger_id", raw.get("trigger_id")),
        None if captured_at is None else str(captured_at),
        tuple(sorted(ascii(name)[1:-1][:LONGEST_VALUE] for name in others))[:20],
        {name: text for name in SETTINGS if (text := _setting(name, said.get(name))) is not None},
    )


def _settings_said(raw: Mapping[str, object]) -> dict[str, object]:
    """Settings by name, from the object `settings` and from flat names; the object comes first."""
    flat = {
        name.removeprefix(SETTINGS_PREFIX): value
        for name, value in raw.items()
        if name.startswith(SETTINGS_PREFIX)
    }
    nested = raw.get("settings")
    if nested is None or nested == "":
        return flat
    if not isinstance(nested, Mapping):
        raise MetadataError("invalid-metadata", "settings is an object: a name and a value for each setting.")
    return {**flat, **{str(name): value for name, value in nested.items()}}


def _setting(name: str, value: object) -> str | None:
    text = _text(SETTINGS_PREFIX + name, value)
    if text is None or name not in NUMBERS:
        return text
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise MetadataError("invalid-metadata", f"{SETTINGS_PREFIX}{name} must be a number.")
    return text


def _text(name: str, value: object) -> str | None:
    """A value as text; empty stands for unknown. Numbers are welcome: batches and serial numbers often are."""
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

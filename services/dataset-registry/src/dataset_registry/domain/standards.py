"""A station's capture standard (M2.1): how its images are taken, versioned, and locked by somebody who vouches for it.

What images look like is part of the standard. What the line does with them - its takt, the variants a model may decide
on - belongs to the station and changes without a new version.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dataset_registry.domain.refusals import conflict

DEFAULTS: Mapping[str, Any] = {
    "camera": None,
    "lens": None,
    "width": None,
    "height": None,
    "exposure": None,
    "lighting": None,
    "distance_mm": None,
    "angle_deg": None,
    "background": None,
    "part_orientation": None,
    "focus": None,
    "trigger_timing": None,
    "media_types": [],
    "mm_per_pixel": None,
    "bounds": [],
    "rejection_rules": [],
}
"""Every field of a standard, and what it is where nobody said."""

SHARPENING = frozenset({"bounds"})
"""Puts other fields in numbers; without it they are no gap, but more of them stay unproven."""

VIOLATED = "violated"
OTHER_CAMERA = "other-camera"


def complete(document: Mapping[str, Any]) -> dict[str, Any]:
    """A station's document with all fields; those of earlier releases lack some."""
    return {**DEFAULTS, **document}


def standard_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a station's document that its capture standard fixes."""
    return {name: complete(document)[name] for name in DEFAULTS}


def check_unlocked(
    version: str, locked: Mapping[str, Any] | None, was: Mapping[str, Any] | None, now: Mapping[str, Any]
) -> None:
    """Raises Refused when a locked version would say something else than it did."""
    if locked is None or was is None or standard_of(was) == standard_of(now):
        return
    changed = ", ".join(name for name in DEFAULTS if standard_of(was)[name] != standard_of(now)[name])
    raise conflict(
        "standard-locked",
        f"Capture standard {version} was locked by {locked['locked_by']}; give the change of {changed} a version of its"
        " own.",
    )


def gaps(document: Mapping[str, Any]) -> list[str]:
    """The fields that a standard leaves open."""
    standard = standard_of(document)
    return [
        name for name, default in DEFAULTS.items() if standard[name] == default and name not in SHARPENING
    ]


def violations(
    captured: Iterable[Mapping[str, Any]], standards: Mapping[str, Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """What captures say of themselves that their standard does not allow.

    Args:
        captured: standard_version, camera, captures.
        standards: The station's documents by standard version.
    """
    for row in captured:
        version, camera = row["standard_version"], row["camera"]
        if version is not None and version not in standards:
            yield {**row, "kind": VIOLATED, "reason": "unknown-version"}
        wanted = standards.get(version or "", {}).get("camera")
        if camera is not None and wanted is not None and camera != wanted:
            yield {**row, "kind": VIOLATED, "reason": OTHER_CAMERA}


def deviation_counts(
    rows: Iterable[Mapping[str, Any]], captured: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Deviations by standard version, the version with most captures first.

    Args:
        rows: standard_version, kind (rejected, ambiguous, deviating, unproven, missing or violated), reason, captures.
        captured: standard_version, captures.
    """
    totals, counts = Counter[str | None](), Counter[tuple[str | None, str, str]]()
    for row in captured:
        totals[row["standard_version"]] += row["captures"]
    for row in rows:
        counts[row["standard_version"], row["kind"], row["reason"]] += row["captures"]
    return [
        {
            "standard_version": version,
            "captures": total,
            "deviations": [
                {"kind": kind, "reason": reason, "captures": count, "share": count / total}
                for (under, kind, reason), count in sorted(
                    counts.items(), key=lambda item: (-item[1], item[0][1:])
                )
                if under == version
            ],
        }
        for version, total in sorted(totals.items(), key=lambda item: (-item[1], item[0] or ""))
    ]

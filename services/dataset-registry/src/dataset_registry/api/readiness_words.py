"""Figures and verdicts of the readiness package in words, the same on every kind of page."""

from __future__ import annotations

from datetime import UTC
from typing import Final

from dataset_registry.api.readiness_shapes import Readiness, ReadinessFigure

VERDICTS: Final = {"ready": "Ready", "not-ready": "Not ready", "not-proven": "Not proven"}


def value(figure: ReadinessFigure) -> str:
    """A figure with its unit, and what it rests on where it is a share."""
    if figure.value is None:
        return "undefined"
    if figure.unit == "share":
        return f"{figure.value:.1%}" + (f" of {figure.of}" if figure.of is not None else "")
    return f"{figure.value:g} {figure.unit}" if figure.of is None else f"{figure.value:.3g} {figure.unit}"


def interval(figure: ReadinessFigure) -> str:
    """The 95 % interval of an estimate; empty for a count."""
    if figure.low is None or figure.high is None:
        return ""
    if figure.unit == "share":
        return f"{figure.low:.1%} to {figure.high:.1%}"
    return f"{figure.low:.3f} to {figure.high:.3f}"


def newest(package: Readiness) -> str:
    """The moment of the newest record."""
    return f"{package.newest_record.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"

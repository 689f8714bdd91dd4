"""The one error this library raises on purpose: an image that will not be used, with the reason and what to do."""

from __future__ import annotations

from typing import Final

EMPTY: Final = "empty"
TOO_LARGE: Final = "too-large"
TOO_MANY_PIXELS: Final = "too-many-pixels"
NOT_AN_IMAGE: Final = "not-an-image"
UNSUPPORTED_FORMAT: Final = "unsupported-format"
TRUNCATED: Final = "truncated"
DAMAGED: Final = "damaged"
NO_TEMPLATE: Final = "no-template"

REASONS: Final = (
    EMPTY,
    TOO_LARGE,
    TOO_MANY_PIXELS,
    NOT_AN_IMAGE,
    UNSUPPORTED_FORMAT,
    TRUNCATED,
    DAMAGED,
    NO_TEMPLATE,
)


class ImageRefused(ValueError):
    """An image was refused. `reason` is one of `REASONS` and stable; `advice` is a sentence for a person."""

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(f"{reason}: {advice}")
        self.reason = reason
        self.advice = advice

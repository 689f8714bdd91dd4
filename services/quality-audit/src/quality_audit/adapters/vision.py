"""Decodes with the shared library and prepares what the domain measures."""

from __future__ import annotations

from andon_vision import DecodeLimits, ImageRefused, decode_image, grey, perceptual_hash, resize, to_eight_bit
from andon_vision.opencv import cv2

from quality_audit.ports import Look, Looker, UnreadableError

_FINGERPRINT_SIDE = 32


def looker(limits: DecodeLimits) -> Looker:
    """A function that looks at an image within these limits."""
    # The audit shares its cores with its neighbours; OpenCV's own threads would only fight over them.
    cv2.setNumThreads(1)

    def look(data: bytes) -> Look:
        try:
            pixels = decode_image(data, limits).pixels
        except ImageRefused as error:
            raise UnreadableError(str(error)) from error
        small = to_eight_bit(grey(pixels))
        side = _FINGERPRINT_SIDE
        tiny = to_eight_bit(resize(small, side, side))
        # The hash begins with the same shrinking; of what is shrunk already it is the same and costs nothing.
        return Look(small, tiny, perceptual_hash(tiny))

    return look

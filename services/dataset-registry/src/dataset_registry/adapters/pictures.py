"""Images for people: what a browser can show, no larger than the screen needs.

The original is never touched. What is made here is kept in memory for a while; it is a function of the original's hash,
so it never goes stale.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from andon_chassis.errors import Invalid
from andon_chassis.objects import ObjectStore
from andon_events.records import ObjectRef
from andon_vision.decode import DEFAULT_LIMITS, DecodeLimits, Pixels, decode_image
from andon_vision.errors import ImageRefused
from andon_vision.header import sniff_image
from andon_vision.opencv import cv2
from andon_vision.preprocess import resize, to_eight_bit

from dataset_registry.adapters.pyramids import Pyramids
from dataset_registry.domain.pyramid import is_large
from dataset_registry.ports import Picture, Tiles

SHOWN = frozenset({"image/png", "image/jpeg", "image/bmp", "image/webp"})
"""What every browser shows as it is."""

LIGHT_BYTES = 48_000
"""A thumbnail is not made of what is as light as a thumbnail."""

THUMBNAIL_SIDE = 320
QUALITY = 82
_WHOLE = DecodeLimits(max_pixels=40_000_000)
"""What is larger is shown by its tiles."""


class Pictures:
    """Reads images and makes views of them.

    Args:
        objects: Where the originals lie.
        capacity_bytes: Upper bound of the views kept.
        pyramids: Of large images; where one is there, thumbnails are made of a level of it.
    """

    def __init__(self, objects: ObjectStore, capacity_bytes: int, pyramids: Pyramids) -> None:
        self._objects = objects
        self._pyramids = pyramids
        self._capacity = capacity_bytes
        self._held: OrderedDict[tuple[str, str], Picture] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()
        self._at_work = threading.Lock()  # one large image in memory at a time

    def original(self, ref: ObjectRef) -> Picture:
        return Picture(self._objects.get(ref), ref.media_type)

    def screen(self, ref: ObjectRef) -> Picture:
        if ref.media_type in SHOWN:
            return self.original(ref)
        return self._view(ref, "screen")

    def thumbnail(self, ref: ObjectRef) -> Picture:
        if ref.media_type in SHOWN and ref.size_bytes <= LIGHT_BYTES:
            return self.original(ref)
        return self._view(ref, "thumbnail")

    def tiles(self, ref: ObjectRef) -> Tiles:
        return self._pyramids.of(ref)

    def tile(self, ref: ObjectRef, level: int, column: int, row: int) -> Picture:
        return self._pyramids.tile(ref, level, column, row)

    def _view(self, ref: ObjectRef, view: str) -> Picture:
        with self._lock:
            if (ref.sha256, view) in self._held:
                self._held.move_to_end((ref.sha256, view))
                return self._held[ref.sha256, view]
        data = self._objects.get(ref)
        if view == "thumbnail" and _is_large(data) and (level := self._pyramids.overview(ref)):
            data = level.data
        with self._at_work:
            if view == "thumbnail":
                made = _thumbnail(_pixels(data, DEFAULT_LIMITS))
            else:
                made = _lossless(_pixels(data, _WHOLE))
        with self._lock:
            if (ref.sha256, view) not in self._held:
                self._held[ref.sha256, view] = made
                self._size += len(made.data)
            while self._size > self._capacity:
                self._size -= len(self._held.popitem(last=False)[1].data)
        return made


def _is_large(data: bytes) -> bool:
    try:
        header = sniff_image(data)
    except ImageRefused:
        return False
    return is_large(header.width, header.height)


def _pixels(data: bytes, limits: DecodeLimits) -> Pixels:
    try:
        return to_eight_bit(decode_image(data, limits).pixels)
    except ImageRefused as error:
        raise Invalid(error.reason, error.advice) from error


def _thumbnail(pixels: Pixels) -> Picture:
    height, width = pixels.shape[:2]
    scale = min(1.0, THUMBNAIL_SIDE / max(height, width))
    small = resize(pixels, max(1, round(width * scale)), max(1, round(height * scale)))
    return Picture(_encode(".jpg", small, cv2.IMWRITE_JPEG_QUALITY, QUALITY), "image/jpeg")


def _lossless(pixels: Pixels) -> Picture:
    return Picture(_encode(".png", pixels, cv2.IMWRITE_PNG_COMPRESSION, 1), "image/png")


def _encode(suffix: str, pixels: Pixels, option: int, value: int) -> bytes:
    colours = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    done, encoded = cv2.imencode(suffix, colours, [option, value])
    if not done:
        raise RuntimeError(f"OpenCV could not write {suffix}")
    return bytes(encoded)

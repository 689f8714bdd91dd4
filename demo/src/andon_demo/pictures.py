"""Spoils images the way cameras do, and encodes what is sent."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from andon_demo.scenario import Play, Shot

_MEDIA = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".bmp": "image/bmp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
}


ARRIVES = 0.65
"""So much of a truncated upload arrives."""


def upload_of(shot: Shot) -> tuple[bytes, str]:
    """The bytes that a shot sends and the media type it claims."""
    original = shot.part.path.read_bytes()
    media = _MEDIA.get(shot.part.path.suffix.lower(), "application/octet-stream")
    match shot.play:
        case Play.TRUNCATED:
            return original[: int(len(original) * ARRIVES)], media
        case Play.WRONG_TYPE:
            return b"trigger;exposure_ms;gain\n" + shot.trigger_id.encode() + b";4.0;1.0\n", media
        case Play.CONFLICT:
            return _encoded(_mirrored(_pixels(original))), "image/png"
        case None | Play.NEW_VARIANT | Play.DUPLICATE | Play.RETRY:
            return original, media
        case _:
            return _encoded(spoil(_pixels(original), shot.play, shot.light)), "image/png"


def spoil(pixels: npt.NDArray[np.uint8], play: Play, light: float = 1.0) -> npt.NDArray[np.uint8]:
    """The same part under worse conditions; same size, except when it slid out of frame (then a dark
    rest).
    """
    height, width = pixels.shape[:2]
    match play:
        case Play.BLURRED:
            return _u8(cv2.GaussianBlur(pixels, (0, 0), max(2.5, height / 60)))
        case Play.OVER_EXPOSED:
            return _u8(pixels.astype(np.float32) * 1.8 + 100)
        case Play.UNDER_EXPOSED:
            return _u8(pixels.astype(np.float32) * 0.05)
        case Play.CROPPED:
            slid = np.zeros_like(pixels)
            slid[:, : width * 11 // 20] = pixels[:, width - width * 11 // 20 :]
            return slid
        case Play.DARK:
            return _u8(pixels.astype(np.float32) * light)
        case _:
            raise ValueError(f"{play} does not change pixels")


def _u8(values: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    clipped: npt.NDArray[np.uint8] = np.clip(values, 0, 255).astype(np.uint8)
    return clipped


def _mirrored(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(pixels[:, ::-1])


def _pixels(data: bytes) -> npt.NDArray[np.uint8]:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYCOLOR)
    if pixels is None:
        raise ValueError("this source image cannot be decoded; take it out of the data folder")
    return _u8(pixels)


def _encoded(pixels: npt.NDArray[np.uint8]) -> bytes:
    done, data = cv2.imencode(".png", pixels)
    if not done:
        raise ValueError("OpenCV could not encode a PNG")
    return data.tobytes()

"""Untrusted bytes: every supported format decodes exactly, everything else is refused with its reason."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from andon_vision import DecodeLimits, ImageRefused, decode_image, sniff_image
from andon_vision.errors import REASONS
from hypothesis import given
from hypothesis import strategies as st

Grey = npt.NDArray[np.uint8]


def encode(pixels: npt.NDArray[np.generic], suffix: str, *options: int) -> bytes:
    """File bytes of an RGB or grey picture."""
    bgr = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    ok, data = cv2.imencode(suffix, np.ascontiguousarray(bgr), list(options))
    assert ok
    return data.tobytes()


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def png_claiming(width: int, height: int, payload: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = (png_chunk(b"IHDR", header), png_chunk(b"IDAT", payload), png_chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def refusal(data: bytes, limits: DecodeLimits | None = None) -> str:
    with pytest.raises(ImageRefused) as caught:
        decode_image(data, limits or DecodeLimits())
    assert caught.value.advice
    return caught.value.reason


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff"])
def test_lossless_grey_is_exact(scene: Grey, suffix: str) -> None:
    decoded = decode_image(encode(scene, suffix))
    assert decoded.pixels.dtype == np.uint8
    np.testing.assert_array_equal(decoded.pixels, scene)
    assert (decoded.header.width, decoded.header.height, decoded.header.bit_depth) == (120, 90, 8)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff"])
def test_lossless_colour_is_exact_and_rgb(colour_scene: Grey, suffix: str) -> None:
    decoded = decode_image(encode(colour_scene, suffix))
    np.testing.assert_array_equal(decoded.pixels, colour_scene)
    assert decoded.header.channels == 3


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bits_stay_sixteen(scene: Grey, colour_scene: Grey, suffix: str) -> None:
    for picture in (scene, colour_scene):
        deep = picture.astype(np.uint16) * 257
        decoded = decode_image(encode(deep, suffix))
        assert decoded.pixels.dtype == np.uint16
        assert decoded.header.bit_depth == 16
        np.testing.assert_array_equal(decoded.pixels, deep)


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)])
def test_jpeg_is_close(scene: Grey, colour_scene: Grey, options: tuple[int, ...]) -> None:
    for picture in (scene, colour_scene):
        decoded = decode_image(encode(picture, ".jpg", *options))
        assert decoded.pixels.shape == picture.shape
        assert decoded.header.media_type == "image/jpeg"
        assert np.abs(decoded.pixels.astype(int) - picture.astype(int)).mean() < 12


def test_alpha_is_dropped(colour_scene: Grey) -> None:
    bgra = np.dstack([colour_scene[..., ::-1], np.full(colour_scene.shape[:2], 9, np.uint8)])
    data = cv2.imencode(".png", bgra)[1].tobytes()
    assert sniff_image(data).channels == 4
    np.testing.assert_array_equal(decode_image(data).pixels, colour_scene)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tiff"])
def test_every_cut_is_refused_without_pixels(colour_scene: Grey, suffix: str) -> None:
    data = encode(colour_scene, suffix)
    for share in (0.02, 0.2, 0.5, 0.9, 0.99):
        assert refusal(data[: int(len(data) * share)]) in {"truncated", "not-an-image"}
    assert refusal(data[: len(data) // 2]) == "truncated"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tiff"])
def test_bytes_after_the_image_do_no_harm(scene: Grey, suffix: str) -> None:
    assert decode_image(encode(scene, suffix) + b"\x00" * 64).pixels.shape == scene.shape


def test_empty_and_foreign_files_are_named() -> None:
    assert refusal(b"") == "empty"
    assert refusal(b"line,station\n1,2\n") == "not-an-image"
    assert refusal(b"GIF89a" + b"\0" * 40) == "unsupported-format"
    assert refusal(b"RIFF\x24\0\0\0WEBPVP8 " + b"\0" * 40) == "unsupported-format"
    assert refusal(b"%PDF-1.7") == "unsupported-format"


def test_bomb_is_refused_from_its_header_alone() -> None:
    bomb = png_claiming(60_000, 60_000, zlib.compress(bytes(1_000_000)))
    assert refusal(bomb) == "too-many-pixels"
    assert refusal(png_claiming(1_000_000, 10)) == "too-many-pixels"


def test_limits_are_inclusive(scene: Grey) -> None:
    data = encode(scene, ".png")
    exact = DecodeLimits(max_bytes=len(data), max_pixels=scene.size, max_side=120)
    assert decode_image(data, exact).pixels.shape == scene.shape
    assert refusal(data, DecodeLimits(max_bytes=len(data) - 1)) == "too-large"
    assert refusal(data, DecodeLimits(max_pixels=scene.size - 1)) == "too-many-pixels"
    assert refusal(data, DecodeLimits(max_side=119)) == "too-many-pixels"


def test_claims_that_cannot_be_true_are_damaged() -> None:
    assert refusal(png_claiming(0, 10)) == "damaged"
    assert refusal(png_claiming(100, 100, zlib.compress(bytes(50)))) == "damaged"
    assert refusal(png_claiming(100, 100, b"no zlib stream")) == "damaged"


def test_formats_no_camera_here_sends(scene: Grey) -> None:
    floats = scene.astype(np.float32)
    assert refusal(cv2.imencode(".tiff", floats)[1].tobytes()) == "unsupported-format"
    ok, pages = cv2.imencodemulti(".tiff", [scene, scene])
    assert ok
    assert refusal(pages.tobytes()) == "unsupported-format"


def test_endless_progressive_scans_are_refused(scene: Grey) -> None:
    data = encode(scene, ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    scan = data.rindex(b"\xff\xda")
    bomb = data[:scan] + data[scan:-2] * 200 + b"\xff\xd9"
    assert refusal(bomb) == "unsupported-format"


def test_sniff_agrees_with_the_decoder(scene: Grey, colour_scene: Grey, tmp_path: Path) -> None:
    for picture in (scene, colour_scene, scene[:33, :17]):
        for suffix in (".png", ".jpg", ".bmp", ".tiff"):
            data = encode(picture, suffix)
            header = sniff_image(memoryview(data))
            assert (header.height, header.width) == decode_image(data).pixels.shape[:2]
            assert header == sniff_image(data)


@given(st.data())
def test_no_byte_pattern_escapes_as_another_error(data: st.DataObject) -> None:
    suffix = data.draw(st.sampled_from([".png", ".jpg", ".bmp", ".tiff"]))
    original = bytearray(encode(np.arange(600, dtype=np.uint16).astype(np.uint8).reshape(20, 30), suffix))
    for _ in range(data.draw(st.integers(1, 6))):
        original[data.draw(st.integers(0, len(original) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(original)))
    try:
        decoded = decode_image(bytes(original[:cut]), DecodeLimits(max_pixels=1_000_000))
    except ImageRefused as refused:
        assert refused.reason in REASONS
    else:
        assert decoded.pixels.shape[:2] == (decoded.header.height, decoded.header.width)

"""Untrusted bytes: every supported format decodes exactly, everything else is refused with its reason."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
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


SHORT, LONG, SLONG, LONG8 = 3, 4, 9, 16
TIFF_TAGS = {  # a grey image of 8 x 8 pixels in one strip
    256: (LONG, 8),
    257: (LONG, 8),
    258: (SHORT, 8),
    259: (SHORT, 1),
    262: (SHORT, 1),
    273: (LONG, 0),
    277: (SHORT, 1),
    278: (LONG, 8),
    279: (LONG, 64),
}


def tiff(*changes: tuple[int, int, int], first: tuple[int, int, int] | None = None) -> bytes:
    """A TIFF file; each change is (tag, type, value), `first` an entry before all others."""
    entries = [(tag, *said) for tag, said in {**TIFF_TAGS, **{t: (k, v) for t, k, v in changes}}.items()]
    entries = sorted(entries) if first is None else [first, *sorted(entries)]
    pixels_at = 8 + 2 + 12 * len(entries) + 4
    directory = struct.pack("<H", len(entries))
    for tag, kind, value in entries:
        directory += struct.pack("<HHII", tag, kind, 1, pixels_at if tag in (273, 324) else value)
    return b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<I", 0) + bytes(range(64))


def sniff_refusal(data: bytes) -> str:
    """Refused by the header alone: the decoder refuses some of these too, after it has taken the memory."""
    with pytest.raises(ImageRefused) as caught:
        sniff_image(data)
    return caught.value.reason


def test_a_tiff_by_hand_decodes() -> None:
    assert decode_image(tiff()).pixels.tobytes() == bytes(range(64))


@pytest.mark.parametrize("kind", [SHORT, LONG])
def test_a_tiff_that_says_its_size_twice_is_damaged(kind: int) -> None:
    """libtiff believes the first of two equal tags."""
    assert sniff_refusal(tiff(first=(256, kind, 60_000))) == "damaged"


@pytest.mark.parametrize("kind", [SLONG, LONG8, 0, 99])
@pytest.mark.parametrize("tag", [256, 257, 273, 277, 279])
def test_a_tiff_tag_of_a_type_that_only_the_decoder_takes_is_damaged(tag: int, kind: int) -> None:
    assert sniff_refusal(tiff((tag, kind, 1))) == "damaged"
    assert sniff_refusal(tiff(first=(tag, kind, 60_000))) == "damaged"


def test_a_tiff_tile_is_not_the_bomb_that_the_image_is_not() -> None:
    assert sniff_refusal(tiff((322, LONG, 30_000), (323, LONG, 30_000))) == "damaged"
    assert sniff_image(tiff((322, LONG, 256), (323, LONG, 256))).pixels == 64


def test_the_decoder_has_a_limit_of_its_own() -> None:
    """For whatever the header check does not see. In a process of its own: OpenCV reads the limit when it is loaded."""
    program = (
        "import sys, andon_vision, cv2, numpy as np\n"
        "image = np.frombuffer(sys.stdin.buffer.read(), np.uint8)\n"
        "try: print(cv2.imdecode(image, cv2.IMREAD_UNCHANGED))\n"
        "except cv2.error as error: print('pixels' in str(error).lower())\n"
    )
    environment = {n: v for n, v in os.environ.items() if not n.startswith(("OPENCV_", "ANDON_"))}

    def run(pixels: int, **said: str) -> bytes:
        bomb = png_claiming(1000, pixels // 1000, zlib.compress(bytes(1000)))
        command = [sys.executable, "-c", program]
        return subprocess.run(
            command, input=bomb, env={**environment, **said}, capture_output=True, check=True
        ).stdout.strip()

    assert run(50_001_000) == b"True"
    assert run(1_001_000, ANDON_MAX_IMAGE_PIXELS="1_000_000") == b"True"
    assert run(1_001_000) != b"True"


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

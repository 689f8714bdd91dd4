"""Reads what an image file claims about itself without decoding a pixel.

Two things need this before any decoder may run: a decompression bomb must be refused by its claimed size, and a file
that stopped in the middle must be refused although decoders would happily fill the rest with grey.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from andon_vision.errors import (
    DAMAGED,
    EMPTY,
    NOT_AN_IMAGE,
    TRUNCATED,
    UNSUPPORTED_FORMAT,
    ImageRefused,
)

PNG: Final = "image/png"
JPEG: Final = "image/jpeg"
BMP: Final = "image/bmp"
TIFF: Final = "image/tiff"
MEDIA_TYPES: Final = (PNG, JPEG, BMP, TIFF)

_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_KNOWN_BUT_UNSUPPORTED: Final = (
    (b"GIF8", "GIF"),
    (b"8BPS", "Photoshop"),
    (b"%PDF", "PDF"),
    (b"II+\x00", "BigTIFF"),
    (b"MM\x00+", "BigTIFF"),
    (b"\x00\x00\x00\x0cjP", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
)
# A progressive JPEG may carry scan after scan, each a pass over all pixels; cameras use about ten.
_MAX_JPEG_SCANS: Final = 100
_MAX_TIFF_SEGMENTS: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What a file claims: sizes in pixels, `channels` as stored (1 grey, 3 colour, 2 or 4 with alpha)."""

    media_type: str
    width: int
    height: int
    channels: int
    bit_depth: int

    @property
    def pixels(self) -> int:
        """Number of pixels claimed."""
        return self.width * self.height


def sniff_image(data: bytes | memoryview) -> ImageHeader:
    """The header of a PNG, JPEG, BMP or TIFF file. Raises `ImageRefused` for anything else or a cut-off file."""
    view = memoryview(data).cast("B") if not isinstance(data, bytes) else memoryview(data)
    if not view:
        raise ImageRefused(EMPTY, "The file has no bytes; check the camera's writer or the upload.")
    head = bytes(view[:16])
    try:
        if head.startswith(_PNG_SIGNATURE):
            return _sniff_png(view)
        if head.startswith(b"\xff\xd8\xff"):
            return _sniff_jpeg(view)
        if head.startswith(b"BM"):
            return _sniff_bmp(view)
        if head.startswith((b"II*\x00", b"MM\x00*")):
            return _sniff_tiff(view)
    except (struct.error, IndexError) as error:
        raise _truncated() from error
    _refuse_unknown(head)
    raise AssertionError("unreachable")


def _refuse_unknown(head: bytes) -> None:
    name = next((name for magic, name in _KNOWN_BUT_UNSUPPORTED if head.startswith(magic)), None)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        name = "WebP"
    if name is not None:
        raise ImageRefused(UNSUPPORTED_FORMAT, f"{name} is not accepted; send PNG, JPEG, BMP or TIFF.")
    if any(
        signature.startswith(head) for signature in (_PNG_SIGNATURE, b"\xff\xd8\xff", b"II*\x00", b"MM\x00*")
    ):
        raise _truncated()
    raise ImageRefused(NOT_AN_IMAGE, "The bytes are not a PNG, JPEG, BMP or TIFF file.")


def _truncated() -> ImageRefused:
    return ImageRefused(TRUNCATED, "The file ends before the image does; check the network and the writer.")


def _damaged(what: str) -> ImageRefused:
    return ImageRefused(DAMAGED, f"{what}; take the picture again or check the camera's storage.")


def _checked(header: ImageHeader) -> ImageHeader:
    if header.width < 1 or header.height < 1:
        raise _damaged("The header claims an image without pixels")
    return header


# --- PNG ---------------------------------------------------------------------------------------------------------


def _sniff_png(view: memoryview) -> ImageHeader:
    length, kind = struct.unpack_from(">I4s", view, 8)
    if kind != b"IHDR" or length != 13:
        raise _damaged("A PNG file must begin with its header chunk")
    width, height, depth, colour = struct.unpack_from(">IIBB", view, 16)
    channels = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}.get(colour)
    if channels is None or depth not in (1, 2, 4, 8, 16):
        raise _damaged("The PNG header names a pixel format that does not exist")
    _walk_png_chunks(view)
    return _checked(ImageHeader(PNG, width, height, channels, 16 if depth == 16 else 8))


def _walk_png_chunks(view: memoryview) -> None:
    """Steps from chunk to chunk: a complete file reaches IEND and has image data before it."""
    position, has_pixels = 8, False
    while True:
        length, kind = struct.unpack_from(">I4s", view, position)
        position += 12 + length
        if position > len(view):
            raise _truncated()
        if kind == b"acTL":
            raise ImageRefused(
                UNSUPPORTED_FORMAT, "An animated PNG holds several images; send one per capture."
            )
        has_pixels = has_pixels or kind == b"IDAT"
        if kind == b"IEND":
            break
    if not has_pixels:
        raise _damaged("The PNG file holds no image data")


# --- JPEG --------------------------------------------------------------------------------------------------------

_SOF_BASELINE_OR_PROGRESSIVE: Final = frozenset({0xC0, 0xC1, 0xC2})
_SOF_OTHER: Final = frozenset({0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})


def _jpeg_segments(view: memoryview) -> Iterator[tuple[int, int]]:
    """(marker, position of its length field) of each segment up to and including the first scan."""
    position = 2
    while True:
        if view[position] != 0xFF:
            raise _damaged("The JPEG file has bytes between its segments")
        while view[position] == 0xFF:
            position += 1
        marker = view[position]
        position += 1
        if marker == 0xD9:
            raise _damaged("The JPEG file ends before its first scan")
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:
            continue
        yield marker, position
        (length,) = struct.unpack_from(">H", view, position)
        if length < 2:
            raise _damaged("A JPEG segment has an impossible length")
        position += length


def _sniff_jpeg(view: memoryview) -> ImageHeader:
    header: ImageHeader | None = None
    for marker, position in _jpeg_segments(view):
        if marker in _SOF_OTHER:
            raise ImageRefused(
                UNSUPPORTED_FORMAT, "Lossless or arithmetic JPEG is not accepted; send baseline JPEG."
            )
        if marker in _SOF_BASELINE_OR_PROGRESSIVE:
            header = _jpeg_frame(view, position)
        if marker == 0xDA:
            break
    if header is None:
        raise _damaged("The JPEG file has no frame header")
    _check_jpeg_end(view)
    return _checked(header)


def _jpeg_frame(view: memoryview, position: int) -> ImageHeader:
    precision, height, width, components = struct.unpack_from(">BHHB", view, position + 2)
    if precision != 8 or components not in (1, 3):
        raise ImageRefused(
            UNSUPPORTED_FORMAT, f"JPEG with {precision} bits and {components} components is not accepted."
        )
    return ImageHeader(JPEG, width, height, components, 8)


def _check_jpeg_end(view: memoryview) -> None:
    """A decoder fills a cut-off JPEG with grey and says nothing, so the end marker must really be there.

    Some cameras pad the file after the marker; zeros and line ends are forgiven.
    """
    data = view.tobytes()
    if not data.rstrip(b"\x00\r\n\xff").endswith(b"\xff\xd9") and not data.endswith(b"\xff\xd9"):
        raise _truncated()
    if data.count(b"\xff\xda") > _MAX_JPEG_SCANS:
        raise ImageRefused(UNSUPPORTED_FORMAT, "The JPEG file has too many scans; send baseline JPEG.")


# --- BMP ---------------------------------------------------------------------------------------------------------


def _sniff_bmp(view: memoryview) -> ImageHeader:
    (offset,) = struct.unpack_from("<I", view, 10)
    (header_size,) = struct.unpack_from("<I", view, 14)
    if header_size < 40:
        raise ImageRefused(UNSUPPORTED_FORMAT, "An OS/2 BMP is not accepted; send a Windows BMP or PNG.")
    width, height, planes, bits, compression = struct.unpack_from("<iiHHI", view, 18)
    if planes != 1 or bits not in (1, 4, 8, 16, 24, 32):
        raise _damaged("The BMP header names a pixel format that does not exist")
    if compression not in (0, 3):
        raise ImageRefused(
            UNSUPPORTED_FORMAT, "A compressed BMP is not accepted; send it uncompressed or as PNG."
        )
    # A negative height means rows from top to bottom.
    height = abs(height)
    stored = ((width * bits + 31) // 32) * 4 * height
    if offset + stored > len(view):
        raise _truncated()
    channels = 1 if bits <= 8 else 4 if bits == 32 else 3
    return _checked(ImageHeader(BMP, width, height, channels, 8))


# --- TIFF --------------------------------------------------------------------------------------------------------

_TIFF_TYPE: Final = {1: "B", 3: "H", 4: "I"}
_WIDTH, _HEIGHT, _BITS = 256, 257, 258
_STRIP_OFFSETS, _SAMPLES, _STRIP_BYTES = 273, 277, 279
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
_TILE_OFFSETS, _TILE_BYTES, _SAMPLE_FORMAT = 324, 325, 339
# Writers use tiles of 256 or 512 pixels even for a smaller image. A tile is decoded whole, so it may not be a bomb.
_TILE_SPARE: Final = 1024
_TIFF_TAGS: Final = frozenset(
    {
        _WIDTH,
        _HEIGHT,
        _BITS,
        _STRIP_OFFSETS,
        _SAMPLES,
        _STRIP_BYTES,
        _TILE_WIDTH,
        _TILE_HEIGHT,
        _TILE_OFFSETS,
        _TILE_BYTES,
        _SAMPLE_FORMAT,
    }
)


def _sniff_tiff(view: memoryview) -> ImageHeader:
    order = "<" if view[0] == 0x49 else ">"
    (directory,) = struct.unpack_from(f"{order}I", view, 4)
    (entries,) = struct.unpack_from(f"{order}H", view, directory)
    tags: dict[int, tuple[int, ...]] = {}
    for index in range(entries):
        tag, values = _tiff_entry(view, order, directory + 2 + 12 * index)
        if tag in tags:
            # The decoder would believe one of them, and not necessarily the one that was checked.
            raise _damaged(f"The TIFF directory has tag {tag} twice")
        tags[tag] = values
    (next_directory,) = struct.unpack_from(f"{order}I", view, directory + 2 + 12 * entries)
    if next_directory:
        raise ImageRefused(
            UNSUPPORTED_FORMAT, "A TIFF with several pages holds several images; send one per capture."
        )
    return _tiff_header(tags, len(view))


def _tiff_entry(view: memoryview, order: str, position: int) -> tuple[int, tuple[int, ...]]:
    """One directory entry as (tag, numbers); no numbers for tags that nobody asks for."""
    tag, kind, count = struct.unpack_from(f"{order}HHI", view, position)
    if tag not in _TIFF_TAGS:
        return tag, ()
    if kind not in _TIFF_TYPE:
        # The decoder also takes signed and 64-bit numbers here: an entry must not count there and be unseen here.
        raise _damaged(f"TIFF tag {tag} has type {kind}, which the standard does not provide for it")
    if not 0 < count <= _MAX_TIFF_SEGMENTS:
        raise _damaged(f"TIFF tag {tag} claims {count} values")
    code = _TIFF_TYPE[kind]
    size = struct.calcsize(code) * count
    where = position + 8
    if size > 4:
        (where,) = struct.unpack_from(f"{order}I", view, where)
    return tag, struct.unpack_from(f"{order}{count}{code}", view, where)


def _tiff_header(tags: dict[int, tuple[int, ...]], size: int) -> ImageHeader:
    if len(tags.get(_WIDTH, ())) != 1 or len(tags.get(_HEIGHT, ())) != 1:
        raise _damaged("The TIFF directory has no image size")
    (width,), (height,) = tags[_WIDTH], tags[_HEIGHT]
    for tile, side in ((tags.get(_TILE_WIDTH), width), (tags.get(_TILE_HEIGHT), height)):
        if tile is not None and max(tile) > side + _TILE_SPARE:
            raise _damaged("The TIFF directory claims tiles far larger than the image")
    depth = max(tags.get(_BITS, (1,)))
    if depth > 16 or any(kind != 1 for kind in tags.get(_SAMPLE_FORMAT, (1,))):
        raise ImageRefused(UNSUPPORTED_FORMAT, "Only unsigned TIFF with 8 or 16 bits is accepted.")
    offsets = tags.get(_STRIP_OFFSETS) or tags.get(_TILE_OFFSETS)
    counts = tags.get(_STRIP_BYTES) or tags.get(_TILE_BYTES)
    if not offsets or not counts or len(offsets) != len(counts):
        raise _damaged("The TIFF directory does not say where its pixels are")
    if any(offset + count > size for offset, count in zip(offsets, counts, strict=True)):
        raise _truncated()
    channels = tags.get(_SAMPLES, (1,))[0]
    if channels not in (1, 2, 3, 4):
        raise ImageRefused(UNSUPPORTED_FORMAT, f"A TIFF with {channels} samples per pixel is not accepted.")
    return _checked(ImageHeader(TIFF, width, height, channels, 16 if depth == 16 else 8))

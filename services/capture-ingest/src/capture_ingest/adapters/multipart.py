"""multipart/form-data as a stream with hard limits: nothing is buffered beyond them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from andon_chassis.http import Problem
from multipart import (  # type: ignore[import-untyped]
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
)

LARGEST_METADATA = 1024 * 1024


@dataclass(slots=True)
class Form:
    """The parts of an upload.

    Attributes:
        images: The files of the field `image`, in order.
        metadata: The JSON value of the field `metadata`; None when there is none.
    """

    images: list[bytes] = field(default_factory=list)
    metadata: Any = None


async def read_form(
    chunks: AsyncIterator[bytes], boundary: str, *, most_images: int, largest_image: int
) -> Form:
    """Read a form of `image` files and one `metadata` field. Raises Problem."""
    form = Form()
    part: MultipartSegment | None = None
    held = bytearray()
    # One segment more than allowed, so that the sender hears of too many images and not of a parser's limit.
    with PushMultipartParser(boundary, max_segment_count=most_images + 2) as parser:
        try:
            async for chunk in chunks:
                for found in parser.parse(chunk):
                    if isinstance(found, MultipartSegment):
                        part, held = _known(found), bytearray()
                    elif found is not None:
                        held += found
                        _check_size(part, len(held), largest_image)
                    elif part is not None:
                        _finish(form, part, held, most_images)
                        part = None
        except ParserLimitReached as error:
            raise Problem(413, "too-large", f"The form exceeds a limit: {error}.") from error
        except MultipartError as error:
            raise Problem(422, "invalid-form", f"The multipart body is damaged: {error}.") from error
        if not parser.closed:
            raise Problem(422, "invalid-form", "The multipart body ends before its last boundary.")
    return form


def _known(part: MultipartSegment) -> MultipartSegment:
    if part.name not in ("image", "metadata"):
        raise Problem(422, "invalid-form", f"There is no field {part.name!r}; send `image` and `metadata`.")
    return part


def _check_size(part: MultipartSegment | None, size: int, largest_image: int) -> None:
    most = largest_image if part is not None and part.name == "image" else LARGEST_METADATA
    if size > most:
        raise Problem(413, "too-large", f"This field may have at most {most} bytes.")


def _finish(form: Form, part: MultipartSegment, held: bytearray, most_images: int) -> None:
    if part.name == "metadata":
        form.metadata = parse_json(bytes(held))
    elif len(form.images) == most_images:
        raise Problem(413, "too-many-images", f"At most {most_images} images fit into one request.")
    else:
        form.images.append(bytes(held))


def parse_json(text: bytes) -> Any:
    """Metadata as JSON. Raises Problem."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Problem(422, "invalid-metadata", f"The metadata are not JSON: {error}.") from error

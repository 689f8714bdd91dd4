"""The bytes of images: cacheable for ever, and nothing that a browser would run."""

from __future__ import annotations

from typing import Any, Literal

from andon_chassis.errors import Invalid
from andon_chassis.http import Problem
from andon_events.records import ObjectRef
from fastapi import Response

from dataset_registry.api.context import FILE, Context
from dataset_registry.api.etags import ETAG
from dataset_registry.ports import Row

_SHOWN = {"image/png", "image/jpeg", "image/bmp", "image/tiff", "image/webp"}
_OTHER = "application/octet-stream"
View = Literal["original", "screen", "thumbnail"]
BYTES: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {media_type: FILE for media_type in sorted({*_SHOWN, _OTHER})},
        "headers": ETAG,
    },
    304: {"description": "The caller has it already.", "headers": ETAG},
    404: {"description": "No such capture or image, or nothing of that kind for it."},
    410: {"description": "The object store does not keep it any more."},
}


def unchanging(tag: str) -> dict[str, str]:
    """Headers of what never changes, and of which a browser runs nothing."""
    return {
        "ETag": f'"{tag}"',
        "Cache-Control": "private, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }


def pictured(context: Context, row: Row, view: View, known: str | None) -> Response:
    """An image by its claim check.

    Args:
        known: What the caller has, as its If-None-Match says.
    """
    ref = ObjectRef.from_avro(row)
    headers = unchanging(f"{ref.sha256}.{view}")
    if known and headers["ETag"] in known:
        return Response(status_code=304, headers=headers)
    try:
        picture = getattr(context.pictures, view)(ref)
    except Invalid as error:
        status = 410 if error.reason == "missing-object" else 422
        raise Problem(status, error.reason, error.advice) from error
    media_type = picture.media_type if picture.media_type in _SHOWN else _OTHER
    return Response(picture.data, media_type=media_type, headers=headers)

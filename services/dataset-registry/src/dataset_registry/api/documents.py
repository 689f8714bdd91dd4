"""What a release says of itself: the description of its bundle, and pages that were published with it."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from andon_chassis.errors import Invalid
from andon_chassis.http import Problem
from andon_events.records import ObjectRef
from fastapi import APIRouter, Path, Response

from dataset_registry.api.context import Context, found
from dataset_registry.api.etags import ETAG, TAGGED
from dataset_registry.api.shapes import Name
from dataset_registry.ports import Row

# A page may hold scripts and fetch from anywhere: in a browser it may do neither, and is nobody's origin.
_STRANGER = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"
_GONE: dict[int | str, dict[str, Any]] = {
    404: {"description": "No such release, or nothing of that kind for it."},
    410: {"description": "The object store does not keep it any more."},
}

_PAGE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/html": {"schema": {"type": "string"}}}, "headers": ETAG}
}

InPath = Annotated[Name, Path()]


def router(context: Context) -> APIRouter:
    """Documents under /v1/releases."""
    routes = APIRouter(prefix="/v1/releases", tags=["reference data"])

    @routes.get("/{release}/card", response_model=dict[str, Any], responses=TAGGED | _GONE)
    def read_card(release: InPath) -> Response:
        """The description of the release's bundle: data, figures, thresholds, preprocessing, hashes."""
        advice = "no description was published with it; publish the bundle again."
        return _document(found(_release(release)["card"], "card of release", release, advice))

    @routes.get(
        "/{release}/reports/{name}",
        response_class=Response,
        responses=_PAGE | _GONE,
    )
    def read_report(release: InPath, name: InPath) -> Response:
        """A page about the release, as it was published; browsers run no script in it."""
        advice = "the release's `reports` name those that there are."
        return _document(found(_release(release)["reports"].get(name), "report", f"{release} {name}", advice))

    def _release(release: str) -> Row:
        advice = "wait until the trainer's model.trained has arrived."
        with context.sessions() as session:
            return found(session.views.release(release), "release", release, advice)

    def _document(ref: Row) -> Response:
        try:
            data = context.objects.get(ObjectRef.from_avro(ref))
        except Invalid as error:
            raise Problem(410, error.reason, error.advice) from error
        headers = {
            "ETag": f'"{ref["sha256"]}"',
            "Cache-Control": "private, no-cache",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": _STRANGER,
        }
        media_type = ref["media_type"] if ref["media_type"] == "application/json" else "text/html"
        return Response(data, media_type=media_type, headers=headers)

    return routes


def with_documents(row: Row) -> Row:
    """A release with the addresses of what it says of itself."""
    here = f"/v1/releases/{quote(row['release'], safe='')}"
    reports = [
        {"name": name, "url": f"{here}/reports/{quote(name, safe='')}", "size_bytes": ref["size_bytes"]}
        for name, ref in sorted(row["reports"].items())
    ]
    return row | {"card_url": f"{here}/card" if row["card"] else None, "reports": reports}

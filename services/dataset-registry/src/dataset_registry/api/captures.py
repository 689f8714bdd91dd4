"""Captures, and the bytes of their images and heat maps."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Response

from dataset_registry.api import door
from dataset_registry.api.context import Context, Cursor, Limit, Sought, found
from dataset_registry.api.etags import IfNoneMatch
from dataset_registry.api.pictures import BYTES, View, pictured
from dataset_registry.api.shapes import Capture, CaptureDetail, DispositionKind, Moment, Page
from dataset_registry.ports import Row

_ADVICE = "look at GET /v1/captures; it may also be on its way still."


def router(context: Context) -> APIRouter:
    """Routes under /v1/captures."""
    routes = APIRouter(prefix="/v1/captures", tags=["captures"])

    @routes.get("", response_model=Page[Capture])
    def list_captures(
        line: Sought = None,
        station: Sought = None,
        kind: DispositionKind | None = None,
        part_id: Sought = None,
        since: Moment | None = None,
        until: Moment | None = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> dict[str, object]:
        """Captures, the last received first. `kind` is that of the disposition that stands."""
        wanted = {
            "line": line,
            "station": station,
            "kind": kind,
            "part_id": part_id,
            "since": since,
            "until": until,
        }
        with context.sessions() as session:
            page = session.views.captures(wanted, limit, cursor)
        return {"items": [_capture(row) for row in page.items], "next_cursor": page.next_cursor}

    @routes.get("/{capture_id}", response_model=CaptureDetail)
    def read_capture(capture_id: UUID) -> dict[str, object]:
        """A capture with its dispositions, reviews, labels and findings; of one in a holdout, reviews and labels are
        for those who label."""
        with context.sessions() as session:
            row = found(session.views.capture(str(capture_id)), "capture", capture_id, _ADVICE)
            if not door.labels() and session.datasets.holdouts_with([str(capture_id)]):
                row |= {"labels": [], "reviews": []}
        details = {name: row[name] for name in ("history", "labels", "findings")}
        regions = (row["model_evidence"] or {}).get("regions") or []
        reviews = [with_urls(review) for review in row["reviews"]]
        return _capture(row) | details | {"regions": regions, "reviews": reviews}

    @routes.get("/{capture_id}/image", response_class=Response, responses=BYTES)
    def read_image(capture_id: UUID, view: View = "original", if_none_match: IfNoneMatch = None) -> Response:
        """The image as it was taken; or for people, at full size in a form that browsers show, or small."""
        with context.sessions() as session:
            ref = session.views.image(str(capture_id))
        return pictured(context, found(ref, "capture", capture_id, _ADVICE), view, if_none_match)

    @routes.get("/{capture_id}/heat-map", response_class=Response, responses=BYTES)
    def read_heat_map(capture_id: UUID, if_none_match: IfNoneMatch = None) -> Response:
        """Where the model looked: a grey PNG in the image's proportions."""
        with context.sessions() as session:
            ref = session.views.heat_map(str(capture_id))
        advice = "the model made none, or has not decided."
        return pictured(context, found(ref, "heat map", capture_id, advice), "original", if_none_match)

    return routes


def with_urls(review: Row) -> Row:
    """A review with the addresses of its images."""
    heat_map = f"/v1/captures/{review['capture_id']}/heat-map" if review["has_heat_map"] else None
    return review | {"image_url": f"/v1/captures/{review['capture_id']}/image", "heat_map_url": heat_map}


def _capture(row: Row) -> Row:
    here = f"/v1/captures/{row['capture_id']}"
    image, model = row["image"], row["model_evidence"] or {}
    return row | {
        "image": image["object"] | image | {"url": f"{here}/image"},
        "heat_map_url": f"{here}/heat-map" if row["has_heat_map"] else None,
        "disposition": row if row["disposition_id"] else None,
        **{name: model.get(name) for name in ("model_release", "predicted_class", "defect_score")},
        "scores": model.get("scores") or {},
    }

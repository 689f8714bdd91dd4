"""Images of the labeling room: a list that filters narrow down, and one image with its whole history."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode
from uuid import UUID, uuid4

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from console.batch_pages import Page
from console.domain import dataset_pages, image_pages, work_pages
from console.ports import Json, RefusedByRegistry, Registry

_PAGE, _LISTED = 60, 100
_MEANT = 20
"""Of so many annotations, the last ones, a page says what they mean today."""
_UNKNOWN = 404


def add(routes: APIRouter, registry: Registry, page: Page) -> None:
    """Routes under images, on those of /quality."""

    @routes.get("/images")
    async def images(
        request: Request,
        class_name: str = "",
        batch: str = "",
        state: str = "",
        segment: str = "",
        origin: str = "",
        line: str = "",
        station: str = "",
        part_number: str = "",
        part_id: str = "",
        dataset: str = "",
        cursor: str = "",
    ) -> Response:
        """What passes all filters; those of a dataset version are listed from the version."""
        if dataset:
            query = urlencode({"class_name": class_name.strip(), "segment": segment})
            return RedirectResponse(f"/quality/datasets/{dataset}/images?{query}", 303)
        texts = {
            "class_name": class_name,
            "line": line,
            "station": station,
            "part_number": part_number,
            "part_id": part_id,
        }
        wanted = {name: text.strip() for name, text in texts.items()}
        wanted |= {
            "batch": _uuid(batch),
            "state": state if state in work_pages.STATES else "",
            "segment": segment if segment in image_pages.SEGMENTS else "",
            "origin": origin if origin in ("capture", "import") else "",
        }
        asked = {name: text for name, text in wanted.items() if name != "batch"} | {
            "batch_id": wanted["batch"]
        }
        found, batches, versions, taxonomies = await asyncio.gather(
            registry.get("/v1/images", **asked, limit=_PAGE, cursor=cursor),
            registry.get("/v1/batches", limit=_LISTED),
            registry.get("/v1/datasets/snapshots", limit=_LISTED),
            registry.get("/v1/taxonomies"),
        )
        kept = {name: text for name, text in wanted.items() if text}
        more = found["next_cursor"]
        return await page(
            "images.html",
            request,
            images=found["items"],
            wanted=wanted,
            here_is="/quality/images?" + urlencode(kept),
            more=urlencode(kept | {"cursor": more}) if more else None,
            first=not cursor,
            batches=batches["items"],
            versions=versions["items"],
            classes=[one["name"] for version in taxonomies["items"][:1] for one in version["classes"]],
            key=str(uuid4()),
            pages=image_pages,
            states=work_pages.STATES,
            datasets=dataset_pages,
        )

    @routes.get("/images/{image_id}")
    async def image(request: Request, image_id: UUID, annotation: str = "") -> Response:
        """One image; a capture that was never labeled here has its own page."""
        try:
            found = await registry.get(f"/v1/images/{image_id}")
        except RefusedByRegistry as refused:
            if refused.status != _UNKNOWN:
                raise
            return RedirectResponse(f"/captures/{image_id}", 303)
        last = [one["annotation_id"] for one in found["history"][-_MEANT:] if one["origin"] != "model"]
        meant = await asyncio.gather(*(_meant(registry, one) for one in last))
        shown = image_pages.chosen(found, annotation)
        return await page(
            "image.html",
            request,
            image=found,
            shown=shown,
            marks=image_pages.overlay(
                shown["annotation"] if shown else None, found["width"], found["height"]
            ),
            meant=dict(zip(last, meant, strict=True)),
            pages=image_pages,
        )


async def _meant(registry: Registry, label_id: str) -> Json | None:
    """What a label meant and is called today; None where no taxonomy tells."""
    try:
        return await registry.get(f"/v1/labels/{label_id}/taxonomy")
    except RefusedByRegistry:
        return None


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        return ""

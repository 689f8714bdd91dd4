"""Pages of the data behind the models: how far people agree, dataset versions, and the work that is left."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal
from urllib.parse import urlencode
from uuid import UUID, uuid4

from fastapi import APIRouter, Query, Request, Response
from pydantic import StringConstraints

from console import batch_pages, dataset_forms, exchange_pages, image_pages, readiness_pages
from console.batch_pages import Back, Page, Who
from console.domain import agreement_plot, dataset_pages
from console.domain import image_pages as image_words
from console.ports import Registry

Hash = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
By = Literal["class", "part", "camera", "reviewer", "week"]

_VERSIONS = "/v1/datasets/snapshots"
_PAGE, _SHOWN = 50, 60
_MOST_BYTES = 32_000_000
"""Of a manifest that is read for a page."""
_BATCHES, _REVIEWS, _IMAGES = 100, 200, 36
"""How many of each are looked through for the images behind a figure."""


def router(registry: Registry, page: Page, who: Who, back: Back) -> APIRouter:
    """Routes under /quality/agreement, /quality/datasets and /quality/work.

    Args:
        page: Renders a template: name, request, values.
        who: The person at the desk.
        back: Goes to a path, with one sentence about what happened.
    """
    routes = APIRouter(prefix="/quality")
    _agreement(routes, registry, page)
    dataset_forms.add(routes, registry, page, who, back)
    _datasets(routes, registry, page)
    readiness_pages.add(routes, registry, page)
    image_pages.add(routes, registry, page)
    exchange_pages.add(routes, registry, page, who, back)
    batch_pages.add(routes, registry, page, who, back)
    return routes


def _agreement(routes: APIRouter, registry: Registry, page: Page) -> None:
    @routes.get("/agreement")
    async def agreement(
        request: Request, by: By = "class", batch: str = "", class_name: str = ""
    ) -> Response:
        asked = {"by": by, "batch_id": _batch(batch), "class": class_name.strip() or None}
        report, batches = await asyncio.gather(
            registry.get("/v1/agreement", **asked), registry.get("/v1/batches", limit=_BATCHES)
        )
        scale = agreement_plot.scale(agreement_plot.figures(report))
        return await page(
            "agreement.html",
            request,
            report=report,
            batches=[one for one in batches["items"] if one["mode"] != "single"],
            BY=agreement_plot.BY,
            by=by,
            batch=batch,
            class_name=class_name.strip(),
            classes=[one["name"] for one in report["slices"]] if by == "class" else [],
            scale=scale,
            overall=agreement_plot.row(report, scale),
            slices=[(one["name"], one["images"], agreement_plot.row(one, scale)) for one in report["slices"]],
            pairs=agreement_plot.pairs(report, scale),
            regions=agreement_plot.regions(report, scale),
            verdict=agreement_plot.verdict(report["alpha"]),
        )

    @routes.get("/agreement/images")
    async def behind(
        request: Request, by: By | Literal[""] = "", name: str = "", batch: str = ""
    ) -> Response:
        judged, complete = await _judged(registry, _batch(batch))
        return await page(
            "agreement_images.html",
            request,
            found=agreement_plot.behind(judged, by, name),
            complete=complete,
            heading=agreement_plot.heading(by, name),
            by=by,
            batch=batch,
        )


def _datasets(routes: APIRouter, registry: Registry, page: Page) -> None:
    @routes.get("/datasets")
    async def versions(request: Request, cursor: str = "") -> Response:
        found = await registry.get(_VERSIONS, limit=_PAGE, cursor=cursor)
        return await page(
            "datasets.html",
            request,
            versions=found["items"],
            more=found["next_cursor"],
            pages=dataset_pages,
        )

    @routes.get("/datasets/compare")
    async def compare(request: Request, before: Hash, after: Hash) -> Response:
        old, new, diff = await asyncio.gather(
            registry.get(f"{_VERSIONS}/{before}"),
            registry.get(f"{_VERSIONS}/{after}"),
            registry.get(f"/v1/datasets/{before}/diff/{after}", limit=_SHOWN),
        )
        return await page(
            "datasets_diff.html",
            request,
            before=old,
            after=new,
            diff=diff,
            changes=dataset_pages.changes(diff),
            shown=_SHOWN,
            pages=dataset_pages,
        )

    @routes.get("/datasets/{version}")
    async def version(request: Request, version: Hash) -> Response:
        found, others = await asyncio.gather(
            registry.get(f"{_VERSIONS}/{version}"), registry.get(_VERSIONS, limit=_PAGE)
        )
        readings = (
            (await registry.get(f"{_VERSIONS}/{version}/holdout/readings", limit=_PAGE))["items"]
            if found["holdout"]
            else []
        )
        return await page(
            "datasets_version.html",
            request,
            version=found,
            others=[one for one in others["items"] if one["hash"] != version],
            readings=readings,
            parts=dataset_pages.parts(found),
            pages=dataset_pages,
        )

    @routes.get("/datasets/{version}/images")
    async def images(
        request: Request,
        version: Hash,
        segment: str = "",
        class_name: str = "",
        part: str = "",
        start: Annotated[int, Query(ge=0)] = 0,
    ) -> Response:
        """The images behind a figure of a version; those of the holdout are not among them."""
        found = await registry.get(f"{_VERSIONS}/{version}")
        readable = found["manifest"]["size_bytes"] <= _MOST_BYTES
        manifest = await registry.get(f"{_VERSIONS}/{version}/manifest") if readable else {"items": []}
        wanted = {"segment": segment, "class_name": class_name, "part": part}
        behind = dataset_pages.behind(manifest["items"], wanted)
        return await page(
            "datasets_images.html",
            request,
            version=found,
            wanted=[name for name in wanted.values() if name],
            readable=readable,
            number=len(behind),
            start=start,
            images=behind[start : start + _SHOWN],
            shown=_SHOWN,
            query=urlencode({name: text for name, text in wanted.items() if text}),
            key=str(uuid4()),
            pages=dataset_pages,
            words=image_words,
        )

    @routes.get("/datasets/{version}/leakage")
    async def leakage(request: Request, version: Hash) -> Response:
        found, report = await asyncio.gather(
            registry.get(f"{_VERSIONS}/{version}"), registry.get(f"{_VERSIONS}/{version}/leakage")
        )
        return await page("datasets_leakage.html", request, version=found, report=report, pages=dataset_pages)


async def _judged(registry: Registry, batch: str | None) -> tuple[list[agreement_plot.Judged], bool]:
    """The latest images that several people judged, and whether these are all there are."""
    if batch:
        batches, reviews = [batch], []
        complete = True
    else:
        found, *decided = await asyncio.gather(
            registry.get("/v1/batches", limit=_BATCHES),
            *(
                registry.get("/v1/reviews", state=state, limit=_REVIEWS)
                for state in ("completed", "disputed")
            ),
        )
        batches = [one["batch_id"] for one in found["items"] if one["mode"] != "single"]
        reviews = [one for page in decided for one in page["items"] if one["answers_wanted"] > 1]
        complete = not any(page["next_cursor"] for page in (found, *decided))
    ids: list[str] = []
    for one in batches:
        listed = await registry.get("/v1/images", batch_id=one, limit=_IMAGES)
        ids += [image["image_id"] for image in listed["items"]]
        complete = complete and not listed["next_cursor"]
        if len(ids) >= _IMAGES:
            complete = complete and one == batches[-1]
            break
    details = await asyncio.gather(*(registry.get(f"/v1/images/{one}") for one in dict.fromkeys(ids)))
    judged = [agreement_plot.reviewed(one) for one in reviews]
    return judged + [agreement_plot.annotated(one) for one in details], complete


def _batch(text: str) -> str | None:
    """A batch's id as it came in an address; what is none asks for all."""
    try:
        return str(UUID(text))
    except ValueError:
        return None

"""Forms about data: a version that is cut, and what images are there for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated
from uuid import uuid4

from andon_chassis.errors import Unavailable
from fastapi import APIRouter, Query, Request, Response

from console.batch_pages import NOBODY, Back, Page, Who
from console.domain import dataset_pages, version_form
from console.domain.version_form import Typed
from console.domain.words import count
from console.ports import RefusedByRegistry, Registry

_VERSIONS = "/v1/datasets/snapshots"
_MOST = 200
_PATIENCE_S = 120.0
"""How long a page waits for a version: it looks at every pair of images."""
_SLOW = "It takes longer than this page can wait. It goes on; look at the list of versions in a minute."


def add(routes: APIRouter, registry: Registry, page: Page, who: Who, back: Back) -> None:
    """Routes under datasets and segment-marks, on those of /quality."""
    _cut(routes, registry, page, who, back)
    _marks(routes, registry, who, back)


def _cut(routes: APIRouter, registry: Registry, page: Page, who: Who, back: Back) -> None:
    async def form(
        request: Request, typed: Typed, key: str, errors: Mapping[str, str], refused: str | None = None
    ) -> Response:
        versions, stations, taxonomies = await asyncio.gather(
            registry.get(_VERSIONS, limit=50), registry.get("/v1/stations"), registry.get("/v1/taxonomies")
        )
        places = stations["items"]
        known = {
            "lines": sorted({one["line"] for one in places}),
            "stations": sorted({one["station"] for one in places}),
            "classes": [one["name"] for version in taxonomies["items"][:1] for one in version["classes"]],
        }
        answer = await page(
            "datasets_new.html",
            request,
            typed=typed,
            errors=errors,
            refused=refused,
            key=key,
            versions=versions["items"],
            known=known,
            form=version_form,
            pages=dataset_pages,
        )
        answer.status_code = 422 if errors or refused else 200
        return answer

    @routes.get("/datasets/new")
    async def begin(
        request: Request, keys: Annotated[list[str] | None, Query()] = None, keep: str = ""
    ) -> Response:
        """A form that nobody has touched; a link may have chosen what stays together, and where."""
        texts = {**version_form.EMPTY.texts, "keep": keep}
        return await form(request, Typed(texts, keys or version_form.EMPTY.keys), str(uuid4()), {})

    @routes.post("/datasets")
    async def cut(request: Request) -> Response:
        data = await request.form()
        texts = {name: value for name, value in data.items() if isinstance(value, str)}
        typed = Typed(texts, [str(key) for key in data.getlist("keys")])
        person, key = who(request), texts.get("key") or str(uuid4())
        if person is None:
            return await form(request, typed, key, {}, NOBODY)
        body, errors = version_form.body(typed, person)
        if errors:
            return await form(request, typed, key, errors)
        try:
            made = await registry.post(_VERSIONS, body, key, patience_s=_PATIENCE_S)
        except RefusedByRegistry as refused:
            return await form(request, typed, str(uuid4()), {}, refused.advice)
        except Unavailable:
            return back("/quality/datasets", _SLOW)
        warnings = len(made["warnings"])
        said = f"{count(made['items'])} images are in it" + (
            f", with {warnings} warnings." if warnings else "."
        )
        return back(f"/quality/datasets/{made['hash']}", said)


def _marks(routes: APIRouter, registry: Registry, who: Who, back: Back) -> None:
    @routes.post("/segment-marks")
    async def mark(request: Request) -> Response:
        """Say of the images that are ticked what they are there for; `segment` empty takes earlier marks back."""
        data = await request.form(max_fields=2 * _MOST + 20)
        texts = {name: value for name, value in data.items() if isinstance(value, str)}
        images = [str(image_id) for image_id in data.getlist("shown" if "all" in texts else "image")]
        person, here = who(request), texts.get("back", "")
        here = here if here.startswith("/quality/") else "/quality/images"
        if person is None:
            return back(here, NOBODY)
        if not images:
            return back(here, "Tick at least one image.")
        segment, note = texts.get("segment") or None, texts.get("note", "").strip() or None
        kind = texts.get("kind") if segment == "edge-case" else None
        marks = [{"image_id": one, "segment": segment, "kind": kind or None, "note": note} for one in images]
        try:
            done = await registry.post(
                "/v1/datasets/segment-marks",
                {"marked_by": person, "marks": marks},
                texts.get("key") or str(uuid4()),
            )
        except RefusedByRegistry as refused:
            return back(here, refused.advice)
        return back(
            here, f"{count(done['marked'])} images are marked; versions that are cut from now on know it."
        )

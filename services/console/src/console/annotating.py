"""The labeling room: pages to annotate, review and adjudicate, and the console's own way to the registry for them.

The scripts of these pages know no person and no other address: who is at the desk is added here, and what the registry
answers - a task, a refusal, an ETag - goes back as it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal
from uuid import UUID

from andon_chassis.errors import Unavailable
from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException

from console.domain.annotate_texts import texts
from console.modules import MODULES, address, modules
from console.ports import Json, Registry

MOST_BYTES = 16_000_000
"""Of one request: a draft with many masks is far below it."""
_FOR_EVER = "public, max-age=31536000, immutable"

Page = Callable[..., Awaitable[Response]]
Who = Callable[[Request], str | None]
Kind = Literal["label", "review", "adjudicate"]


def router(registry: Registry, page: Page, who: Who) -> APIRouter:
    """Routes under /annotate.

    Args:
        page: Renders a template: name, request, values.
        who: The person at the desk.
    """
    routes = APIRouter(prefix="/annotate")
    _files(routes, registry)
    _relayed(routes, registry, who)
    _pages(routes, registry, page, who)
    return routes


def _files(routes: APIRouter, registry: Registry) -> None:
    @routes.get("/modules/{version}/{name}")
    async def module(version: str, name: str) -> Response:
        now, names = modules()
        if name not in names:
            raise HTTPException(404)
        kept = _FOR_EVER if version == now else "no-cache"
        return FileResponse(MODULES / name, media_type="text/javascript", headers={"Cache-Control": kept})

    @routes.get("/images/{image_id}/{view}")
    async def picture(
        image_id: UUID,
        view: Literal["original", "screen", "thumbnail"],
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> Response:
        found = await registry.stream(f"/v1/images/{image_id}/picture?view={view}", if_none_match)
        return StreamingResponse(found.body, found.status, dict(found.headers))


def _relayed(routes: APIRouter, registry: Registry, who: Who) -> None:
    async def relay(request: Request, path: str, **query: str) -> Response:
        person = who(request)
        if person is None:
            return _problem(401, "nobody", "Say who you are, at the top right.")
        body: Json | None = None
        if request.method in {"POST", "PUT"}:
            if int(request.headers.get("content-length") or MOST_BYTES + 1) > MOST_BYTES:
                return _problem(413, "too-large", "This is more than one image's annotation can be.")
            try:
                given = await request.json()
            except ValueError:
                given = None
            if not isinstance(given, dict):
                return _problem(422, "unreadable", "The body is no JSON object.")
            body = {**given, "person": person}
        passed = {
            name: request.headers[name] for name in ("if-match", "idempotency-key") if name in request.headers
        }
        if request.method == "DELETE" or "person" in query:
            query["person"] = person
        try:
            answer = await registry.relay(request.method, path, body, passed, query)
        except Unavailable:
            return _problem(503, "registry-away", "The registry does not answer; try again.")
        return Response(answer.body, answer.status, dict(answer.headers))

    @routes.post("/api/next")
    async def next_task(request: Request) -> Response:
        return await relay(request, "/v1/work/next")

    @routes.get("/api/tasks/{task_id}")
    async def task(request: Request, task_id: UUID) -> Response:
        return await relay(request, f"/v1/tasks/{task_id}", person="")

    @routes.put("/api/tasks/{task_id}/draft")
    async def draft(request: Request, task_id: UUID) -> Response:
        return await relay(request, f"/v1/tasks/{task_id}/draft")

    @routes.delete("/api/tasks/{task_id}/claim")
    async def claim(request: Request, task_id: UUID) -> Response:
        return await relay(request, f"/v1/tasks/{task_id}/claim")

    @routes.post("/api/tasks/{task_id}/{command}")
    async def said(request: Request, task_id: UUID, command: Literal["annotations", "reviews"]) -> Response:
        return await relay(request, f"/v1/tasks/{task_id}/{command}")

    @routes.get("/api/images/{image_id}")
    async def image(request: Request, image_id: UUID) -> Response:
        return await relay(request, f"/v1/images/{image_id}")

    @routes.get("/api/taxonomies/{version}")
    async def taxonomy(request: Request, version: str) -> Response:
        return await relay(request, f"/v1/taxonomies/{version}")


def _pages(routes: APIRouter, registry: Registry, page: Page, who: Who) -> None:
    async def shown(
        request: Request, template: str, kind: str, task_id: UUID | None, batch: UUID | None, **more: Any
    ) -> Response:
        words, (_, names) = texts(), modules()
        open_batches = (await registry.get("/v1/batches", open="true", limit=100))["items"]
        return await page(
            template,
            request,
            t=words.__getitem__,
            texts=words,
            kind=kind,
            task_id=str(task_id or ""),
            batch_id=str(batch or ""),
            batches=open_batches,
            who=who(request),
            modules=address(),
            names=names,
            **more,
        )

    @routes.get("")
    async def first(request: Request, batch: UUID | None = None) -> Response:
        return await shown(request, "annotate.html", "label", None, batch)

    @routes.get("/review")
    async def review(request: Request, batch: UUID | None = None) -> Response:
        return await shown(request, "review_annotations.html", "review", None, batch)

    @routes.get("/adjudicate")
    async def adjudicate(request: Request, batch: UUID | None = None) -> Response:
        return await shown(request, "review_annotations.html", "adjudicate", None, batch)

    @routes.get("/adjudicate/{task_id}/decide")
    async def decide(
        request: Request, task_id: UUID, by: UUID | None = None, batch: UUID | None = None
    ) -> Response:
        """An editor that begins with one of the answers; what it sends ends the dispute."""
        return await shown(request, "annotate.html", "decide", task_id, batch, by=str(by or ""))

    @routes.get("/{kind}/{task_id}")
    async def one(
        request: Request, kind: Literal["review", "adjudicate"], task_id: UUID, batch: UUID | None = None
    ) -> Response:
        return await shown(request, "review_annotations.html", kind, task_id, batch)

    @routes.get("/{task_id}")
    async def again(request: Request, task_id: UUID, batch: UUID | None = None) -> Response:
        return await shown(request, "annotate.html", "label", task_id, batch)


def _problem(status: int, title: str, detail: str) -> Response:
    return JSONResponse(
        {"type": "about:blank", "title": title, "status": status, "detail": detail},
        status,
        media_type="application/problem+json",
    )

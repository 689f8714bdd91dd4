"""The readiness package of a dataset version: JSON, a page, or a PDF."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from andon_chassis.errors import Invalid
from andon_chassis.http import Problem as Gone
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import HTMLResponse

from dataset_registry.api.context import FILE, Context, found
from dataset_registry.api.datasets import Hash
from dataset_registry.api.readiness_page import page
from dataset_registry.api.readiness_pdf import pdf
from dataset_registry.api.readiness_shapes import Readiness
from dataset_registry.domain.readiness import whole
from dataset_registry.handlers import datasets, readiness

_CONTENT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/html": {"schema": {"type": "string"}}, "application/pdf": FILE}}
}
Form = Literal["json", "html", "pdf"]
_ACCEPTED: dict[str, Form] = {"application/pdf": "pdf", "text/html": "html"}
# The page is its own style and nothing else: whatever a name in it says, a browser runs and fetches nothing.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "Vary": "Accept",
}


def router(context: Context) -> APIRouter:
    """The route under /v1/datasets."""
    routes = APIRouter(prefix="/v1/datasets", tags=["datasets"])

    @routes.get("/{hash}/readiness", response_model=Readiness, responses=_CONTENT)
    def read_readiness(
        request: Request,
        hash: Hash,
        form: Annotated[
            Form | None,
            Query(alias="as", description="Goes before the `Accept` header."),
        ] = None,
        accept: Annotated[str, Header(include_in_schema=False)] = "",
    ) -> Response:
        """The five readiness questions, each with figures, evidence, a verdict, and what is missing; computed anew each
        time from what is on record: the same records give the same bytes."""
        with context.sessions() as session:
            row = found(
                session.datasets.version(hash), "dataset version", hash, "look at GET /v1/datasets/snapshots."
            )
            try:
                items = datasets.entries(datasets.stored(session.datasets, hash), context.objects)
            except Invalid as error:
                raise Gone(410, error.reason, error.advice) from error
            sources = readiness.Sources(
                session.readiness, session.datasets, session.answers, session.taxonomies
            )
            answers = readiness.package(row, items, sources)
            newest = session.readiness.newest(hash)
        package = Readiness.model_validate(
            {
                "dataset": hash,
                "purpose": row["purpose"],
                "images": len(items),
                "newest_record": newest,
                "verdict": whole(answers),
                "answers": [
                    asdict(answer)
                    | {
                        "verdict": answer.verdict,
                        "evidence": [link._asdict() for link in answer.evidence],
                        "missing": [lack._asdict() for lack in answer.missing],
                    }
                    for answer in answers
                ],
            }
        )
        base = str(request.base_url)
        if form is None:
            form = next((kind for media, kind in _ACCEPTED.items() if media in accept), "json")
        if form == "pdf":
            named = {"Content-Disposition": f'inline; filename="readiness-{hash[:12]}.pdf"', "Vary": "Accept"}
            return Response(pdf(package, base), media_type="application/pdf", headers=named)
        if form == "html":
            return HTMLResponse(page(package, base), headers=_HEADERS)
        return Response(package.model_dump_json(), media_type="application/json", headers={"Vary": "Accept"})

    return routes

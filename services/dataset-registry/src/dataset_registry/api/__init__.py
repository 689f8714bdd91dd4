"""The HTTP API: thin routes over the handlers. Every command may be repeated; every error is a problem with
advice."""

from __future__ import annotations

from andon_chassis.http import TRACED, problem
from fastapi import Depends, FastAPI, Request, Response

from dataset_registry.api import (
    accounts,
    actions,
    agreement,
    audit,
    captures,
    datasets,
    documents,
    evaluation_batches,
    exports,
    imports,
    labeling,
    labeling_work,
    lines,
    readiness,
    reference,
    reviews,
    standards,
    taxonomies,
    taxonomy_drafts,
    tiles,
)
from dataset_registry.api.context import Context
from dataset_registry.api.contract import REFUSALS, publish
from dataset_registry.api.door import CHALLENGE, Door, enter
from dataset_registry.domain.refusals import Because, Refused

VERSION = "1.0.0"

STATUS = {
    Because.UNKNOWN: 404,
    Because.CONFLICT: 409,
    Because.FORBIDDEN: 403,
    Because.INVALID: 422,
    Because.INCOMPLETE: 422,
    Because.STALE: 412,
    Because.NOBODY: 401,
    Because.SLOWED: 429,
}


def create_app(context: Context) -> FastAPI:
    """The API over this context."""
    app = FastAPI(
        title="Andonloop dataset registry",
        version=VERSION,
        summary="Captures, reviews, labels, actions, dataset versions, and the reference data in force.",
        description=(
            "Commands take an `Idempotency-Key` header: a repeat gets the first one's answer, marked"
            " `Idempotent-Replayed: true`. Lists are pages: pass `next_cursor` on as `cursor`."
            " Errors are RFC 9457 problems whose `detail` says what to do."
        ),
        generate_unique_id_function=lambda route: route.name,
        docs_url=None,
        redoc_url=None,
        responses=REFUSALS,
        telemetry=TRACED,
    )

    @app.exception_handler(Refused)
    async def on_refused(request: Request, error: Refused) -> Response:
        answer = problem(STATUS[error.because], error.reason, error.advice, **error.more)
        if error.because is Because.NOBODY:
            answer.headers.update(CHALLENGE)
        if error.because is Because.SLOWED:
            answer.headers["Retry-After"] = str(error.more["retry_after_s"])
        return answer

    for part in (
        accounts,
        lines,
        captures,
        tiles,
        reviews,
        labeling,
        labeling_work,
        actions,
        standards,
        taxonomies,
        taxonomy_drafts,
        reference,
        documents,
        datasets,
        readiness,
        evaluation_batches,
        agreement,
        imports,
        exports,
        audit,
    ):
        app.include_router(part.router(context), dependencies=[Depends(enter)])
    if context.identity is not None:
        app.add_middleware(Door, identity=context.identity)
    publish(app)
    return app

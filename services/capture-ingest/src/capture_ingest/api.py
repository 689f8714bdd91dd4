"""The way in by HTTP.

    POST /v1/captures        one image: the image itself with its metadata in a header, or a form
    POST /v1/captures/batch  several images in one form; 207 with an answer for each

A body is read as it comes and never further than the limit. The answer is sent when image and event are
durable.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from andon_chassis.errors import Invalid, Unavailable
from andon_chassis.http import TRACED, Problem, problem
from fastapi import FastAPI, Request, Response
from multipart import parse_options_header  # type: ignore[import-untyped]
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from capture_ingest import description
from capture_ingest.adapters.multipart import Form, parse_json, read_form
from capture_ingest.handlers import REFUSED, Admission, Receipt, Submission

Outcome = Receipt | Invalid | Unavailable

_STATUS = {
    "too-large": 413,
    "too-many-pixels": 413,
    "not-an-image": 415,
    "unsupported-format": 415,
    "trigger-conflict": 409,
}
_FORM_OVERHEAD = 64 * 1024


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """How much the HTTP side takes.

    Attributes:
        image_bytes: Of one image.
        batch_bytes: Of one batch.
        batch_images: Of one batch.
        held_bytes: Of all uploads at a time; beyond it senders are asked to come again.
        seconds: For one body to arrive.
    """

    image_bytes: int = 64 * 1024 * 1024
    batch_bytes: int = 128 * 1024 * 1024
    batch_images: int = 100
    held_bytes: int = 384 * 1024 * 1024
    seconds: float = 60.0


class Uploads:
    """Counts what all uploads hold in memory at a time."""

    def __init__(self, limits: UploadLimits) -> None:
        self.limits = limits
        self.held = 0

    @contextmanager
    def one(self) -> Iterator[Upload]:
        """An upload; its bytes count as held until the block ends, that is until it has been answered."""
        upload = Upload(self)
        try:
            yield upload
        finally:
            self.held -= upload.size


class Upload:
    """One body on its way in."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self.size = 0

    async def chunks(self, request: Request, most: int) -> AsyncIterator[bytes]:
        """The body, at most `most` bytes. Raises Problem."""
        announced = request.headers.get("content-length", "0")
        if announced.isdigit() and int(announced) > most:
            raise _too_large(most)
        async for chunk in request.stream():
            self.size += len(chunk)
            self._uploads.held += len(chunk)
            if self.size > most:
                raise _too_large(most)
            if self._uploads.held > self._uploads.limits.held_bytes:
                raise Problem(503, "busy", "Too many uploads at a time; send this one again shortly.")
            yield chunk


Answer = Callable[[Request], Awaitable[Response]]


class CaptureApi(FastAPI):
    """FastAPI for the description, the probes and everything else; the uploads themselves go straight to
    their code.

    An upload passes hundreds of times a second, and FastAPI's layers would cost as much as the rest of the
    service.
    """

    direct: dict[str, Answer]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            answer = self.direct.get(scope["path"])
            if answer is not None:
                response = await answer(Request(scope, receive))
                await response(scope, receive, send)
                return
        await super().__call__(scope, receive, send)


def create_app(admission: Admission, limits: UploadLimits) -> FastAPI:
    """The API. Handlers take the request raw: nothing may buffer an image before its size is checked."""
    uploads = Uploads(limits)

    async def capture(request: Request) -> Response:
        """Record one image."""
        return await _guarded(_single(request, uploads, admission), limits)

    async def batch(request: Request) -> Response:
        """Record several images; each has its own answer."""
        return await _guarded(_several(request, uploads, admission), limits)

    app = CaptureApi(title="capture-ingest", version="1", description=__doc__ or "", telemetry=TRACED)
    app.direct = {"/v1/captures": capture, "/v1/captures/batch": batch}
    app.post(
        "/v1/captures",
        status_code=201,
        openapi_extra=description.CAPTURE,
        responses=description.CAPTURE_ANSWERS,
    )(capture)
    app.post(
        "/v1/captures/batch",
        status_code=207,
        openapi_extra=description.BATCH,
        responses=description.BATCH_ANSWERS,
    )(batch)
    return app


async def _guarded(answer: Awaitable[Response], limits: UploadLimits) -> Response:
    try:
        return await answer
    except Problem as error:
        return _refused(error)
    except TimeoutError:
        return _refused(Problem(408, "too-slow", f"The body took longer than {limits.seconds:g} s."))
    except ClientDisconnect:
        return _refused(Problem(400, "incomplete", "The connection ended before the body did."))


async def _single(request: Request, uploads: Uploads, admission: Admission) -> Response:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    limits = uploads.limits
    most = limits.image_bytes
    with uploads.one() as upload:
        if kind == "multipart/form-data":
            async with asyncio.timeout(limits.seconds):
                form = await _form(upload.chunks(request, most + _FORM_OVERHEAD), options, 1, most)
            if len(form.images) != 1 or not isinstance(form.metadata, dict):
                raise Problem(422, "invalid-form", "Send one file `image` and a JSON object `metadata`.")
            return _answer(await _outcome(admission, form.images[0], form.metadata, request))
        if kind.startswith("image/") or kind == "application/octet-stream":
            metadata = _header_metadata(request)
            async with asyncio.timeout(limits.seconds):
                data = b"".join([chunk async for chunk in upload.chunks(request, most)])
            return _answer(await _outcome(admission, data, metadata, request))
    raise Problem(415, "unsupported-media-type", "Send an image, or a form with `image` and `metadata`.")


async def _several(request: Request, uploads: Uploads, admission: Admission) -> Response:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    limits = uploads.limits
    if kind != "multipart/form-data":
        raise Problem(415, "unsupported-media-type", "Send a form with files `image` and a field `metadata`.")
    with uploads.one() as upload:
        async with asyncio.timeout(limits.seconds):
            chunks = upload.chunks(request, limits.batch_bytes)
            form = await _form(chunks, options, limits.batch_images, limits.image_bytes)
        entries = form.metadata
        if not isinstance(entries, list) or len(entries) != len(form.images):
            raise Problem(
                422, "invalid-form", "`metadata` is a JSON array with an object for each `image`, in order."
            )
        pairs = zip(form.images, entries, strict=True)
        outcomes = await asyncio.gather(*(_outcome(admission, data, entry, request) for data, entry in pairs))
    return _json(207, {"results": [_result(outcome) for outcome in outcomes]})


async def _form(
    chunks: AsyncIterator[bytes], options: dict[str, str], most_images: int, largest_image: int
) -> Form:
    boundary = options.get("boundary", "")
    if not boundary:
        raise Problem(422, "invalid-form", "The Content-Type names no boundary.")
    return await read_form(chunks, boundary, most_images=most_images, largest_image=largest_image)


def _header_metadata(request: Request) -> Any:
    """The JSON object in the header Andon-Metadata; UTF-8 or escaped."""
    text = request.headers.get("andon-metadata")
    if text is None:
        raise Problem(422, "missing-metadata", "Send the metadata as JSON in the header Andon-Metadata.")
    return parse_json(text.encode("latin-1"))


async def _outcome(admission: Admission, data: bytes, metadata: Any, request: Request) -> Outcome:
    if not isinstance(metadata, dict):
        return Invalid("invalid-metadata", "The metadata of an image are a JSON object.")
    submission = Submission(data, metadata, "http", request.headers.get("traceparent"))
    try:
        return await asyncio.wrap_future(admission.submit(submission))
    except (Invalid, Unavailable) as error:
        return error


def _answer(outcome: Outcome) -> Response:
    if isinstance(outcome, Receipt):
        return _json(201 if outcome.created else 200, outcome.body())
    return problem(*_problem(outcome))


def _result(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, Receipt):
        return {"http_status": 201 if outcome.created else 200, **outcome.body()}
    status, reason, advice = _problem(outcome)
    return {"http_status": status, "status": "refused", "reason": reason, "advice": advice}


def _problem(error: Invalid | Unavailable) -> tuple[int, str, str]:
    if isinstance(error, Unavailable):
        return 503, "unavailable", f"{error}. Nothing was lost; send the same request again."
    return _STATUS.get(error.reason, 422), error.reason, error.advice


def _refused(error: Problem) -> Response:
    """The rest of the body may not have been read, so the connection cannot be used again."""
    REFUSED.labels("http", error.reason).inc()
    response = problem(error.status, error.reason, error.advice)
    response.headers["Connection"] = "close"
    return response


def _too_large(most: int) -> Problem:
    return Problem(
        413, "too-large", f"At most {most} bytes are accepted; send a smaller or compressed image."
    )


def _json(status: int, body: dict[str, Any]) -> Response:
    return Response(json.dumps(body), status, media_type="application/json")

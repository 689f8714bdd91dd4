"""HTTP conventions: errors are RFC 9457 problems with advice, probes are mounted on every API."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException

from andon_chassis import health as health_module
from andon_chassis.errors import Invalid, Unavailable
from andon_chassis.health import Health

PROBES = ("/healthz", "/readyz", "/metrics")

TRACED: TelemetryConfig = {
    "exclude": lambda scope: scope.get("path") in PROBES,
    "operation_spans": False,
    "metrics": False,
    "logs": False,
    "auto_configure": False,
}
"""For every FastAPI: one span for a request, none for a probe. Left alone it makes four of each as soon as there is a
tracer provider, which here is always."""


class Problem(Exception):
    """An error answer.

    Args:
        status: HTTP status.
        reason: Stable code, lower-case with dashes; becomes the problem's type.
        advice: What the caller should do.
    """

    def __init__(self, status: int, reason: str, advice: str, **extra: object) -> None:
        super().__init__(f"{status} {reason}: {advice}")
        self.status = status
        self.reason = reason
        self.advice = advice
        self.extra = extra


def problem(status: int, reason: str, advice: str, **extra: object) -> Response:
    """An application/problem+json answer."""
    body = {
        "type": f"urn:andonloop:problem:{reason}",
        "title": reason,
        "status": status,
        "detail": advice,
        **extra,
    }
    headers = {"Retry-After": "1"} if status == 503 else None
    return JSONResponse(body, status, media_type="application/problem+json", headers=headers)


def install(app: FastAPI, health: Health) -> None:
    """Give an API the probes and the problem answers."""

    @app.exception_handler(Problem)
    async def on_problem(request: Request, error: Problem) -> Response:
        return problem(error.status, error.reason, error.advice, **error.extra)

    @app.exception_handler(Invalid)
    async def on_invalid(request: Request, error: Invalid) -> Response:
        return problem(422, error.reason, error.advice)

    @app.exception_handler(Unavailable)
    async def on_unavailable(request: Request, error: Unavailable) -> Response:
        return problem(503, "unavailable", f"{error}. Nothing was lost; send the same request again.")

    @app.exception_handler(RequestValidationError)
    async def on_validation(request: Request, error: RequestValidationError) -> Response:
        wrong = [{"where": ".".join(map(str, e["loc"])), "what": e["msg"]} for e in error.errors()]
        return problem(422, "invalid-request", "See errors for each field.", errors=wrong)

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> Response:
        answer = problem(
            error.status_code,
            str(error.detail).lower().replace(" ", "-"),
            f"{request.method} {request.url.path}",
        )
        answer.headers.update(error.headers or {})
        return answer

    def probe(request: Request) -> Response:
        status, kind, body = health_module.answer(health, request.url.path)
        return Response(body, status, media_type=kind)

    for path in PROBES:
        app.add_api_route(path, probe, include_in_schema=False)

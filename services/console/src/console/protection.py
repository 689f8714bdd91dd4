"""What every answer carries and every command must come with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response

from console.rendering import message

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "frame-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
STRANGER = "; ".join(
    (
        "sandbox",
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "img-src data:",
        "font-src data:",
        "frame-ancestors 'self'",
    )
)
"""For a page that somebody else made: it shows itself, runs no script, fetches nothing, and has no origin."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def install(app: FastAPI) -> None:
    """Headers on all answers; commands only from our own pages."""

    @app.middleware("http")
    async def protect(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        if request.method not in {"GET", "HEAD"} and not _from_here(request):
            text = "This command came from another page. Open the console itself and try again."
            answer: Response = message(403, "Not from this console", text)
        else:
            answer = await go_on(request)
        if answer.headers.get("content-type", "").startswith("text/html"):
            answer.headers.setdefault(
                "Cache-Control", "no-store"
            )  # nobody sees it by going back after a sign-out
        for name, value in HEADERS.items():
            answer.headers.setdefault(name, value)
        return answer


def _from_here(request: Request) -> bool:
    """Browsers name the origin of a POST, and scripts of other sites cannot change it."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    return origin is not None and origin.split("://", 1)[-1] == request.headers.get("host")

"""The registry over HTTP: one pooled client, short timeouts, one repeat where repeating is safe."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import BinaryIO

import httpx
from andon_chassis.errors import Unavailable

from console import visitors
from console.ports import Bytes, Json, RefusedByRegistry, Relayed

_PATIENCE_S = 5.0
_PASSED_ON = ("content-type", "etag", "cache-control", "content-length", "content-encoding")
_RELAYED = ("content-type", "etag", "idempotent-replayed", "retry-after")


class HttpRegistry:
    """Registry on an httpx client.

    Args:
        url: Base URL of dataset-registry.
    """

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._client = httpx.AsyncClient(
            base_url=url,
            timeout=_timeout(None),
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=32),
            transport=transport or httpx.AsyncHTTPTransport(retries=1),
        )

    async def get(self, path: str, **query: str | int | None) -> Json:
        asked = {name: value for name, value in query.items() if value not in (None, "")}
        return _answer(await self._send(self._client.build_request("GET", path, params=asked)))

    async def reckoned(self, path: str, query: Mapping[str, str], patience_s: float) -> Json:
        request = self._client.build_request("GET", path, params=dict(query), timeout=_timeout(patience_s))
        return _answer(await self._send(request))

    async def post(self, path: str, body: Json, key: str, patience_s: float | None = None) -> Json:
        headers = {"Idempotency-Key": key}
        request = self._client.build_request(
            "POST", path, json=body, headers=headers, timeout=_timeout(patience_s)
        )
        return _answer(await self._send(request))

    async def upload(
        self, path: str, fields: Mapping[str, str], name: str, file: BinaryIO, patience_s: float
    ) -> Json:
        request = self._client.build_request(
            "POST", path, data=dict(fields), files={"archive": (name, file)}, timeout=_timeout(patience_s)
        )
        return _answer(await self._send(request))

    async def stream(self, path: str, known: str | None, patience_s: float | None = None) -> Bytes:
        headers = {"If-None-Match": known} if known else {}
        request = self._client.build_request("GET", path, headers=headers, timeout=_timeout(patience_s))
        answer = await self._send(request, stream=True)
        kept = {name: answer.headers[name] for name in _PASSED_ON if name in answer.headers}
        return Bytes(answer.status_code, kept, _body(answer))

    async def relay(
        self, method: str, path: str, body: Json | None, headers: Mapping[str, str], query: Mapping[str, str]
    ) -> Relayed:
        request = self._client.build_request(
            method, path, json=body, headers=dict(headers), params=dict(query) or None
        )
        answer = await self._send(request)
        kept = {name: answer.headers[name] for name in _RELAYED if name in answer.headers}
        return Relayed(answer.status_code, kept, answer.content)

    async def close(self) -> None:
        await self._client.aclose()

    async def _send(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        if token := visitors.token():  # whoever sent the request that this is for
            request.headers["Authorization"] = f"Bearer {token}"
        try:
            return await self._client.send(request, stream=stream)
        except httpx.TransportError as error:
            raise Unavailable("dataset-registry", str(error) or type(error).__name__) from error


def _timeout(patience_s: float | None) -> httpx.Timeout:
    return httpx.Timeout(_PATIENCE_S if patience_s is None else patience_s, connect=1.0)


async def _body(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    finally:
        await answer.aclose()


def _answer(answer: httpx.Response) -> Json:
    if answer.is_success:
        found: Json = answer.json()
        return found
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    if answer.status_code >= 500:
        raise Unavailable("dataset-registry", problem.get("detail", f"it answered {answer.status_code}"))
    raise RefusedByRegistry(
        answer.status_code,
        problem.get("title", "refused"),
        problem.get("detail", "The registry gave no reason."),
    )

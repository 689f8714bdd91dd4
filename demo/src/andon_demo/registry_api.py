"""What the demo's people do, they do through the real HTTP API of dataset-registry, as the console does."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx


class ApiError(Exception):
    """The API said no; its advice is in the text."""


class RegistryApi:
    """Thin client (safe among threads).

    Args:
        url: Base URL of dataset-registry.
    """

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=20.0)

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, **query: str | int) -> Any:
        """Raises ApiError; asks again while the service cannot answer."""
        return self._ask("GET", path, params=query)

    def put(self, path: str, body: dict[str, object]) -> Any:
        """Raises ApiError."""
        return self._ask("PUT", path, json=body)

    def post(self, path: str, body: dict[str, object]) -> Any:
        """Raises ApiError. Tried again under one idempotency key, so nothing happens twice."""
        return self._ask("POST", path, json=body, headers={"Idempotency-Key": str(uuid.uuid4())})

    def pages(self, path: str, **query: str | int) -> Iterator[dict[str, Any]]:
        """All items of a list."""
        cursor: str | None = None
        while True:
            page = self.get(path, **query, **({"cursor": cursor} if cursor else {}))
            yield from page["items"]
            cursor = page.get("next_cursor")
            if not cursor:
                return

    def wait_for(self, path: str, seconds: float) -> Any:
        """Ask until the thing exists. Raises ApiError when it does not in time."""
        end = time.monotonic() + seconds
        while True:
            try:
                return self.get(path)
            except ApiError:
                if time.monotonic() > end:
                    raise
            time.sleep(0.1)

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        answer: httpx.Response | None = None
        trouble = ""
        for pause in (0.2, 0.5, 1.0, 2.0, 4.0, 0.0):
            try:
                answer = self._http.request(method, path, **options)
                if answer.status_code < 500:
                    break
            except httpx.TransportError as error:
                trouble = str(error)
            time.sleep(pause)
        if answer is None:
            raise ApiError(f"{method} {path}: nobody answers ({trouble})")
        if answer.status_code >= 400:
            raise ApiError(f"{method} {path} answered {answer.status_code}: {answer.text[:400]}")
        return answer.json()

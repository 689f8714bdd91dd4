"""What the demo's people do, they do through the real HTTP API of dataset-registry, as the console does."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import httpx


class ApiError(Exception):
    """The API said no; its advice is in the text."""


class RegistryApi:
    """Thin client (safe among threads).

    Args:
        url: Base URL of dataset-registry.
        token: Of the session that everything is asked and done in; "" for what needs none.
    """

    def __init__(self, url: str, token: str = "") -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=url, timeout=20.0, headers=headers)

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

    def sign_in(self, name: str, password: str) -> str:
        """A session's token. Raises ApiError."""
        return str(self._ask("POST", "/v1/sessions", json={"name": name, "password": password})["token"])

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


class Staff:
    """The people of a plant, each signed in under their own name (safe among threads).

    Args:
        url: Base URL of dataset-registry.
        passwords: By name.
    """

    def __init__(self, url: str, passwords: Mapping[str, str]) -> None:
        self._url = url
        self._passwords = passwords
        self._tokens: dict[str, str] = {}
        self._inside: dict[str, RegistryApi] = {}
        self._lock = threading.Lock()

    def api(self, name: str) -> RegistryApi:
        """The registry as this person uses it; they sign in the first time. Raises ApiError."""
        with self._lock:
            if name not in self._inside:
                self._inside[name] = RegistryApi(self._url, self._token(name))
            return self._inside[name]

    def token(self, name: str) -> str:
        """What a browser of theirs would keep. Raises ApiError."""
        with self._lock:
            return self._token(name)

    def close(self) -> None:
        for api in self._inside.values():
            api.close()

    def _token(self, name: str) -> str:
        if name not in self._tokens:
            if name not in self._passwords:
                raise ApiError(f"{name} has no account here; see andon_local.people")
            entrance = RegistryApi(self._url)
            self._tokens[name] = entrance.sign_in(name, self._passwords[name])
            entrance.close()
        return self._tokens[name]

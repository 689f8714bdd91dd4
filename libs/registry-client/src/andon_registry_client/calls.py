"""Requests and answers: repeats, keys, tags, files."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any, Protocol, TypeVar, overload
from urllib.parse import quote
from uuid import uuid4

import httpx
from pydantic import TypeAdapter

from andon_registry_client.files import Received, Source, Target, keep, opened
from andon_registry_client.problems import Problem, Unreachable
from andon_registry_client.shapes import Shape

_BUSY = {429, 503}
"""Nothing was done: the same may be sent again, whatever it is."""
_LOST = {502, 504}
"""Something on the way gave up; it may have been done."""
_LONGEST_PAUSE_S = 30.0

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class PageOf(Protocol[T_co]):
    """Part of a list."""

    @property
    def items(self) -> Sequence[T_co]: ...

    @property
    def next_cursor(self) -> str | None: ...


@dataclass(frozen=True)
class _Asked:
    method: str
    path: str
    headers: dict[str, str]
    query: dict[str, Any]
    repeatable: bool
    body: Shape | None = None
    form: Mapping[str, Any] | None = None
    file: tuple[str, Source] | None = None


class Calls:
    """A connection to a registry; threads may share it.

    Args:
        url: Its address, such as http://127.0.0.1:8010.
        token: Of a session or of a program, where people sign in.
        timeout: Of connecting, and of each read and write; seconds.
        attempts: How often the same is sent at most: where nothing was done, or where doing it twice is doing it once.
        pause_s: Before the first repeat; it doubles each time.
        transport: For tests.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout: float | httpx.Timeout = 30.0,
        attempts: int = 5,
        pause_s: float = 0.2,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(base_url=url, timeout=timeout, transport=transport)
        self._attempts = attempts
        self._pause_s = pause_s
        self.token = token

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @overload
    def call(self, method: str, path: str, shape: type[T], **asked: Any) -> T: ...

    @overload
    def call(self, method: str, path: str, shape: None, **asked: Any) -> None: ...

    def call(
        self,
        method: str,
        path: str,
        shape: type[T] | None,
        *,
        query: Mapping[str, Any] | None = None,
        body: Shape | None = None,
        form: Mapping[str, Any] | None = None,
        file: tuple[str, Source] | None = None,
        repeatable: bool = False,
        **headers: int | str | None,
    ) -> T | None:
        """Ask, and give the answer as a shape. Raises Problem, Unreachable.

        Args:
            headers: idempotency_key, if_match, if_none_match. Where an operation takes a key and none is given, it gets
                one.
            repeatable: Whether it may be sent again when nobody knows whether it was done; reads, and what has a key,
                may.
        """
        if "idempotency_key" in headers:
            headers["idempotency_key"] = headers["idempotency_key"] or uuid4().hex
            repeatable = True
        asked = _Asked(
            method,
            path,
            {"Accept": "application/json"} | _headers(headers),
            _sent(query or {}),
            repeatable or method in {"GET", "PUT", "DELETE"},
            body,
            form,
            file,
        )
        answer, text = self._ask(asked, httpx.Response.read)
        if shape is None:
            return None
        made = TypeAdapter(shape).validate_json(text)
        if isinstance(made, Shape):
            made.arrived(answer.headers.get("ETag"), "Idempotent-Replayed" in answer.headers)
        return made

    def receive(
        self,
        path: str,
        to: Target,
        *,
        query: Mapping[str, Any] | None = None,
        **headers: int | str | None,
    ) -> Received:
        """Keep an answer in a file. At a path half a file is never left. Raises Problem, Unreachable."""
        asked = _Asked("GET", path, _headers(headers), _sent(query or {}), True)
        answer, size = self._ask(asked, lambda arrived: keep(arrived, to))
        media_type = answer.headers.get("Content-Type", "").partition(";")[0]
        unchanged = answer.status_code == 304
        return Received(size, media_type, answer.headers.get("ETag"), answer.headers, unchanged)

    def _ask(self, asked: _Asked, take: Callable[[httpx.Response], T]) -> tuple[httpx.Response, T]:
        """An answer that is no refusal, and what was taken of it; after as many repeats as are safe and allowed.

        Args:
            take: Reads the answer; whatever it did before the connection broke it does again.
        """
        for attempt in count(1):
            last = attempt >= self._attempts
            try:
                with opened(asked.file) as files:
                    answer = self._http.send(self._request(asked, files), stream=True)
                with closing(answer):
                    if answer.is_success or answer.status_code == 304:
                        return answer, take(answer)
                    answer.read()
            except httpx.TransportError as error:
                untouched = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
                if last or not (asked.repeatable or untouched):
                    raise Unreachable(f"{asked.method} {asked.path}: {error}") from error
                self._rest(attempt, None)
                continue
            again = answer.status_code in _BUSY or (answer.status_code in _LOST and asked.repeatable)
            if last or not again:
                raise Problem.of(answer)
            self._rest(attempt, answer.headers.get("Retry-After"))
        raise AssertionError("the last attempt returns or raises")

    def _request(self, asked: _Asked, files: Mapping[str, Any] | None) -> httpx.Request:
        headers = dict(asked.headers)
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        content = None
        if asked.body is not None:
            content = asked.body.model_dump_json(exclude_unset=True)
            headers["Content-Type"] = "application/json"
        return self._http.build_request(
            asked.method,
            asked.path,
            params=asked.query,
            headers=headers,
            content=content,
            data=_form(asked.form) if asked.form is not None else None,
            files=files,
        )

    def _rest(self, attempt: int, asked_for: str | None) -> None:
        """Wait before a repeat: as long as the registry asks for, else longer each time, and never all at once."""
        pause = self._pause_s * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)
        if asked_for and asked_for.isdecimal() and self._pause_s:
            pause = max(pause, float(asked_for))
        time.sleep(min(pause, _LONGEST_PAUSE_S))


def each(page: Callable[[str | None], PageOf[T]]) -> Iterator[T]:
    """All items of all pages.

    Args:
        page: The page at a cursor; None is the first.
    """
    cursor: str | None = None
    while True:
        found = page(cursor)
        yield from found.items
        cursor = found.next_cursor
        if cursor is None:
            return


def part(value: object) -> str:
    """A value as one segment of a path."""
    text = quote(str(value), safe="")
    return text if text.strip(".") else text.replace(".", "%2E")  # `..` is a name here, not the way up


def _headers(given: Mapping[str, int | str | None]) -> dict[str, str]:
    """`if_match=3` as `If-Match: "3"`."""
    return {
        name.replace("_", "-").title(): f'"{value}"' if isinstance(value, int) else value
        for name, value in given.items()
        if value is not None
    }


def _sent(query: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in query.items()
        if value is not None
    }


def _form(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: json.dumps(value) if isinstance(value, Mapping) else value
        for name, value in given.items()
        if value is not None
    }

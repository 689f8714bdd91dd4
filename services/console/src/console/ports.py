"""What the pages need of the world outside: the registry, as a person uses it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

Json = dict[str, Any]


class RefusedByRegistry(Exception):
    """The registry said no.

    Args:
        status: Its HTTP status.
        reason: Its stable code.
        advice: What the person can do.
    """

    def __init__(self, status: int, reason: str, advice: str) -> None:
        super().__init__(f"{status} {reason}: {advice}")
        self.status = status
        self.reason = reason
        self.advice = advice


@dataclass(frozen=True, slots=True)
class Bytes:
    """An image on its way through."""

    status: int
    headers: Mapping[str, str]
    body: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Relayed:
    """An answer that goes to the browser as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Registry(Protocol):
    """The registry's API. Each call raises Unavailable when it does not answer, RefusedByRegistry when it says no."""

    async def get(self, path: str, **query: str | int | None) -> Json:
        """What lies at a path."""

    async def reckoned(self, path: str, query: Mapping[str, str], patience_s: float) -> Json:
        """What lies at a path, where it takes long to reckon."""

    async def post(self, path: str, body: Json, key: str, patience_s: float | None = None) -> Json:
        """Carry out a command once for each key; `patience_s` is for one that takes long."""

    async def upload(
        self, path: str, fields: Mapping[str, str], name: str, file: BinaryIO, patience_s: float
    ) -> Json:
        """Hand in a file, as the form field `archive`, with other fields."""

    async def stream(self, path: str, known: str | None, patience_s: float | None = None) -> Bytes:
        """The bytes at a path; `known` is the ETag the caller has."""

    async def relay(
        self, method: str, path: str, body: Json | None, headers: Mapping[str, str], query: Mapping[str, str]
    ) -> Relayed:
        """Pass a request on; a refusal is an answer like any other. Raises Unavailable alone."""

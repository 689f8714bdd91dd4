"""capture-ingest over HTTP. Only its own word counts: a proxy, a captive portal or another program that answers in its
place must neither let an image go nor have it set aside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import urllib3
from andon_chassis.errors import Invalid, Unavailable
from urllib3.exceptions import HTTPError

from edge_agent.ports import Record

PLANT: Final = "plant"
CAPTURES: Final = "/v1/captures"
TAKEN: Final = (200, 201)
NEVER: Final = (409, 413, 415, 422)
PROBLEM: Final = "urn:andonloop:problem:"
_LONGEST_ANSWER = 64 * 1024
_CONNECT_S = 5.0


class HttpPlant:
    """See `ports.Plant`.

    Args:
        url: Of capture-ingest, without a path.
        timeout_s: Longest silence while an image is sent or answered.
        ca_file: Authorities that vouch for the server, in place of the system's.
    """

    def __init__(self, url: str, *, timeout_s: float = 30.0, ca_file: Path | None = None) -> None:
        self._url = url.rstrip("/") + CAPTURES
        self._pool = urllib3.PoolManager(
            num_pools=1,
            retries=False,
            timeout=urllib3.Timeout(connect=min(_CONNECT_S, timeout_s), read=timeout_s),
            ca_certs=str(ca_file) if ca_file else None,
        )

    def send(self, record: Record, data: bytes) -> dict[str, Any]:
        """See `ports.Plant`."""
        headers = {
            "Content-Type": record.media_type,
            "Andon-Metadata": json.dumps(record.metadata),
            "traceparent": record.traceparent,
        }
        try:
            with self._pool.request(
                "POST", self._url, body=data, headers=headers, redirect=False, preload_content=False
            ) as answer:
                body = answer.read(_LONGEST_ANSWER)
                answer.release_conn()  # closed instead, when there is more of it
        except HTTPError as error:
            raise Unavailable(PLANT, f"{self._url} does not answer: {_cause(error)}") from error
        return self._judged(answer.status, body, record)

    def _judged(self, status: int, body: bytes, record: Record) -> dict[str, Any]:
        said = _json(body)
        if status in TAKEN and said.get("sha256") == record.sha256:
            return said
        if status in TAKEN:
            raise Unavailable(PLANT, f"{self._url} answers {status}, but not as capture-ingest does")
        if status in NEVER and str(said.get("type", "")).startswith(PROBLEM):
            raise Invalid(str(said.get("title", status)), str(said.get("detail", "")))
        raise Unavailable(PLANT, f"{self._url} answers {status} {said.get('title', '')}".rstrip())


def _json(body: bytes) -> dict[str, Any]:
    """An object, or an empty one for anything else."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _cause(error: HTTPError) -> str:
    """The same words for the same trouble: urllib3 names the connection's address in memory."""
    inner = error.__cause__ or error.__context__
    return type(error).__name__ if inner is None else f"{type(error).__name__}, {inner}"

"""One attempt at an endpoint, over connections that are kept alive."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import urllib3
from andon_chassis.telemetry import current_traceparent, span
from urllib3.util import Timeout

from mes_bridge.adapters.signature import Keyring
from mes_bridge.domain.delivery import LONGEST_RETRY_AFTER_S, Answer
from mes_bridge.ports import Job

READ_AT_MOST = 64 * 1024
"""Bytes of an answer that are read to keep its connection; an endpoint that sends more loses it."""


class HttpSender:
    """Sends deliveries to one endpoint (safe among threads).

    Args:
        connections: Connections kept alive; as many as attempts run at once.
        timeout_s: Seconds for the connection, and again for each wait for the answer.
    """

    def __init__(self, url: str, keyring: Keyring, *, connections: int, timeout_s: float) -> None:
        parts = urlsplit(url)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._keyring = keyring
        self._pool = urllib3.connection_from_url(
            url, maxsize=connections, timeout=Timeout(connect=timeout_s, read=timeout_s), retries=False
        )
        headers = {"content-type": "application/json", "user-agent": "andonloop-mes-bridge/1"}
        if parts.username is not None:
            headers |= urllib3.make_headers(basic_auth=f"{parts.username}:{parts.password or ''}")
        self._headers = headers

    def send(self, job: Job, now: datetime) -> Answer:
        with span(
            "mes-bridge deliver",
            job.traceparent,
            delivery_id=job.delivery_id,
            endpoint=job.endpoint,
            attempt=job.attempts,
        ) as attempt:
            answer = self._attempt(job, now)
            attempt.set_attribute("answer", answer.status or answer.error or "")
            return answer

    def _attempt(self, job: Job, now: datetime) -> Answer:
        headers = self._headers | self._keyring.sign(job.delivery_id, now, job.body)
        traceparent = current_traceparent()
        if traceparent:
            headers["traceparent"] = traceparent
        try:
            response = self._pool.urlopen(
                "POST", self._target, job.body.encode(), headers, redirect=False, preload_content=False
            )
        except urllib3.exceptions.TimeoutError:
            return Answer(None, "timeout")
        except urllib3.exceptions.HTTPError as error:
            return Answer(None, f"no-connection: {type(error).__name__}")
        answer = Answer(response.status, retry_after_s=_seconds(response.headers.get("Retry-After"), now))
        self._give_back(response)
        return answer

    def close(self) -> None:
        self._pool.close()

    @staticmethod
    def _give_back(response: urllib3.BaseHTTPResponse) -> None:
        """The status is the answer; the rest is read only so that the connection can be used again."""
        try:
            response.read(READ_AT_MOST)
            if response.read(1):
                response.close()
        except urllib3.exceptions.HTTPError:
            response.close()
        response.release_conn()


def _seconds(retry_after: str | None, now: datetime) -> float | None:
    """Retry-After in seconds, given as such or as a date; None when absent or not understood.

    It is whatever the endpoint wrote there: nothing in it may raise, and no wait is longer than we would wait anyway.
    """
    text = (retry_after or "").strip()
    # The ASCII digits only: "²" is a digit to Python, but no number.
    wanted = float(text) if text.isascii() and text.isdigit() else _seconds_until(text, now)
    return None if wanted is None else min(max(0.0, wanted), LONGEST_RETRY_AFTER_S)


def _seconds_until(date: str, now: datetime) -> float | None:
    try:
        at = parsedate_to_datetime(date)
    except (ValueError, OverflowError, TypeError):
        return None
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds()

"""What the handlers and the couriers need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from mes_bridge.domain.delivery import Answer, Judgement


@dataclass(frozen=True, slots=True)
class Known:
    """A disposition as this service keeps it. `body` is, byte for byte, what every endpoint gets."""

    disposition_id: str
    capture_id: str
    revision: int
    line: str
    station: str
    part: str
    kind: str
    body: str
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class Addressed:
    """A delivery to be made: one disposition to one endpoint."""

    delivery_id: str
    endpoint: str
    disposition_id: str


@dataclass(frozen=True, slots=True)
class Job:
    """A delivery that a courier has leased.

    Attributes:
        lease: Tells this lease from a later one of the same delivery.
        attempts: This attempt included.
        queued_at: Since when it has been tried; patience counts from here.
    """

    delivery_id: str
    endpoint: str
    disposition_id: str
    body: str
    traceparent: str | None
    lease: str
    attempts: int
    queued_at: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """How an attempt ended."""

    job: Job
    answer: Answer
    judgement: Judgement
    at: datetime


class Outbound(Protocol):
    """Dispositions and their deliveries, within one transaction."""

    def keep(self, known: Sequence[Known]) -> set[str]:
        """Keep dispositions, in this order; gives the ids of those that were new."""

    def address(self, deliveries: Sequence[Addressed], now: datetime) -> None:
        """Queue deliveries of dispositions that were kept in this transaction."""


class Ledger(Protocol):
    """The deliveries of all couriers of all instances. Raises Unavailable."""

    def claim(self, endpoint: str, most: int, now: datetime, lease_s: float) -> list[Job]:
        """Lease due deliveries; of each part only the oldest that is not acknowledged yet."""

    def reclaim(self, endpoint: str, now: datetime) -> None:
        """Make due again what an instance of this name had leased before it was killed."""

    def release(self, jobs: Sequence[Job], now: datetime) -> None:
        """Give leases back without an attempt."""

    def settle(self, attempts: Sequence[Attempt]) -> None:
        """Write down how attempts ended; an acknowledgement is announced in the same transaction."""


class Sender(Protocol):
    """Makes one attempt at an endpoint; never raises for what the network or the endpoint does."""

    def send(self, job: Job, now: datetime) -> Answer: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Delivered:
    """A disposition as it was delivered, and the trace it belongs to."""

    data: dict[str, Any]
    traceparent: str | None


class Findings(Protocol):
    """What is needed to take a finding, within one transaction."""

    def latest(self, capture_id: str) -> Delivered | None:
        """The disposition with the highest revision of a capture; None when unknown."""

    def first(
        self, webhook_id: str, body_sha256: str, result: dict[str, Any]
    ) -> tuple[bool, str, dict[str, Any]]:
        """Claim a webhook id: whether this is its first time, the digest and the result it is known with."""

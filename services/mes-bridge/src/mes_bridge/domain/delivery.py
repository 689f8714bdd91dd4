"""What an endpoint's answer means for a delivery, and when to try again."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

RETRIED_4XX: Final = frozenset({408, 425, 429})
"""These say "not now"; every other 4xx says that this request will never be taken."""

LONGEST_RETRY_AFTER_S: Final = 3600.0


OVERTAKEN: Final = "overtaken"
"""Why a delivery is not tried again: a later one of its part has arrived, or is on its way."""


class State(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    STUCK = "stuck"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one attempt.

    Attributes:
        status: HTTP status; None when no answer came.
        error: What went wrong when no answer came.
        retry_after_s: Seconds the endpoint asked us to wait.
    """

    status: int | None
    error: str | None = None
    retry_after_s: float | None = None

    @property
    def is_acknowledgement(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long a delivery is tried.

    Attributes:
        first_s: Delay after the first failed attempt; it doubles from there.
        most_s: Longest delay.
        give_up_after_s: Age at which a delivery that still fails becomes a person's business.
    """

    first_s: float = 1.0
    most_s: float = 300.0
    give_up_after_s: float = 86_400.0

    def delay(self, attempts: int, chance: float) -> float:
        """Seconds until the next attempt, drawn from the upper half so that endpoints are not hit in waves.

        Args:
            attempts: Attempts so far, at least 1.
            chance: Random number from 0 to 1.
        """
        full = min(self.most_s, self.first_s * 2.0 ** min(attempts - 1, 32))
        return full * (0.5 + 0.5 * chance)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What becomes of a delivery after an attempt; `delay_s` only while it stays pending."""

    state: State
    reason: str | None = None
    delay_s: float = 0.0


def judge(answer: Answer, attempts: int, age_s: float, patience: Patience, chance: float) -> Judgement:
    """2xx delivers, a refusal is stuck, everything else is tried again until patience ends."""
    if answer.is_acknowledgement:
        return Judgement(State.DELIVERED)
    reason = _reason(answer)
    if _is_refusal(answer.status):
        return Judgement(State.STUCK, reason)
    if age_s >= patience.give_up_after_s:
        return Judgement(State.STUCK, f"gave-up: {reason}")
    delay = patience.delay(attempts, chance)
    if answer.retry_after_s is not None:
        delay = max(delay, min(answer.retry_after_s, LONGEST_RETRY_AFTER_S))
    return Judgement(State.PENDING, reason, delay)


def _is_refusal(status: int | None) -> bool:
    """The same request would be refused again; a redirect is one as well, for the address is configuration."""
    return status is not None and 300 <= status < 500 and status not in RETRIED_4XX


def _reason(answer: Answer) -> str:
    if answer.status is None:
        return answer.error or "no-answer"
    known = {401: "unauthorised", 403: "forbidden", 404: "not-found", 410: "gone", 429: "too-many-requests"}
    if 300 <= answer.status < 400:
        return f"redirected ({answer.status})"
    return f"{known.get(answer.status, 'answered')} ({answer.status})"


def part_key(line: str, station: str, part_id: str | None, capture_id: str) -> str:
    """What keeps its order: all about one part at a station, or about one capture when the part is not known."""
    return f"{line}/{station}/{part_id}" if part_id else capture_id


def wanted_by(lines: tuple[str, ...], line: str) -> bool:
    """Whether an endpoint that is for these lines gets a line's dispositions; no lines means all."""
    return not lines or line in lines

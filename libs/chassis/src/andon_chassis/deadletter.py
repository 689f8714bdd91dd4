"""Dead letters: messages that can never work are kept, with the reason, and do not stop the others.

But only a few. When more than a small share, or a long run, of what comes in is invalid, then the deploy is bad and not
the data: the consumer stops where it is, loses nothing, and waits for a person.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime

from andon_chassis.bus.ports import Message, Outgoing


class TooManyInvalid(Exception):
    """The budget is spent; nothing of this batch was acknowledged."""


class DeadLetterBudget:
    """How much invalid input is believed before the deploy is doubted.

    Args:
        run: This many invalid messages in a row are too many.
        share: This share of the last `window` messages is too much.
    """

    def __init__(self, *, run: int = 50, share: float = 0.2, window: int = 500) -> None:
        self._run_limit = run
        self._share = share
        self._recent: deque[bool] = deque(maxlen=window)
        self._run = 0
        self._before = self._run, self._recent

    def spend(self, invalid: Sequence[bool]) -> None:
        """Count a batch, message by message. Raises TooManyInvalid."""
        self._before = self._run, self._recent.copy()
        for bad in invalid:
            self._run = self._run + 1 if bad else 0
            self._recent.append(bad)
            if self._run >= self._run_limit:
                raise TooManyInvalid(f"{self._run} messages in a row cannot be handled")
        full = len(self._recent) == self._recent.maxlen
        if full and sum(self._recent) > self._share * len(self._recent):
            raise TooManyInvalid(
                f"{sum(self._recent)} of the last {len(self._recent)} messages cannot be handled"
            )

    def take_back(self) -> None:
        """The last batch was not acknowledged; it is counted when it is tried again, not once for each attempt."""
        self._run, self._recent = self._before


LARGEST = 1_800_000
"""Bytes of a letter with its headers: a margin below what brokers take (2 MiB) and producers send."""
LARGEST_HEADERS = 100_000


def topic_of(service: str) -> str:
    """Where a service's dead letters go."""
    return f"{service}.dead-letter"


def dead_letter(service: str, message: Message, reason: str, advice: str, at: datetime) -> Outgoing:
    """The original bytes and headers, and beside them what was wrong and where the message lay.

    What was so large that the letter could not be sent is cut, and says so: a letter that nobody takes would stop the
    service. The original still lies where the letter says.
    """
    value, headers = message.value, dict(message.headers)
    cut: list[str] = []
    if sum(len(name) + len(content) for name, content in headers.items()) > LARGEST_HEADERS:
        headers = {}
        cut.append("headers")
    if value is not None and len(value) > LARGEST:
        value = value[:LARGEST]
        cut.append("value")
    if cut:
        headers["dl-cut"] = ",".join(cut).encode()
    headers |= {
        "dl-topic": message.topic.encode(),
        "dl-partition": str(message.partition).encode(),
        "dl-offset": str(message.offset).encode(),
        "dl-service": service.encode(),
        "dl-reason": reason.encode(),
        "dl-advice": advice.encode("ascii", "replace"),
        "dl-time": at.isoformat().encode(),
    }
    return Outgoing(topic_of(service), message.key, value, headers)


def identity(service: str, event_id: str, headers: Mapping[str, bytes]) -> str:
    """Under which id a service remembers that it has seen an event.

    Its own letter, put back by a person after the cause was mended, is news once more; to all others it is the event
    that they know.
    """
    if headers.get("dl-service") != service.encode():
        return event_id
    return f"{event_id} again {headers.get('dl-time', b'').decode('ascii', 'replace')[:40]}"

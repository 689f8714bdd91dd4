"""An event: a typed record with its CloudEvents attributes and its place in a trace.

An event's id is UUIDv5 of producer, kind and the causing event's id. A replay therefore makes the same ids, and a
consumer that has seen an id can drop the repeat.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

from andon_events import records
from andon_events.immutable import dataclass
from andon_events.topics import TOPIC_OF

R = TypeVar("R", bound=records.Record)

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:andonloop:events")


def deterministic_id(*parts: str) -> str:
    """The same parts always give the same UUID (version 5).

    Written out, because every event needs one and `uuid.uuid5` costs three times as much.
    """
    digest = hashlib.sha1(NAMESPACE.bytes + "\x1f".join(parts).encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


def station_key(line: str | None, station: str | None) -> str:
    """The key that keeps a station's order; `*` stands for any."""
    return f"{line or '*'}/{station or '*'}"


@dataclass(frozen=True, slots=True)
class Event(Generic[R]):
    """One event, before it is encoded or after it is decoded.

    Attributes:
        id: Deterministic UUID.
        topic: Topic it travels on; also its CloudEvents type.
        source: Producing service.
        key: Kafka key.
        time: Event time, UTC.
        data: The record.
        traceparent: W3C trace context of the work that made it.
    """

    id: str
    topic: str
    source: str
    key: str
    time: datetime
    data: R
    traceparent: str | None = None


def event(
    data: R,
    *,
    source: str,
    key: str,
    time: datetime,
    cause: str,
    kind: str = "",
    traceparent: str | None = None,
) -> Event[R]:
    """Make an event on the topic of its record.

    Args:
        data: The record; decides the topic.
        source: The producing service.
        key: Kafka key, usually `station_key(...)`.
        time: Event time.
        cause: Id of the causing event, or another identity that a replay finds again.
        kind: Tells apart several events of one topic with one cause.
        traceparent: Trace context; defaults to that of the current span when it is encoded.
    """
    topic = TOPIC_OF[type(data)].name
    return Event(deterministic_id(source, topic, kind, cause), topic, source, key, time, data, traceparent)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A handler's word that one event can never work; it goes to the dead letters."""

    reason: str
    advice: str


Outcome = Sequence[Event[Any]] | Rejected
"""What handling one event gives: the events that follow from it, or its rejection."""

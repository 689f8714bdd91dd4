"""Events to bytes and back: Avro in the registry's wire format, CloudEvents attributes as Kafka headers.

Writer's schema from the registry by the id in the message, reader's schema from the code. Bytes that cannot be read
raise Invalid with a reason; a registry that does not answer raises Unavailable.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Set
from datetime import UTC, datetime
from typing import Any, Protocol

import fastavro
import httpx
from andon_events.records import Record
from andon_events.topics import TOPICS, Topic

from andon_chassis import telemetry
from andon_chassis.bus.ports import Message, Outgoing
from andon_chassis.errors import Invalid, Unavailable
from andon_chassis.events import Event

MAGIC = 0
HEADER = struct.Struct(">bI")
LONGEST_ID = 200


class SchemaRegistry(Protocol):
    """What the codec needs of a schema registry."""

    def id_of(self, subject: str, schema: str) -> int:
        """The id under which this schema is registered. Raises Unavailable, or Invalid when it is not."""

    def schema(self, schema_id: int) -> str:
        """The schema with this id. Raises Unavailable, or Invalid("unknown-schema")."""


NOT_FOUND = frozenset({40401, 40402, 40403})
"""The registry's own codes: no such subject, version, schema."""


def _says_not_found(response: httpx.Response) -> bool:
    try:
        return response.json().get("error_code") in NOT_FOUND
    except (ValueError, AttributeError):
        return False


class HttpSchemaRegistry:
    """A registry with Confluent's REST API."""

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        self._http = httpx.Client(base_url=url.rstrip("/"), timeout=timeout_s)

    def _ask(
        self, method: str, path: str, body: dict[str, str] | None = None, *, refusals: Set[int] = frozenset()
    ) -> httpx.Response:
        """The answer, when it is a verdict about the schema: yes (200), no such thing, or one of the refusals.

        All else (a proxy, an expired login, routes that are not up yet) says nothing about the schema, so nothing may
        become a dead letter for it. Raises Unavailable.
        """
        try:
            response = self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise Unavailable("schema registry", str(error)) from error
        status = response.status_code
        if status == 200 or status in refusals or (status == 404 and _says_not_found(response)):
            return response
        raise Unavailable("schema registry", f"{method} {path} answered {status}")

    def id_of(self, subject: str, schema: str) -> int:
        response = self._ask("POST", f"/subjects/{subject}", {"schema": schema})
        if response.status_code != 200:
            raise Invalid(
                "schema-not-registered",
                f"{subject} has no such version; run `python -m andon_chassis.admin ensure` before this release.",
            )
        return int(response.json()["id"])

    def register(self, subject: str, schema: str) -> int:
        """Register a new version. Raises Invalid("incompatible-schema") when the registry refuses it."""
        path = f"/subjects/{subject}/versions"
        response = self._ask("POST", path, {"schema": schema}, refusals={409, 422})
        if response.status_code != 200:
            raise Invalid("incompatible-schema", f"{subject}: the registry says {response.text}")
        return int(response.json()["id"])

    def set_compatibility(self, subject: str, level: str) -> None:
        """Set the rule that new versions of a subject are held to."""
        response = self._ask("PUT", f"/config/{subject}", {"compatibility": level}, refusals={422})
        if response.status_code != 200:
            raise Invalid("unknown-compatibility", f"{subject}: the registry says {response.text}")

    def schema(self, schema_id: int) -> str:
        response = self._ask("GET", f"/schemas/ids/{schema_id}")
        if response.status_code != 200:
            raise Invalid(
                "unknown-schema", f"The registry has no schema {schema_id}; who wrote this message?"
            )
        return str(response.json()["schema"])


class MemorySchemaRegistry:
    """The in-memory twin: gives each schema the next id."""

    def __init__(self) -> None:
        self._schemas: list[str] = []

    def id_of(self, subject: str, schema: str) -> int:
        if schema not in self._schemas:
            self._schemas.append(schema)
        return self._schemas.index(schema) + 1

    def schema(self, schema_id: int) -> str:
        if not 0 < schema_id <= len(self._schemas):
            raise Invalid(
                "unknown-schema", f"The registry has no schema {schema_id}; who wrote this message?"
            )
        return self._schemas[schema_id - 1]


def _storable(event_id: str) -> str:
    """An id that a database can hold and index. Raises ValueError."""
    if not event_id.isprintable() or not 0 < len(event_id) <= LONGEST_ID:
        raise ValueError("the id is not short and printable")
    return event_id


class Codec:
    """Encodes and decodes events of all topics (safe to share among threads)."""

    def __init__(self, registry: SchemaRegistry) -> None:
        self._registry = registry
        self._readers: dict[str, Any] = {}
        self._writers: dict[str, tuple[bytes, Any]] = {}
        self._by_id: dict[int, Any] = {}

    def _reader(self, topic: Topic) -> Any:
        if topic.name not in self._readers:
            self._readers[topic.name] = fastavro.parse_schema(json.loads(topic.schema))
        return self._readers[topic.name]

    def _writer(self, topic: Topic) -> tuple[bytes, Any]:
        if topic.name not in self._writers:
            schema_id = self._registry.id_of(f"{topic.name}-value", topic.schema)
            self._writers[topic.name] = HEADER.pack(MAGIC, schema_id), self._reader(topic)
        return self._writers[topic.name]

    def _written_as(self, schema_id: int, topic: Topic) -> Any:
        if schema_id not in self._by_id:
            text = self._registry.schema(schema_id)
            parsed = fastavro.parse_schema(json.loads(text))
            same = fastavro.schema.to_parsing_canonical_form(
                parsed
            ) == fastavro.schema.to_parsing_canonical_form(self._reader(topic))
            # fastavro resolves writer's against reader's schema only when they differ, which costs time
            self._by_id[schema_id] = self._reader(topic) if same else parsed
        return self._by_id[schema_id]

    def encode(self, event: Event[Any]) -> Outgoing:
        """Raises Unavailable when the schema's id is not known yet and the registry is away."""
        prefix, schema = self._writer(TOPICS[event.topic])
        buffer = io.BytesIO()
        buffer.write(prefix)
        fastavro.schemaless_writer(buffer, schema, event.data.to_avro())
        headers = {
            "ce_specversion": b"1.0",
            "ce_id": event.id.encode(),
            "ce_source": event.source.encode(),
            "ce_type": event.topic.encode(),
            "ce_time": event.time.isoformat().encode(),
            "content-type": b"application/avro",
        }
        traceparent = event.traceparent or telemetry.current_traceparent()
        if traceparent:
            headers["traceparent"] = traceparent.encode()
        return Outgoing(event.topic, event.key.encode(), buffer.getvalue(), headers)

    def decode(self, message: Message) -> Event[Any]:
        """Raises Invalid ("not-avro", "unknown-schema", "unknown-topic", "no-event-id") or Unavailable."""
        topic = TOPICS.get(message.topic)
        if topic is None:
            raise Invalid(
                "unknown-topic", f"Nobody described {message.topic}; add schemas/topics/{message.topic}.yaml."
            )
        headers = message.headers
        try:
            event_id = _storable(headers["ce_id"].decode())
            source = headers["ce_source"].decode()
            time = datetime.fromisoformat(headers["ce_time"].decode())
            if time.tzinfo is not UTC:
                time = time.astimezone(UTC)
        except (
            KeyError,
            ValueError,
            OverflowError,
        ) as error:  # the year 1, an hour before it, is a time as well
            raise Invalid(
                "no-event-id",
                f"CloudEvents headers are missing or wrong ({error!r}); produce through the chassis.",
            ) from error
        data = self.read(topic, message.value or b"")
        key = (message.key or b"").decode("utf-8", "replace")
        traceparent = headers.get("traceparent", b"").decode("ascii", "replace")
        trace = traceparent if telemetry.parse_traceparent(traceparent) else None
        return Event(event_id, topic.name, source, key, time, data, trace)

    def read(self, topic: Topic, value: bytes) -> Record:
        """The record in a message's value. Raises as `decode` does."""
        if len(value) < HEADER.size or value[0] != MAGIC:
            raise Invalid(
                "not-avro", "The value lacks the registry's wire format (a zero byte and a schema id)."
            )
        _, schema_id = HEADER.unpack_from(value)
        writer, reader = self._written_as(schema_id, topic), self._reader(topic)
        from_avro: Callable[[Any], Record] = topic.record.from_avro
        try:
            raw = fastavro.schemaless_reader(
                io.BytesIO(value[HEADER.size :]), writer, None if writer is reader else reader
            )
            return from_avro(raw)
        except Exception as error:  # fastavro raises whatever the garbage leads to
            why = f"{type(error).__name__}: {error}"[:200]
            raise Invalid("not-avro", f"Schema {schema_id} does not fit the bytes: {why}") from error

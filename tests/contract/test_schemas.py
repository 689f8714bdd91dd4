"""Schemas are contracts: an incompatible change is refused here, before the registry refuses it."""

from __future__ import annotations

import copy
import json
import uuid
from pathlib import Path
from typing import Any

import fastavro
import pytest
from andon_chassis.codec import Codec, HttpSchemaRegistry, MemorySchemaRegistry
from andon_chassis.errors import Invalid
from andon_events.topics import TOPICS, Topic
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import parse

ROOT = Path(__file__).resolve().parents[2]
RELEASED = ROOT / "schemas/released"


def released(topic: str) -> list[str]:
    """Released versions of a topic's schema, oldest first."""
    return [p.read_text() for p in sorted((RELEASED / topic).glob("*.avsc"), key=lambda p: int(p.stem))]


def can_read(reader: str, writer: str) -> bool:
    """Whether a reader with one schema understands what was written with another."""
    result = ReaderWriterCompatibilityChecker().get_compatibility(parse(reader), parse(writer))
    return result.compatibility is SchemaCompatibilityType.compatible


def without_default(topic: Topic) -> str:
    """A change that breaks readers: a new field that old messages do not have."""
    changed = copy.deepcopy(json.loads(topic.schema))
    changed["fields"].append({"name": "added_without_default", "type": "string"})
    return json.dumps(changed)


@pytest.mark.parametrize("topic", TOPICS.values(), ids=lambda t: t.name)
def test_the_current_schema_is_released(topic: Topic) -> None:
    assert released(topic.name), f"{topic.name} was never released: run `make release-schemas`"
    latest = json.loads(released(topic.name)[-1])
    assert latest == json.loads(topic.schema), "a new version is released with `make release-schemas`"


@pytest.mark.parametrize("topic", TOPICS.values(), ids=lambda t: t.name)
def test_the_current_schema_reads_every_released_version(topic: Topic) -> None:
    for number, version in enumerate(released(topic.name), start=1):
        assert can_read(topic.schema, version), f"version {number} of {topic.name} could not be read any more"


def test_the_test_refuses_an_incompatible_change() -> None:
    topic = TOPICS["capture.recorded"]
    assert not can_read(without_default(topic), topic.schema)


@pytest.mark.parametrize("topic", TOPICS.values(), ids=lambda t: t.name)
def test_the_example_of_a_topic_is_a_message_of_it(topic: Topic) -> None:
    example: dict[str, Any] = json.loads((ROOT / f"schemas/examples/{topic.name}.json").read_text())
    parsed = fastavro.parse_schema(json.loads(topic.schema))
    # the Avro JSON encoding is what other tools print and take
    (record,) = list(fastavro.json_reader(iter([json.dumps(example)]), parsed))  # type: ignore[arg-type]
    data = topic.record.from_avro(record)
    assert data.to_avro() == record


@pytest.mark.parametrize("topic", TOPICS.values(), ids=lambda t: t.name)
def test_the_registry_takes_every_version_and_refuses_an_incompatible_one(topic: Topic, infra: Any) -> None:
    registry = HttpSchemaRegistry(infra.registry, timeout_s=20)
    subject = f"contract-{uuid.uuid4().hex[:8]}-{topic.name}-value"
    for version in released(topic.name):
        registry.register(subject, version)
        registry.set_compatibility(subject, topic.compatibility)
    with pytest.raises(Invalid, match="incompatible-schema"):
        registry.register(subject, without_default(topic))


def test_a_message_of_an_unknown_schema_is_refused_by_name() -> None:
    codec = Codec(MemorySchemaRegistry())
    with pytest.raises(Invalid, match="unknown-schema"):
        codec.read(TOPICS["capture.recorded"], b"\x00\x00\x00\x00\x63rest")

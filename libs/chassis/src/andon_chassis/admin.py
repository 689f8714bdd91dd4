"""Bring Kafka and the schema registry to what the topic documents say.

    python -m andon_chassis.admin ensure

Creates missing topics (dead-letter topics too), registers each schema under its compatibility rule, and refuses to go
on when the registry calls a schema incompatible. Safe to run again and at any time.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import Future

from andon_events.topics import TOPICS
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from andon_chassis.bus.login import KafkaLogin
from andon_chassis.codec import HttpSchemaRegistry
from andon_chassis.deadletter import topic_of
from andon_chassis.errors import Invalid, Unavailable
from andon_chassis.settings import ServiceSettings

DEAD_LETTER_CONFIG = {"cleanup.policy": "delete", "retention.ms": str(365 * 86_400_000)}


def consuming_services() -> set[str]:
    """Every service that reads a topic has a dead-letter topic."""
    return {c for t in TOPICS.values() for c in t.consumers}


def wanted_topics(replication: int) -> list[NewTopic]:
    """All topics of the documents, and one dead-letter topic for each consuming service."""
    topics = [NewTopic(t.name, t.partitions, replication, config=t.config) for t in TOPICS.values()]
    letters = [
        NewTopic(topic_of(s), 1, replication, config=DEAD_LETTER_CONFIG) for s in sorted(consuming_services())
    ]
    return topics + letters


def ensure_topics(bootstrap: str, replication: int = 1, login: KafkaLogin | None = None) -> list[str]:
    """Create what is missing; gives the names of the new topics. Raises Unavailable."""
    client = AdminClient({"bootstrap.servers": bootstrap, **(login.config() if login else {})})
    created = []
    futures: dict[str, Future[None]] = client.create_topics(wanted_topics(replication), request_timeout=20)
    for name, future in futures.items():
        try:
            future.result(25)
            created.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise Unavailable("kafka", f"{name}: {error}") from error
    return created


def ensure_schemas(registry_url: str) -> int:
    """Register every schema; gives their number. Raises Invalid("incompatible-schema") or Unavailable."""
    registry = HttpSchemaRegistry(registry_url, timeout_s=20.0)
    for topic in TOPICS.values():
        subject = f"{topic.name}-value"
        registry.register(subject, topic.schema)
        registry.set_compatibility(subject, topic.compatibility)
    return len(TOPICS)


def main() -> int:
    if sys.argv[1:] != ["ensure"]:
        print("usage: python -m andon_chassis.admin ensure")
        return 2
    try:
        created = ensure_topics(
            os.environ["ANDON_KAFKA_BOOTSTRAP"],
            int(os.environ.get("ANDON_REPLICATION", "1")),
            ServiceSettings(service="provision").kafka_login(),
        )
        schemas = ensure_schemas(os.environ["ANDON_REGISTRY_URL"])
    except KeyError as error:
        print(f"Set {error.args[0]} to say where to do this.")
        return 2
    except (Invalid, Unavailable) as error:
        print(error)
        return 1
    print(f"{len(created)} topics created, {schemas} schemas in place")
    return 0


if __name__ == "__main__":
    sys.exit(main())

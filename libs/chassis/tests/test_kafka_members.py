"""What only real Kafka does to a group member."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest
from andon_chassis.bus.kafka import KafkaBus, KafkaConsumer
from andon_chassis.bus.ports import Fenced
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic


def test_a_static_member_that_was_replaced_says_so_instead_of_falling_silent(infra: Any) -> None:
    name = f"t{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": infra.kafka})
    for future in admin.create_topics([NewTopic(name, 1, 1)]).values():
        future.result(20)

    def member() -> KafkaConsumer:
        made = KafkaBus(infra.kafka, static_id="same").consumer(name)
        made.subscribe([name], lambda places: None, lambda places: None)
        return made

    first = member()
    end = time.monotonic() + 30
    while not first.assignment():
        first.poll(1, 0.1, 0.0)
        assert time.monotonic() < end
    second = member()
    with pytest.raises(Fenced):
        for _ in range(300):
            second.poll(1, 0.05, 0.0)
            first.poll(1, 0.05, 0.0)
    second.close()
    first.close()

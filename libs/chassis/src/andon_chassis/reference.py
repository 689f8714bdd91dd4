"""Reference data: compacted topics (stations, policies, taxonomies, releases), read whole and then followed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from andon_chassis import telemetry
from andon_chassis.bus.ports import Bus, Message
from andon_chassis.codec import Codec
from andon_chassis.errors import Invalid, Unavailable
from andon_chassis.events import Event
from andon_chassis.health import Health
from andon_chassis.retry import Backoff

log = structlog.get_logger()


class ReferenceTable:
    """Calls `apply` with every event of the topics, oldest first, from its own thread.

    Args:
        vital: The service is not ready before all of it is loaded.
    """

    def __init__(
        self,
        bus: Bus,
        codec: Codec,
        topics: Sequence[str],
        apply: Callable[[Event[Any]], None],
        health: Health,
        *,
        vital: bool = True,
    ) -> None:
        self._bus = bus
        self._codec = codec
        self._topics = topics
        self._apply = apply
        self._health = health
        self._vital = vital
        self.name = f"reference {', '.join(topics)}"
        self.loaded = threading.Event()

    def run(self, stop: threading.Event) -> None:
        follower = self._bus.follower(self._topics)
        backoff = Backoff()
        if self._vital:
            self._health.not_ready(self.name, "still loading")
        try:
            while not stop.is_set():
                self._health.beat(self.name)
                try:
                    messages = follower.poll(0.25)
                except Unavailable as error:
                    log.warning("reference.unavailable", dependency=error.dependency, detail=error.detail)
                    stop.wait(backoff.delay())
                    continue
                for message in messages:
                    self._take(message, stop)
                backoff.reset()
                if not self.loaded.is_set() and follower.caught_up():
                    self._health.ready(self.name)
                    self.loaded.set()
        finally:
            follower.close()
            self._health.forget(self.name)

    def _take(self, message: Message, stop: threading.Event) -> None:
        """Apply one message; wait for the registry as long as it takes, skip what can never be read."""
        backoff = Backoff()
        while message.value is not None and not stop.is_set():
            self._health.beat(self.name)  # a registry that is away must not get us killed
            try:
                self._apply(self._codec.decode(message))
                return
            except Invalid as error:
                telemetry.DEAD_LETTERS.labels(message.topic, error.reason).inc()
                log.error("reference.invalid", topic=message.topic, reason=error.reason, advice=error.advice)
                return
            except Unavailable as error:
                log.warning("reference.unavailable", dependency=error.dependency, detail=error.detail)
                stop.wait(backoff.delay())

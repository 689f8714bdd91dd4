"""Faust's consumer, with its habits set right where they would lose or double events; used by `andon_chassis.windows`.

Faust has no settings for these, so its driver's classes are extended. `libs/chassis/tests/test_windows.py` shows on a
real broker what happens without.
"""

from __future__ import annotations

import logging
import ssl
from typing import Any

import faust
from faust.transport.drivers import aiokafka as driver

from andon_chassis.bus.login import MECHANISM, KafkaLogin

logging.getLogger("faust").setLevel(logging.WARNING)
logging.getLogger("mode").setLevel(logging.WARNING)
# aiokafka tells thirty times a second that a broker is away; our readiness tells it as well
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

# No window is shorter than minutes: let the broker collect, for a fetch costs it the same for one event as for many.
FETCH_WAIT_S, FETCH_BYTES = 0.5, 256_000


def credentials(login: KafkaLogin | None) -> faust.SASLCredentials | None:
    """How Faust logs in to the brokers, if at all."""
    if login is None:
        return None
    encrypted = ssl.create_default_context(cafile=str(login.ca_file)) if login.ca_file else None
    return faust.SASLCredentials(
        username=login.username, password=login.password, mechanism=MECHANISM, ssl_context=encrypted
    )


class CommittedThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer, reading committed messages only, and many at once."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        if consumer._isolation_level not in {"read_uncommitted", "read_committed"}:
            raise RuntimeError(
                "aiokafka keeps its isolation level elsewhere now: reading uncommitted would be wrong"
            )
        consumer._isolation_level = "read_committed"
        consumer._fetch_min_bytes, consumer._fetch_max_wait_ms = FETCH_BYTES, round(1000 * FETCH_WAIT_S)
        return consumer


class CommittedConsumer(driver.Consumer):
    """Faust's consumer, with three of its habits set right.

    - After a recovery Faust resumes the sources, then seeks them, one request for each partition, and then empties its
      queues. What was fetched in between is lost: the position is behind it already, and the hole is acknowledged as if
      it had been compacted away. Here the sources stay paused until all of that is over.
    - A hole in the offsets (the mark of a transaction's end, mostly) is acknowledged by Faust together with the message
      behind it, which is then acknowledged twice; that stops the counting there, and the group's offsets fall behind
      for ever.
    - Faust hands its live set of partitions to another thread, which takes an empty set for "all".

    Attributes:
        turns: How often a fetch has come back, with messages or without.
    """

    turns = 0
    _held: frozenset[Any] = frozenset()

    def _new_consumer_thread(self) -> CommittedThread:
        return CommittedThread(self, loop=self.loop, beacon=self.beacon)

    def resume_partitions(self, tps: Any) -> None:
        logs = {tp for tp in tps if self._is_changelog_tp(tp)}
        self._held |= set(tps) - logs
        super().resume_partitions(logs)

    def pause_partitions(self, tps: Any) -> None:
        self._held -= set(tps)  # every rebalance comes through here
        super().pause_partitions(tps)

    def resume_flow(self) -> None:
        """The last thing a recovery does."""
        super().resume_flow()
        held, self._held = self._held, frozenset()
        super().resume_partitions(held)

    async def _getmany(self, active_partitions: Any, timeout: float) -> Any:
        found = await super()._getmany(set(active_partitions), timeout)
        self.turns += 1
        return found

    async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:
        await super()._add_gap(tp, offset_from, offset_to - 1)


class CommittedTransport(driver.Transport):
    Consumer = CommittedConsumer


class App(faust.App):
    def _new_transport(self) -> Any:
        return CommittedTransport(self.conf.broker_consumer, self, loop=self.loop)

"""Carries an endpoint's deliveries: claims what is due, keeps several attempts under way, writes down how they end.

Each endpoint has its own courier, so a slow one holds up no other. Each instance has one for each endpoint; leases in
the database share the work among them, and what a killed one had under way is due again when its lease ends.
"""

from __future__ import annotations

import contextlib
import queue
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog
from andon_chassis import telemetry
from andon_chassis.clock import Clock
from andon_chassis.errors import Unavailable
from andon_chassis.retry import Backoff
from prometheus_client import Counter

from mes_bridge.domain.delivery import Answer, Patience, judge
from mes_bridge.ports import Attempt, Job, Ledger, Sender

log = structlog.get_logger()

ATTEMPTS = Counter(
    "andon_delivery_attempts_total",
    "Attempts at an endpoint, by what became of the delivery",
    ["endpoint", "state"],
)

TROUBLE_AFTER = 5
"""Failures in a row after which an endpoint is only probed, one attempt at a time."""

COLLECT_S = 0.05
"""Seconds after which a courier looks for more that is due, although some attempts are still under way."""

SETTLE_EVERY_S = 0.2
"""Seconds from one settling to the next on a busy line, so that one transaction settles several. What a crash leaves
unsettled goes out again with the same idempotency key.
"""

AHEAD = 4
"""Deliveries are claimed for this many attempts ahead of each connection, so that one statement claims several."""


class Courier:
    """The deliveries of one endpoint.

    Args:
        concurrency: Attempts under way at once.
        timeout_s: Seconds an attempt may take; a lease lasts well beyond those that are ahead of it.
        poll_s: Seconds between two looks while nothing is due.
        chance: Random numbers from 0 to 1, for jitter.
    """

    def __init__(
        self,
        endpoint: str,
        ledger: Ledger,
        sender: Sender,
        clock: Clock,
        *,
        patience: Patience,
        concurrency: int = 8,
        timeout_s: float = 10.0,
        poll_s: float = 0.05,
        chance: Callable[[], float] = random.random,
        beat: Callable[[str], None] = lambda name: None,
    ) -> None:
        self.name = f"courier {endpoint}"
        self._endpoint = endpoint
        self._ledger = ledger
        self._sender = sender
        self._clock = clock
        self._patience = patience
        self._concurrency = concurrency
        self._lease_s = (AHEAD + 1) * timeout_s + 30.0
        self._timeout_s = timeout_s
        self._poll_s = poll_s
        self._chance = chance
        self._beat = beat
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix=self.name)
        self._ended: queue.SimpleQueue[Attempt | Job | BaseException] = queue.SimpleQueue()
        self._unsettled: list[Attempt] = []
        self._unsent: list[Job] = []
        self._claimed = 0
        self._stopping = False
        self._failures = 0
        self._probe_at = 0.0
        self._settled_at = -SETTLE_EVERY_S

    def run(self, stop: threading.Event) -> None:
        """Carry until stopped, then let what is under way end."""
        backoff = Backoff()
        reclaimed = False
        try:
            while not stop.is_set():
                self._beat(self.name)
                try:
                    if not reclaimed:
                        self._ledger.reclaim(self._endpoint, self._clock.now())
                        reclaimed = True
                    self.turn()
                    backoff.reset()
                except Unavailable as error:
                    log.warning("courier.unavailable", endpoint=self._endpoint, detail=str(error))
                    self._clock.wait(stop, backoff.delay())
            self._finish()
        except BaseException:
            # A bug in one attempt: what others were told must not be forgotten with it.
            with contextlib.suppress(Exception):
                self._settle()
            raise
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._sender.close()

    def turn(self) -> int:
        """Claim, send, settle; gives the number of attempts that were settled. Raises Unavailable."""
        claimed = self._claim()
        for job in claimed:
            self._claimed += 1
            self._pool.submit(self._attempt, job)
        self._collect(COLLECT_S if claimed else self._poll_s)
        return self._settle() if self._may_settle() else 0

    def _claim(self) -> list[Job]:
        most = AHEAD * self._concurrency
        if self._failures >= TROUBLE_AFTER:
            if self._claimed or self._clock.monotonic() < self._probe_at:
                return []
            most = 1
        free = most - self._claimed
        if 2 * free < most:
            return []  # claiming one by one would cost a statement for each
        return self._ledger.claim(self._endpoint, free, self._clock.now(), self._lease_s)

    def _attempt(self, job: Job) -> None:
        """Runs in the pool."""
        try:
            if self._stopping:
                self._ended.put(job)
                return
            answer = self._sender.send(job, self._clock.now())
            self._ended.put(self._judged(job, answer))
        except BaseException as error:
            self._ended.put(error)

    def _judged(self, job: Job, answer: Answer) -> Attempt:
        now = self._clock.now()
        age_s = (now - job.queued_at).total_seconds()
        return Attempt(job, answer, judge(answer, job.attempts, age_s, self._patience, self._chance()), now)

    def _collect(self, wait_s: float) -> None:
        """Take what ends within this time, less when nothing is left to wait for."""
        until = self._clock.monotonic() + wait_s
        while True:
            try:
                ended = self._ended.get(timeout=max(0.0, until - self._clock.monotonic()))
            except queue.Empty:
                return
            self._claimed -= 1
            if isinstance(ended, BaseException):
                raise ended
            if isinstance(ended, Job):
                self._unsent.append(ended)
            else:
                self._unsettled.append(ended)
                self._note(ended)
            if not self._claimed:
                return
            until = min(until, self._clock.monotonic() + COLLECT_S)

    def _note(self, attempt: Attempt) -> None:
        """Notice an endpoint in trouble: probe it with growing pauses instead of sending it everything."""
        ATTEMPTS.labels(self._endpoint, attempt.judgement.state.value).inc()
        if attempt.answer.is_acknowledgement:
            self._failures = 0
            return
        self._failures += 1
        log.info(
            "delivery.failed",
            endpoint=self._endpoint,
            delivery_id=attempt.job.delivery_id,
            attempts=attempt.job.attempts,
            state=attempt.judgement.state.value,
            reason=attempt.judgement.reason,
            **telemetry.trace_field(attempt.job.traceparent),
        )
        if self._failures >= TROUBLE_AFTER:
            pause = Patience(0.25, 15.0).delay(self._failures - TROUBLE_AFTER + 1, self._chance())
            self._probe_at = self._clock.monotonic() + pause

    def _may_settle(self) -> bool:
        """A lone delivery is settled at once; on a busy line they wait for each other."""
        many = 2 * len(self._unsettled) >= AHEAD * self._concurrency
        return many or self._clock.monotonic() - self._settled_at >= SETTLE_EVERY_S

    def _settle(self) -> int:
        """Kept until the database has taken it: an acknowledgement must not be forgotten while we live."""
        if self._unsent:
            self._ledger.release(self._unsent, self._clock.now())
            self._unsent = []
        if not self._unsettled:
            return 0
        self._ledger.settle(self._unsettled)
        self._settled_at = self._clock.monotonic()
        count = len(self._unsettled)
        self._unsettled = []
        return count

    def _finish(self) -> None:
        """Let what is on its way end; what is only claimed goes back."""
        self._stopping = True
        until = self._clock.monotonic() + min(self._timeout_s, 6.0)
        while self._claimed or self._unsettled or self._unsent:
            if self._clock.monotonic() > until:
                log.warning("courier.unfinished", endpoint=self._endpoint, under_way=self._claimed)
                return
            self._beat(self.name)
            try:
                self._collect(0.1)
                self._settle()
            except Unavailable as error:
                log.warning("courier.unsettled", endpoint=self._endpoint, detail=str(error))
                return

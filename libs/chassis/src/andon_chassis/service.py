"""A service, put together: the one place that knows how logging, bus, database, probes and threads meet.

    settings = Settings()
    service = Service(settings)
    database = service.database(Path(__file__).parent / "migrations")
    service.state_step([topics.DISPOSITION_DECIDED.name], handler, database)
    raise SystemExit(service.run(app))

Each part runs in its own thread. An exception that nobody expected ends the process with status 1: what was not
acknowledged is done again after the restart. SIGTERM lets every open batch finish or be dropped, within the grace.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI

from andon_chassis import health as health_module
from andon_chassis import http, telemetry
from andon_chassis.bus.kafka import KafkaBus
from andon_chassis.clock import SystemClock
from andon_chassis.codec import Codec, HttpSchemaRegistry
from andon_chassis.consuming import Batching
from andon_chassis.database import Database, Relay, Transaction
from andon_chassis.deadletter import DeadLetterBudget
from andon_chassis.errors import Unavailable
from andon_chassis.events import Event
from andon_chassis.health import Health
from andon_chassis.objects import NodeObjectStore, ObjectStore, S3ObjectStore
from andon_chassis.reference import ReferenceTable
from andon_chassis.retry import Backoff
from andon_chassis.settings import ServiceSettings
from andon_chassis.state import StateHandler, StateStep
from andon_chassis.stream import PartitionMemory, StreamHandler, StreamStep

log = structlog.get_logger()

STUCK_S = 90.0
WATCH_EVERY_S = 5.0

Loop = Callable[[threading.Event], None]


def collect_rarely() -> None:
    """What was imported stays for ever: the collector need not walk through it some times a second. Events make no
    cycles, but errors do (an exception's traceback knows the frame that knows the exception), so it still runs.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(2_000, 20, 50)


class Service:
    """Collects the parts of a service and runs them."""

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        telemetry.configure(settings.service, settings.instance_id, settings.log_level, settings.trace_file)
        self.clock = SystemClock()
        static_id = settings.instance_id if settings.static_member else None
        self.bus = KafkaBus(settings.kafka_bootstrap, settings.kafka_login(), static_id=static_id)
        self.codec = Codec(HttpSchemaRegistry(settings.registry_url))
        self.health = Health(self.clock)
        self.health.depends_on("kafka", self.bus.ping)
        self.stop = threading.Event()
        self._databases: list[Database] = []
        self._references: list[ReferenceTable] = []
        self._loops: list[tuple[str, Loop]] = []
        self._failed = False

    # --- parts --------------------------------------------------------------------------------------------------------

    def objects(self) -> ObjectStore:
        """The object store, part of readiness."""
        s = self.settings
        store: ObjectStore = S3ObjectStore(s.s3_endpoint, s.s3_access_key, s.s3_secret_key)
        if s.object_cache_dir is not None:
            store = NodeObjectStore(store, s.object_cache_dir, s.object_cache_mb * 1_000_000)
        self.health.depends_on("object store", store.ping)
        return store

    def database(self, migrations: Path) -> Database:
        """The service's schema, with its outbox relay."""
        database = Database(self.settings.database_url, migrations, self.codec)
        self.health.depends_on("postgresql", database.ping)
        self._databases.append(database)
        self.component("relay", Relay(database, self.bus.producer(), self.health).run)
        return database

    def reference(self, topics: Sequence[str], apply: Callable[[Event[Any]], None]) -> None:
        """Reference data; everything else starts once it is loaded."""
        self._references.append(ReferenceTable(self.bus, self.codec, topics, apply, self.health))

    def stream_step(
        self, topics: Sequence[str], handler: StreamHandler, memory: PartitionMemory | None = None
    ) -> None:
        """Exactly-once from topics to topics."""

        def run(stop: threading.Event) -> None:
            StreamStep(
                service=self.settings.service,
                handler=handler,
                producer=self.bus.transactional_producer(
                    f"{self.settings.service}-{self.settings.instance_id}"
                ),
                tail=self.bus.tail_reader() if memory else None,
                memory=memory,
                name=f"step {' '.join(topics)}",
                topics=topics,
                consumer=self.bus.consumer(self.settings.service),
                **self._common(),
            ).run(stop)

        self.component(f"step {' '.join(topics)}", run)

    def state_step(
        self, topics: Sequence[str], handler: StateHandler, database: Database, group: str | None = None
    ) -> None:
        """Exactly-once from topics to the database and, through the outbox, to topics."""
        name = group or self.settings.service

        def run(stop: threading.Event) -> None:
            StateStep(
                service=self.settings.service,
                group=name,
                handler=handler,
                database=database,
                name=f"step {name}",
                topics=topics,
                consumer=self.bus.consumer(name, self.settings.patience_ms / 1000),
                **self._common(),
            ).run(stop)

        self.component(f"step {name}", run)

    def every(self, seconds: float, work: Callable[[Transaction], None], database: Database) -> None:
        """Deadlines: due times lie in the database, this looks for them."""
        name = f"every {seconds:g} s {getattr(work, '__name__', 'work')}"

        def run(stop: threading.Event) -> None:
            backoff = Backoff()
            while not stop.is_set():
                self.health.beat(name)
                try:
                    with database.transaction() as tx:
                        work(tx)
                    backoff.reset()
                    due = self.clock.monotonic() + seconds
                    while not stop.wait(max(0.0, min(WATCH_EVERY_S, due - self.clock.monotonic()))):
                        self.health.beat(name)
                        if self.clock.monotonic() >= due:
                            break
                except Unavailable as error:
                    log.warning(
                        "every.unavailable", work=name, dependency=error.dependency, detail=error.detail
                    )
                    stop.wait(backoff.delay())
            self.health.forget(name)

        self.component(name, run)

    def component(self, name: str, run: Loop) -> None:
        """A thread of its own; `run` returns soon after the event is set."""
        self._loops.append((name, run))

    def _common(self) -> dict[str, Any]:
        return {
            "codec": self.codec,
            "clock": self.clock,
            "health": self.health,
            "batching": Batching(self.settings.batch_max, self.settings.batch_linger_ms / 1000),
            "budget": DeadLetterBudget(),
        }

    # --- life ---------------------------------------------------------------------------------------------------------

    def run(self, app: FastAPI | None = None) -> int:
        """Run until SIGTERM or SIGINT; gives the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop.set())
        collect_rarely()
        self.health.not_ready("start", "starting")
        server = self._serve(app)
        threads = self._start_loops()
        if not self.stop.is_set():
            self.health.ready("start")
            log.info("service.ready", port=self.settings.http_port)
        self._watch()
        log.info("service.stopping")
        return self._shut_down(server, threads)

    def _watch(self) -> None:
        """Wait for the end, and make it when a step stands still.

        A client library can wait for ever for an answer that a broken line swallowed (seen: offsets sent into a
        transaction while the broker's line hung). Everything a step does is bounded well below this; what it holds
        open is aborted by the broker, fenced by the restarted instance, and done again.
        """
        while not self.stop.wait(WATCH_EVERY_S):
            stuck = {
                n: round(a) for n, a in self.health.ages().items() if n.startswith("step ") and a > STUCK_S
            }
            if stuck:
                log.critical(
                    "service.stuck", seconds=stuck, advice="ended, to be restarted by its supervisor"
                )
                os._exit(1)

    def _start_loops(self) -> list[threading.Thread]:
        threads = [self._thread(table.name, table.run) for table in self._references]
        self._open_databases()
        for table in self._references:
            while not table.loaded.wait(0.1) and not self.stop.is_set():
                pass
        if not self.stop.is_set():
            threads += [self._thread(name, run) for name, run in self._loops]
        return threads

    def _open_databases(self) -> None:
        backoff = Backoff()
        for database in self._databases:
            while not self.stop.is_set():
                try:
                    database.open()
                    break
                except Unavailable as error:
                    log.warning("service.unavailable", dependency=error.dependency, detail=error.detail)
                    self.stop.wait(backoff.delay())

    def _thread(self, name: str, run: Loop) -> threading.Thread:
        def guarded() -> None:
            try:
                run(self.stop)
            except BaseException:
                self._failed = True
                log.critical("service.crashed", part=name, exc_info=True)
                self.stop.set()

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread

    def _serve(self, app: FastAPI | None) -> Callable[[], None]:
        host, port = self.settings.http_host, self.settings.http_port
        if app is None:
            return health_module.serve(self.health, host, port).shutdown
        http.install(app, self.health)
        server = uvicorn.Server(
            uvicorn.Config(app, host, port, log_config=None, access_log=False, timeout_graceful_shutdown=5)
        )

        def serve(stop: threading.Event) -> None:
            server.run()  # off the main thread it leaves the signals to us
            if not stop.is_set():
                raise RuntimeError(f"the HTTP server ended; is port {port} taken?")

        thread = self._thread("http", serve)

        def shut_down() -> None:
            server.should_exit = True
            thread.join(self.settings.shutdown_grace_s)

        return shut_down

    def _shut_down(self, stop_serving: Callable[[], None], threads: list[threading.Thread]) -> int:
        deadline = time.monotonic() + self.settings.shutdown_grace_s
        stop_serving()
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        hanging = [t.name for t in threads if t.is_alive()]
        if hanging:
            # Killing is safe: what is open is aborted by the broker and the database, and done again.
            log.error("service.hanging", parts=hanging)
            os._exit(1)
        for database in self._databases:
            database.close()
        log.info("service.stopped")
        return 1 if self._failed else 0

"""Puts the agent together, and its few commands.

python -m edge_agent             run until SIGTERM
python -m edge_agent verify      check the release that is given, and end
python -m edge_agent aside       list the images that the plant refused
python -m edge_agent send-again  let them wait once more
python -m edge_agent take-out --out DIR   write them to a folder and let them go
"""

from __future__ import annotations

import argparse
import fcntl
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import structlog
from andon_chassis.clock import SystemClock
from andon_chassis.errors import Unavailable
from andon_chassis.health import Health
from andon_vision import DecodeLimits
from prometheus_client import Gauge

from edge_agent.adapters.folder import FolderSettings, WatchedFolder
from edge_agent.adapters.journal import JsonLines
from edge_agent.adapters.plant import PLANT, HttpPlant
from edge_agent.adapters.queue import MB, SqliteQueue
from edge_agent.adapters.release import ReleaseRefused, Releases, write_durably
from edge_agent.api import Api, UploadLimits
from edge_agent.handlers import Forwarder, Intake
from edge_agent.ports import SET_ASIDE, Full, Record
from edge_agent.settings import EdgeSettings, SettingsError

log = structlog.get_logger()

WAITING = Gauge("andon_edge_waiting", "Images that the plant does not have yet")
ASIDE = Gauge("andon_edge_set_aside", "Images that the plant refused; a person looks")
HELD = Gauge("andon_edge_held_bytes", "Bytes of both")

GRACE_S = 10.0
QUEUE, JOURNAL, KEPT, LOCK = "queue.sqlite", "decisions.jsonl", "release", "agent.lock"

Loop = Callable[[threading.Event], None]


class AlreadyRunning(RuntimeError):
    """Another agent has this state folder."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit status, 2 with a sentence on stderr when it cannot start."""
    options = _parser().parse_args(arguments)
    try:
        settings = EdgeSettings.read(os.environ)
        _log_to_stderr(settings.log_level)
        return _COMMANDS[options.command or "run"](settings, options)
    except (SettingsError, ReleaseRefused, AlreadyRunning, Full, Unavailable, OSError) as error:
        print(f"edge-agent: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edge_agent", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("run", help="run until SIGTERM")
    commands.add_parser("verify", help="check the release that is given, and end")
    commands.add_parser("aside", help="list the images that the plant refused")
    commands.add_parser("send-again", help="let them wait once more, after what was wrong is mended")
    out = commands.add_parser("take-out", help="write them to a folder and let them go")
    out.add_argument("--out", type=Path, required=True)
    return parser


def _log_to_stderr(level: str) -> None:
    logging.basicConfig(level=level, stream=sys.stderr, format="%(message)s", force=True)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


# --- running ---


def _run(settings: EdgeSettings, _: argparse.Namespace) -> int:
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    with _only_one(settings.state_dir):
        return Agent(settings).run()


@contextmanager
def _only_one(state_dir: Path) -> Iterator[None]:
    """Two agents on one queue would send everything twice. Raises AlreadyRunning."""
    with (state_dir / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunning(f"another agent runs on {state_dir}; give this one its own.") from error
        yield


class Agent:
    """All parts of a running agent. Raises ReleaseRefused, Unavailable, OSError when one cannot be made."""

    def __init__(self, settings: EdgeSettings) -> None:
        self._settings = settings
        self._stop = threading.Event()
        self._failed = False
        self._clock = SystemClock()
        self._health = Health(self._clock)
        self._limits = DecodeLimits(settings.max_image_bytes, settings.max_image_pixels)
        opened = releases(settings).open()
        if opened.trouble:
            log.error("release.refused", detail=opened.trouble)
        self._queue = queue(settings)
        self._plant = HttpPlant(
            settings.ingest_url, timeout_s=settings.send_timeout_s, ca_file=settings.ingest_ca_file
        )
        self._forwarder = Forwarder(
            self._queue,
            self._plant,
            self._clock,
            self._health,
            longest_pause_s=settings.longest_pause_s,
        )
        journal = JsonLines(settings.state_dir / JOURNAL)
        journal.catch_up(lambda after: self._queue.records(after, settings.records))
        self._intake = Intake(
            queue=self._queue,
            network=opened.network,
            journal=journal,
            clock=self._clock,
            limits=self._limits,
            defaults=settings.defaults(),
            accepted=self._forwarder.wake,
        )
        self._release = opened.network.rules.release
        self._watch(opened.trouble)

    def _watch(self, release_trouble: str) -> None:
        """What readiness and the gauges ask. The agent does its work without the plant."""

        def release() -> None:
            if release_trouble:
                raise Unavailable("release", release_trouble)

        self._health.depends_on("queue", self._probe_queue)
        self._health.depends_on(PLANT, self._forwarder.probe)
        self._health.goes_on_without(PLANT)
        self._health.depends_on("release", release)
        self._health.goes_on_without("release")
        WAITING.set_function(lambda: self._queue.fill().waiting)
        ASIDE.set_function(lambda: self._queue.fill().set_aside)
        HELD.set_function(lambda: self._queue.fill().held_bytes)

    def _probe_queue(self) -> None:
        try:
            self._intake.check_room()
        except Full as error:
            raise Unavailable("queue", str(error)) from error

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; gives the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        api = self._listen()
        loops: dict[str, Loop] = {"forwarder": self._forwarder.run, "http": lambda _: api.serve_forever(0.1)}
        if self._settings.folder is not None:
            loops["folder"] = WatchedFolder(
                self._folder(self._settings.folder), self._intake, self._health
            ).run
        threads = [self._thread(name, run) for name, run in loops.items()]
        log.info("agent.ready", release=self._release, address="{}:{}".format(*api.server_address[:2]))
        while not self._stop.wait(60):
            pass
        log.info("agent.stopping")
        api.shutdown()
        self._forwarder.wake()
        deadline = self._clock.monotonic() + GRACE_S
        for thread in threads:
            thread.join(max(0.0, deadline - self._clock.monotonic()))
        # What still waits for the plant is cut off: it is in the queue and is sent again.
        return 1 if self._failed else 0

    def _listen(self) -> Api:
        settings = self._settings
        limits = UploadLimits(settings.max_image_bytes, settings.max_held_bytes, settings.upload_timeout_s)
        address = (settings.http_host, settings.http_port)
        return Api(address, self._intake, self._queue, self._health, limits)

    def _folder(self, root: Path) -> FolderSettings:
        settings = self._settings
        return FolderSettings(
            root=root,
            settle_s=settings.folder_settle_s,
            sidecar_required=settings.folder_sidecar_required,
            largest=settings.max_image_bytes,
        )

    def _thread(self, name: str, run: Loop) -> threading.Thread:
        def guarded() -> None:
            try:
                run(self._stop)
            except BaseException:
                self._failed = True
                log.critical("agent.crashed", part=name, exc_info=True)
                self._stop.set()

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread


def releases(settings: EdgeSettings) -> Releases:
    """Where the release is looked for."""
    return Releases(
        place=settings.bundle,
        key=settings.release_key,
        kept=settings.state_dir / KEPT,
        limits=DecodeLimits(settings.max_image_bytes, settings.max_image_pixels),
        threads=settings.model_threads,
    )


def queue(settings: EdgeSettings) -> SqliteQueue:
    """The queue in the state folder."""
    return SqliteQueue(
        settings.state_dir / QUEUE,
        most_bytes=settings.queue_mb * MB,
        free_bytes=settings.min_free_mb * MB,
        most_records=settings.records,
    )


# --- commands beside a running agent ---


def _verify(settings: EdgeSettings, _: argparse.Namespace) -> int:
    print(releases(settings).check().rules.release)
    return 0


def _aside(settings: EdgeSettings, _: argparse.Namespace) -> int:
    for record in _refused(queue(settings)):
        print(json.dumps(record.as_json()))
    return 0


def _send_again(settings: EdgeSettings, _: argparse.Namespace) -> int:
    print(f"{queue(settings).send_again()} images wait again")
    return 0


def _take_out(settings: EdgeSettings, options: argparse.Namespace) -> int:
    """Each is written durably before it is let go."""
    held = queue(settings)
    options.out.mkdir(parents=True, exist_ok=True)
    for record in _refused(held):
        data = held.image(record.seq)
        if data is None:
            continue
        suffix = record.media_type.rpartition("/")[2]
        image = options.out / f"{record.seq}.{suffix}"
        write_durably(image, data)
        told = {**record.as_json(), "metadata": record.metadata}
        write_durably(options.out / f"{record.seq}.json", json.dumps(told, indent=1).encode())
        held.taken_out(record.seq, str(image))
        print(image)
    return 0


def _refused(held: SqliteQueue) -> Iterator[Record]:
    last = 0
    while found := held.records(last, 100, SET_ASIDE):
        yield from found
        last = found[-1].seq


_COMMANDS: dict[str, Callable[[EdgeSettings, argparse.Namespace], int]] = {
    "run": _run,
    "verify": _verify,
    "aside": _aside,
    "send-again": _send_again,
    "take-out": _take_out,
}

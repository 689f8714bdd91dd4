"""Keeps Triton serving exactly the releases that the plant has assigned, from its own thread."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import structlog
from andon_chassis.errors import Invalid, Unavailable
from andon_chassis.events import Event
from andon_chassis.health import Health
from andon_chassis.retry import Backoff
from andon_events.records import ModelReleased, ModelRolledBack, ObjectRef
from andon_vision.release_bundle import (
    BundleRefused,
    ReleaseBundle,
    parse_bundle,
    parse_public_key,
    unpack_bundle,
)

from inference.domain.releases import MODES, Place, ReleaseTable
from inference.ports import LoadFailed, Objects
from inference.serving import ServingLimits

log = structlog.get_logger()

CHECK_EVERY_S = 2.0
LOAD_AGAIN_AFTER_S, LOAD_AGAIN_AT_MOST_S = 1.0, 60.0


class ModelServer(Protocol):
    """What the keeper needs of Triton; every method may raise Unavailable."""

    def is_loaded(self, release: str) -> bool: ...

    def load(
        self, bundle: ReleaseBundle, files: dict[str, bytes], public_key: bytes, limits: ServingLimits
    ) -> None: ...

    def unload(self, release: str) -> None: ...


class ReleaseKeeper:
    """The assignments of the plant, and the releases that Triton serves for them.

    `apply` is called from the thread that follows the reference topics, `run` is a thread of its own, `table` and
    `loaded` are read by the stream step: each swaps or reads one reference to something that is never changed.
    """

    def __init__(
        self, server: ModelServer, objects: Objects, key_file: Path, limits: ServingLimits, health: Health
    ) -> None:
        self._server = server
        self._objects = objects
        self._key_file = key_file
        self._limits = limits
        self._health = health
        self._bundles: Mapping[str, ObjectRef] = {}
        self._loaded: Mapping[str, ReleaseBundle] = {}
        self._refused: frozenset[str] = frozenset()
        self._broken: frozenset[str] = frozenset()
        self._failing: dict[str, tuple[float, Backoff]] = {}
        self._changed = threading.Event()
        self.table = ReleaseTable()

    def apply(self, e: Event[Any]) -> None:
        """Takes in `model.released` and `model.rolled-back`."""
        data: ModelReleased | ModelRolledBack = e.data
        place = Place(data.scope.line, data.scope.station)
        told = {"release": data.release, "mode": data.mode, "line": place.line, "station": place.station}
        if data.mode not in MODES:
            log.error("release.unknown-mode", **told, by=e.topic)
            return
        self._bundles = {**self._bundles, data.release: data.bundle}
        if isinstance(data, ModelReleased):
            self._bundles = {**{known.release: known.bundle for known in data.fallbacks}, **self._bundles}
            stand_ins = [known.release for known in data.fallbacks]
            self.table = self.table.released(
                place, data.release, data.mode, data.released_at, data.share, stand_ins
            )
        else:
            self.table = self.table.rolled_back(
                place, data.release, data.from_release, data.mode, data.rolled_back_at, data.follows
            )
        log.info("release.assigned", **told, by=e.topic)
        self._changed.set()

    def loaded(self, release: str) -> ReleaseBundle | None:
        """The description of a release that Triton serves now."""
        return self._loaded.get(release)

    def lost(self, release: str) -> None:
        """Triton said that it does not know this release: look again at once."""
        self._forget(release)
        self._changed.set()

    def died(self, release: str) -> None:
        """A process of this release died: it has to be unloaded and loaded again, although Triton calls it ready."""
        self._broken |= {release}
        self.lost(release)

    def run(self, stop: threading.Event) -> None:
        """Loads and unloads until `stop`; a dependency that is away is tried again, a refused bundle is not."""
        backoff = Backoff()
        while not stop.is_set():
            self._health.beat("releases")
            self._changed.clear()
            try:
                self.synchronise()
                backoff.reset()
                self._wait(stop, CHECK_EVERY_S)
            except Unavailable as error:
                log.warning("release.waiting", dependency=error.dependency, detail=error.detail)
                self._wait(stop, backoff.delay())
        self._health.forget("releases")

    def _wait(self, stop: threading.Event, seconds: float) -> None:
        """Until something changed, or it is time to look whether Triton was restarted."""
        waited = 0.0
        while waited < seconds and not stop.is_set() and not self._changed.wait(0.1):
            waited += 0.1

    def synchronise(self) -> None:
        """One pass: forget what Triton lost, load what is missing, unload what nobody needs.

        A release that Triton cannot load holds up no other one, and is tried again ever more rarely.
        Raises Unavailable.
        """
        for release in list(self._loaded):
            if not self._server.is_loaded(release):
                self._forget(release)
        for release in self._wanted():
            if release not in self._loaded and self._due(release):
                try:
                    self._load(release)
                    self._failing.pop(release, None)
                except LoadFailed as error:
                    self._postpone(release, error)
        for release in sorted(set(self._loaded) - set(self._wanted())):
            # First nobody is sent there any more, then Triton lets it drain.
            self._forget(release)
            self._server.unload(release)
            log.info("release.unloaded", release=release)

    def _due(self, release: str) -> bool:
        """Whether it is time to load a release (again)."""
        return release not in self._failing or time.monotonic() >= self._failing[release][0]

    def _postpone(self, release: str, error: LoadFailed) -> None:
        """Each attempt costs Triton a process: what it could not load has to wait, while all others are served."""
        _, backoff = self._failing.get(release, (0.0, Backoff(LOAD_AGAIN_AFTER_S, LOAD_AGAIN_AT_MOST_S)))
        wait_s = backoff.delay()
        self._failing[release] = time.monotonic() + wait_s, backoff
        log.error("release.not-loaded", release=release, reason=error.detail, again_in_s=round(wait_s, 1))

    def _trusted_key(self) -> bytes:
        """The verifying key. Raises Unavailable while nobody has made one: a plant starts before its first release."""
        try:
            return self._key_file.read_bytes()
        except OSError as error:
            detail = f"{error}; make one with `python -m trainer keys` or set ANDON_RELEASE_KEY"
            raise Unavailable("release key", detail) from error

    def _wanted(self) -> tuple[str, ...]:
        return self.table.wanted(lambda release: release in self._loaded, self._refused)

    def _load(self, release: str) -> None:
        key = self._trusted_key()
        try:
            files = unpack_bundle(self._objects.get(self._bundles[release]))
            bundle = parse_bundle(files, parse_public_key(key))
            if bundle.release != release:
                raise BundleRefused(f"the bundle says it is {bundle.release}")
        except (BundleRefused, Invalid) as error:
            # It will never get better; the station keeps what it has, and people see it here.
            self._refused |= {release}
            log.error("release.refused", release=release, reason=str(error))
            return
        if release in self._broken:
            self._server.unload(release)
            self._broken -= {release}
            log.warning("release.restarted", release=release)
        if not self._server.is_loaded(release):
            self._server.load(bundle, files, key, self._limits)
            del files
            give_memory_back()
        self._loaded = {**self._loaded, release: bundle}
        log.info("release.loaded", release=release)

    def _forget(self, release: str) -> None:
        self._loaded = {name: bundle for name, bundle in self._loaded.items() if name != release}


def give_memory_back() -> None:
    """A release passes through memory several times on its way; the C library would keep those pages for ever."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)

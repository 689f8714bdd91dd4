"""The way in by a watched folder, for cameras and programs that can only write files.

    <root>/**/part.png + part.json     an image and its metadata, the same name in the same folder
    <root>/**/*.index.csv              or one list for many images: a column `image` and a column for each
    metadata field <root>/<line>/<station>/part.png   names line and station when the metadata do not

An image belongs to one instance by one rename into `<root>/.claimed/<instance>/<ticket>/`. Its folder there
travels as a whole, again by one rename, to `processed/` or, when any of its images
was refused, `refused/`, with a `result.json` that says why.
Whatever line a process is killed at, the files are in exactly one of these places; another instance adopts
what a dead one had claimed (a file lock tells who is alive). Taking the same image in twice changes nothing,
so doing the last step again is safe. No file is ever deleted, except processed ones that are old.

A file that cannot be read is waited for, as another program may hold it, and refused when that does not end. A
share that does not answer is waited for as long as it takes, and says nothing about its files.

The folder is polled: notifications do not work on the network shares that such folders usually are.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import fcntl
import io
import json
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any

import structlog
from andon_chassis import telemetry
from andon_chassis.errors import Invalid, Unavailable
from andon_chassis.health import Health
from andon_chassis.retry import Backoff
from prometheus_client import Gauge

from capture_ingest.handlers import REFUSED, Admission, Receipt, Submission

log = structlog.get_logger()

WAITING = Gauge("andon_folder_waiting", "Images in the watched folder that wait for their metadata")
STUCK = Gauge(
    "andon_folder_stuck", "Files of the watched folder that cannot be read or moved; the log names them"
)

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
INDEX = ".index.csv"
CLAIMED, PROCESSED, REFUSED_FOLDER, RESULT, LOCK = ".claimed", "processed", "refused", "result.json", ".lock"
LONGEST_LABEL = 150
LONGEST_NAME = 255
"""Bytes of a file name, on every file system that such folders lie on."""

SHARE = "watched folder"
HOPELESS = frozenset({errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
"""What no waiting mends. Anything else may be another program that holds the file, or the share itself."""


@dataclass(frozen=True, slots=True)
class FolderSettings:
    """How the folder is watched.

    Attributes:
        root: The folder; must be one file system, so that a rename is atomic.
        instance: Names this process among those that watch the same folder.
        every_s: Time between two looks.
        settle_s: A file younger than this may still be written and is left alone.
        sidecar_required: False takes images without metadata, once they are `orphan_s` old.
        orphan_s: How long an index waits for its images, an image for metadata that are not required, and a file
            that cannot be read before it is refused.
        most: Images taken at a time.
        largest: Bytes of an image.
        keep_days: How long processed files are kept.
    """

    root: Path
    instance: str
    every_s: float = 0.5
    settle_s: float = 1.0
    sidecar_required: bool = True
    orphan_s: float = 30.0
    most: int = 50
    largest: int = 64 * 1024 * 1024
    keep_days: float = 7.0


class WatchedFolder:
    """Takes in what lies in a folder."""

    def __init__(self, settings: FolderSettings, admission: Admission, health: Health) -> None:
        self._settings = settings
        self._admission = admission
        self._health = health
        self._root = settings.root
        self._mine = settings.root / CLAIMED / settings.instance
        self._swept = float("-inf")
        self._troubles = _Troubles()

    def run(self, stop: threading.Event) -> None:
        """Look until stopped. A share that is away is waited for: images still come in on the other ways."""
        backoff = Backoff()
        while not stop.is_set():
            self._health.beat("folder")
            try:
                self._watch(stop, backoff)
            except OSError as error:
                telemetry.UNAVAILABLE.labels(SHARE).set(1)
                log.warning("folder.unavailable", dependency=SHARE, detail=str(error))
                self._troubles = _Troubles()  # what the share did is not held against its files
                stop.wait(backoff.delay())
        self._health.forget("folder")

    def _watch(self, stop: threading.Event, backoff: Backoff) -> None:
        """Look until stopped, under one lock. Raises OSError when the share does not answer; its places may have to
        be made again then, and the lock taken again.
        """
        with self.open():
            while not stop.is_set():
                self._health.beat("folder")
                left = self.look()
                telemetry.UNAVAILABLE.labels(SHARE).set(0)
                backoff.reset()
                if left == 0:
                    stop.wait(self._settings.every_s)

    def open(self) -> IO[str]:
        """Make the places, and hold the lock that says this instance lives."""
        self._mine.mkdir(parents=True, exist_ok=True)
        for name in (PROCESSED, REFUSED_FOLDER):
            (self._root / name).mkdir(exist_ok=True)
        lock = (self._mine / LOCK).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
        except OSError:
            lock.close()
            raise
        return lock

    def look(self) -> int:
        """One round: adopt, claim, take in. Gives the number of items that left the folder. Raises OSError when the
        share does not answer.
        """
        self._adopt()
        self._sweep()
        WAITING.set(self._claim())
        items = [p for p in sorted(self._mine.iterdir()) if p.is_dir()][: self._settings.most]
        left = self._take_in(items)
        STUCK.set(self._troubles.end_round())
        return left

    # --- claiming ---

    def _adopt(self) -> None:
        """Take over what a dead instance had claimed."""
        for other in (self._root / CLAIMED).iterdir():
            if other == self._mine or not other.is_dir():
                continue
            try:
                with (other / LOCK).open("a") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    for item in [p for p in other.iterdir() if p.is_dir()]:
                        item.rename(self._mine / item.name)
                    if self._age(other / LOCK) > 86_400:  # nobody starts under this name any more
                        with contextlib.suppress(OSError):
                            _remove_empty(other, LOCK)
            except (BlockingIOError, FileNotFoundError):
                continue  # it lives, or somebody else was faster
            except OSError as error:
                self._troubles.note(other, error)

    def _claim(self) -> int:
        """Move complete items into places of their own; gives the number of images without metadata."""
        claimed = alone = 0
        for path in self._waiting():
            if claimed >= self._settings.most:
                break
            sidecar = path.with_suffix(".json")
            if path.name.endswith(INDEX):
                if self._is_complete(path):
                    claimed += self._move_to_mine(path, [path])
            elif sidecar.exists():
                if self._settled(sidecar):
                    claimed += self._move_to_mine(path, [path, sidecar])
            elif not self._settings.sidecar_required and self._age(path) >= self._settings.orphan_s:
                claimed += self._move_to_mine(path, [path])
            else:
                alone += 1
        return alone

    def _waiting(self) -> Iterator[Path]:
        """Files that nobody writes any more; those on an index first come with it."""
        reserved = {CLAIMED, PROCESSED, REFUSED_FOLDER}
        indexed: set[Path] = set()
        for folder, folders, names in os.walk(self._root, onerror=self._troubles.note_folder):
            here = Path(folder)
            if here == self._root:
                folders[:] = [f for f in folders if f not in reserved]
            folders[:] = sorted(f for f in folders if not f.startswith("."))
            for index in (n for n in names if n.endswith(INDEX)):
                indexed |= {here / name for name in _index_images(here / index)}
            for name in sorted(names, key=lambda n: (not n.endswith(INDEX), n)):
                path = here / name
                wanted = name.endswith(INDEX) or (path.suffix.lower() in SUFFIXES and path not in indexed)
                if wanted and not name.startswith(".") and self._settled(path):
                    yield path

    def _is_complete(self, index: Path) -> bool:
        """All images of an index are there, or it has waited for them long enough.

        One without images may be one whose writer has flushed nothing but its header.
        """
        images = [index.parent / name for name in _index_images(index)]
        if self._age(index) >= self._settings.orphan_s:
            return True
        return bool(images) and all(self._settled(image) for image in images)

    def _settled(self, path: Path) -> bool:
        return self._age(path) >= self._settings.settle_s

    @staticmethod
    def _age(path: Path) -> float:
        try:
            return time.time() - path.stat().st_mtime
        except OSError:  # not there, or not to be seen now
            return float("-inf")

    def _move_to_mine(self, path: Path, files: Iterable[Path]) -> int:
        """Claim files under a place of their own that also says where they came from."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        place = self._mine / f"{stamp}-{uuid.uuid4().hex[:6]}" / path.parent.relative_to(self._root)
        try:
            place.mkdir(parents=True)
            for file in files:
                file.rename(place / file.name)
        except FileNotFoundError:
            return 0  # another instance was faster; an empty place is swept away by `_end`
        except OSError as error:
            self._troubles.note(path, error)
            return 0
        return 1

    # --- taking in ---

    def _take_in(self, items: list[Path]) -> int:
        """Hand the images of all items in, no more than `most` of them in memory at a time, and end the items."""
        results: dict[Path, list[dict[str, Any]]] = {item: [] for item in items}
        waiting: set[Path] = set()
        works = self._works(items, waiting)
        while chunk := list(islice(works, self._settings.most)):
            self._health.beat("folder")
            for item, work in chunk:
                try:
                    results[item].append(work.result())
                except Unavailable as error:
                    if item not in waiting and error.dependency != SHARE:  # that is told already
                        log.warning("folder.unavailable", dependency=error.dependency, detail=error.detail)
                    waiting.add(item)
        return sum(self._end(item, results[item]) for item in items if item not in waiting)

    def _works(self, items: Iterable[Path], waiting: set[Path]) -> Iterator[tuple[Path, _Work]]:
        """The images of all items, each read when it is asked for; no more of an item that has to wait anyway."""
        for item in items:
            try:
                for work in self._start(item):
                    yield item, work
                    if item in waiting:
                        break
            except OSError as error:
                yield item, _Work(item.name, self._unreadable(item, error))

    def _start(self, item: Path) -> Iterator[_Work]:
        """Hand the images of an item to the admission."""
        found = [p for p in sorted(item.rglob("*")) if p.is_file() and p.name != RESULT]
        for path in found:
            if path.name.endswith(INDEX):
                yield from self._start_index(item, path)
                return
        for image in found:
            if image.suffix.lower() in SUFFIXES:
                yield self._submit(image.name, image, self._sidecar(item, image))

    def _sidecar(self, item: Path, image: Path) -> dict[str, Any] | Invalid | Unavailable:
        """Metadata beside the image. A killed process may have claimed the image and not yet its sidecar."""
        sidecar = image.with_suffix(".json")
        left_behind = self._root / sidecar.relative_to(item)
        defaults = self._place_names(image.relative_to(item))
        try:
            if not sidecar.exists() and left_behind.exists():
                left_behind.rename(sidecar)
            if not sidecar.exists():
                return defaults
            metadata = json.loads(sidecar.read_bytes())
        except OSError as error:
            return self._unreadable(sidecar, error)
        except (ValueError, RecursionError) as error:
            return Invalid("invalid-metadata", f"{sidecar.name} is not JSON: {error}.")
        if not isinstance(metadata, dict):
            return Invalid("invalid-metadata", f"{sidecar.name} is not a JSON object.")
        return defaults | metadata

    def _start_index(self, item: Path, index: Path) -> Iterator[_Work]:
        """Each row of an index. Its images are moved beside it first, so that they share its fate."""
        origin = self._root / index.parent.relative_to(item)
        try:
            rows = list(csv.DictReader(io.StringIO(index.read_text(encoding="utf-8-sig"))))
        except OSError as error:
            yield _Work(index.name, self._unreadable(index, error))
            return
        except (UnicodeDecodeError, csv.Error) as error:
            yield _Work(index.name, Invalid("invalid-index", f"The index is not CSV in UTF-8: {error}."))
            return
        if not rows:
            yield _Work(
                index.name, Invalid("empty-index", "The index has no rows; was it written to its end?")
            )
        for row in rows:
            yield self._row(index, origin, row, self._place_names(index.relative_to(item)))

    def _row(
        self, index: Path, origin: Path, row: Mapping[str, str], defaults: Mapping[str, object]
    ) -> _Work:
        name = (row.get("image") or "").strip()
        image = index.parent / name
        if not _is_name(name):
            return _Work(name, Invalid("invalid-index", "Name an image in the index's own folder."))
        try:
            if not image.exists() and (origin / name).is_file():
                (origin / name).rename(image)
        except OSError as error:
            return _Work(name, self._unreadable(origin / name, error))
        said = {k: v for k, v in row.items() if k and k != "image" and isinstance(v, str) and v.strip()}
        return self._submit(name, image, {**defaults, **said})

    def _place_names(self, relative: Path) -> dict[str, Any]:
        """Line and station from <line>/<station>/file."""
        parts = relative.parts
        return {"line": parts[0], "station": parts[1]} if len(parts) == 3 else {}

    def _submit(
        self, name: str, image: Path, metadata: Mapping[str, object] | Invalid | Unavailable
    ) -> _Work:
        if isinstance(metadata, Invalid | Unavailable):
            return _Work(name, metadata)
        try:
            if image.stat().st_size > self._settings.largest:
                return _Work(
                    name, Invalid("too-large", f"At most {self._settings.largest} bytes are accepted.")
                )
            data = image.read_bytes()
        except FileNotFoundError:
            return _Work(
                name, Invalid("missing-image", "The index names an image that is not in its folder.")
            )
        except OSError as error:
            return _Work(name, self._unreadable(image, error))
        return _Work(name, self._admission.submit(Submission(data, metadata, "folder")))

    def _unreadable(self, path: Path, error: OSError) -> Invalid | Unavailable:
        """Why a file was not read: it may be held by another program, or the share is away, and then it is tried
        again; or it is the file, after `orphan_s` on a share that answers.
        """
        since_s = self._troubles.note(path, error)
        if error.errno not in HOPELESS and (since_s < self._settings.orphan_s or not self._answers()):
            return Unavailable(SHARE, str(error))
        why = error.strerror or str(error)
        return Invalid("unreadable-file", f"{path.name} cannot be read: {why}. Check who may read it.")

    def _answers(self) -> bool:
        """Whether the share does what it should: it gives this instance's own file."""
        try:
            (self._mine / LOCK).read_bytes()
        except OSError:
            return False
        return True

    # --- ending ---

    def _end(self, item: Path, results: list[dict[str, Any]]) -> int:
        """Write the result and move the item away; what fails is tried again in the next round."""
        try:
            if not results:
                if _remove_empty(item):  # a claim that came to nothing
                    return 0
                results = [
                    _Work(item.name, Invalid("no-image", "There is no image among these files.")).result()
                ]
            refused = [r for r in results if "reason" in r]
            _write_durably(item / RESULT, {"images": results})
            target = self._root / (REFUSED_FOLDER if refused else PROCESSED)
            target.mkdir(exist_ok=True)  # somebody may have tidied up
            item.rename(target / f"{item.name}-{_label(results)}")
        except OSError as error:
            self._troubles.note(item, error)
            return 0
        for result in refused:
            REFUSED.labels("folder", result["reason"]).inc()
        return 1

    def _sweep(self) -> None:
        """Remove processed items when they are old; their images lie in the object store."""
        if time.monotonic() - self._swept < 3600:
            return
        self._swept = time.monotonic()
        for item in (self._root / PROCESSED).iterdir():
            if self._age(item) > self._settings.keep_days * 86_400:
                shutil.rmtree(item, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class _Work:
    """An image that was handed in, or why it was not."""

    name: str
    outcome: Future[Receipt] | Invalid | Unavailable

    def result(self) -> dict[str, Any]:
        """As it goes into result.json. Raises Unavailable."""
        try:
            if isinstance(self.outcome, Invalid | Unavailable):
                raise self.outcome
            return {"image": self.name, **self.outcome.result().body()}
        except Invalid as error:
            return {"image": self.name, "status": "refused", "reason": error.reason, "advice": error.advice}


class _Troubles:
    """Files that could not be read or moved, and since when; each is logged once, not in every round."""

    def __init__(self) -> None:
        self._since: dict[Path, float] = {}
        self._now: set[Path] = set()

    def note(self, path: Path, error: OSError) -> float:
        """A file made trouble. Gives for how many seconds it has done so, in every round."""
        if path not in self._since:
            log.warning("folder.stuck", path=str(path), detail=str(error))
            self._since[path] = time.monotonic()
        self._now.add(path)
        return time.monotonic() - self._since[path]

    def note_folder(self, error: OSError) -> None:
        """As `os.walk` tells it."""
        if not isinstance(error, FileNotFoundError):  # removed meanwhile
            self.note(Path(str(error.filename)), error)

    def end_round(self) -> int:
        """Forget those that made no trouble any more; gives how many still do."""
        self._since = {path: since for path, since in self._since.items() if path in self._now}
        self._now = set()
        return len(self._since)


def _label(results: list[dict[str, Any]]) -> str:
    """What a person recognises an item by, fit for a file name."""
    stem = re.sub(r"[\x00-\x1f\x7f/\\]", "_", Path(results[0]["image"]).stem)
    return os.fsencode(stem)[:LONGEST_LABEL].decode(errors="ignore").strip(".") or "item"


def _is_name(name: str) -> bool:
    """Whether this can be the name of a file in the index's own folder."""
    plain = Path(name).name == name and name not in ("", "..") and "\0" not in name
    return plain and len(name.encode(errors="replace")) <= LONGEST_NAME


def _index_images(index: Path) -> set[str]:
    """Names on an index that can be names of files; none when it cannot be read yet."""
    try:
        with index.open(encoding="utf-8-sig", newline="") as file:
            names = {(row.get("image") or "").strip() for row in csv.DictReader(file)}
    except (OSError, UnicodeDecodeError, csv.Error):
        return set()
    return {name for name in names if _is_name(name)}


def _remove_empty(folder: Path, *but: str) -> bool:
    """Remove a folder that holds no file, or none but these. Nothing else is touched: it is somebody's image."""
    found = list(folder.rglob("*"))
    if any(not path.is_dir() and path.name not in but for path in found):
        return False
    for path in sorted(found, reverse=True):  # a folder's content before the folder
        path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
    folder.rmdir()
    return True


def _write_durably(path: Path, body: dict[str, Any]) -> None:
    with path.open("w") as file:
        json.dump(body, file, indent=1)
        file.flush()
        os.fsync(file.fileno())

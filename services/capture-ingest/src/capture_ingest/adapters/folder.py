"""The way in by a watched folder, for cameras and programs that can only write files.

    <root>/**/part.png + part.json     an image and its metadata, the same name in the same folder
    <root>/**/*.index.csv              or one list for many images: a column `image` and a column for each
    metadata field <root>/<line>/<station>/part.png   names line and station when the metadata do not

An image belongs to one instance by one rename into `<root>/.claimed/<instance>/<ticket>/`. Its folder there
travels as a whole, again by one rename, to `processed/` or, when any of its images
was refused, `refused/`, with a `result.json` that says why.
Whatever line a process is killed at, the files are in exactly one of these places; another instance adopts
what a dead one had claimed (a file lock tells who is alive). Taking the same image in twice changes nothing,
so doing the last step again is safe.

The folder is polled: notifications do not work on the network shares that such folders usually are.
"""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import structlog
from andon_chassis.errors import Invalid, Unavailable
from andon_chassis.health import Health
from prometheus_client import Gauge

from capture_ingest.handlers import REFUSED, Admission, Receipt, Submission

log = structlog.get_logger()

WAITING = Gauge("andon_folder_waiting", "Images in the watched folder that wait for their metadata")

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
INDEX = ".index.csv"
CLAIMED, PROCESSED, REFUSED_FOLDER, RESULT, LOCK = ".claimed", "processed", "refused", "result.json", ".lock"
LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class FolderSettings:
    """How the folder is watched.

    Attributes:
        root: The folder; must be one file system, so that a rename is atomic.
        instance: Names this process among those that watch the same folder.
        every_s: Time between two looks.
        settle_s: A file younger than this may still be written and is left alone.
        sidecar_required: False takes images without metadata, once they are `orphan_s` old.
        orphan_s: How long an index waits for its images, and an image for metadata that are not required.
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

    def run(self, stop: threading.Event) -> None:
        """Look until stopped."""
        lock = self.open()
        try:
            while not stop.is_set():
                self._health.beat("folder")
                if self.look() == 0:
                    stop.wait(self._settings.every_s)
        finally:
            lock.close()
            self._health.forget("folder")

    def open(self) -> IO[str]:
        """Make the places, and hold the lock that says this instance lives."""
        self._mine.mkdir(parents=True, exist_ok=True)
        for name in (PROCESSED, REFUSED_FOLDER):
            (self._root / name).mkdir(exist_ok=True)
        lock = (self._mine / LOCK).open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        return lock

    def look(self) -> int:
        """One round: adopt, claim, take in. Gives the number of items that left the folder."""
        self._adopt()
        self._sweep()
        WAITING.set(self._claim())
        items = [p for p in sorted(self._mine.iterdir()) if p.is_dir()][: self._settings.most]
        started = [(item, self._start(item)) for item in items]
        return sum(self._end(item, work) for item, work in started)

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
                        shutil.rmtree(other, ignore_errors=True)
            except (BlockingIOError, FileNotFoundError):
                continue  # it lives, or somebody else was faster

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
        for folder, folders, names in os.walk(self._root):
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
        """All images of an index are there, or it has waited for them long enough."""
        images = (index.parent / name for name in _index_images(index))
        return self._age(index) >= self._settings.orphan_s or all(self._settled(image) for image in images)

    def _settled(self, path: Path) -> bool:
        return self._age(path) >= self._settings.settle_s

    @staticmethod
    def _age(path: Path) -> float:
        try:
            return time.time() - path.stat().st_mtime
        except FileNotFoundError:
            return float("-inf")

    def _move_to_mine(self, path: Path, files: Iterable[Path]) -> int:
        """Claim files under a place of their own that also says where they came from."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        place = self._mine / f"{stamp}-{uuid.uuid4().hex[:6]}" / path.parent.relative_to(self._root)
        place.mkdir(parents=True)
        for file in files:
            try:
                file.rename(place / file.name)
            except FileNotFoundError:  # another instance was faster; an empty place is swept away by `_start`
                return 0
        return 1

    # --- taking in ---

    def _start(self, item: Path) -> list[_Work]:
        """Hand the images of an item to the admission."""
        found = [p for p in item.rglob("*") if p.is_file() and p.name != RESULT]
        for path in found:
            if path.name.endswith(INDEX):
                return self._start_index(item, path)
        images = [p for p in found if p.suffix.lower() in SUFFIXES]
        return [self._submit(image.name, image, self._sidecar(item, image)) for image in images]

    def _sidecar(self, item: Path, image: Path) -> dict[str, Any] | Invalid:
        """Metadata beside the image. A killed process may have claimed the image and not yet its sidecar."""
        sidecar = image.with_suffix(".json")
        left_behind = self._root / sidecar.relative_to(item)
        if not sidecar.exists() and left_behind.exists():
            left_behind.rename(sidecar)
        defaults = self._place_names(image.relative_to(item))
        if not sidecar.exists():
            return defaults
        try:
            metadata = json.loads(sidecar.read_bytes())
        except (ValueError, RecursionError) as error:
            return Invalid("invalid-metadata", f"{sidecar.name} is not JSON: {error}.")
        if not isinstance(metadata, dict):
            return Invalid("invalid-metadata", f"{sidecar.name} is not a JSON object.")
        return defaults | metadata

    def _start_index(self, item: Path, index: Path) -> list[_Work]:
        """Each row of an index. Its images are moved beside it first, so that they share its fate."""
        origin = self._root / index.parent.relative_to(item)
        try:
            rows = list(csv.DictReader(io.StringIO(index.read_text(encoding="utf-8-sig"))))
        except (UnicodeDecodeError, csv.Error) as error:
            return [_Work(index.name, Invalid("invalid-index", f"The index is not CSV in UTF-8: {error}."))]
        defaults = self._place_names(index.relative_to(item))
        works = []
        for row in rows:
            name = (row.get("image") or "").strip()
            image = index.parent / name
            if not name or Path(name).name != name:
                works.append(
                    _Work(name, Invalid("invalid-index", "Name an image in the index's own folder."))
                )
                continue
            if not image.exists() and (origin / name).is_file():
                (origin / name).rename(image)
            said = {k: v for k, v in row.items() if k and k != "image" and isinstance(v, str) and v.strip()}
            works.append(self._submit(name, image, defaults | said))
        return works

    def _place_names(self, relative: Path) -> dict[str, Any]:
        """Line and station from <line>/<station>/file."""
        parts = relative.parts
        return {"line": parts[0], "station": parts[1]} if len(parts) == 3 else {}

    def _submit(self, name: str, image: Path, metadata: Mapping[str, object] | Invalid) -> _Work:
        if isinstance(metadata, Invalid):
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
        return _Work(name, self._admission.submit(Submission(data, metadata, "folder")))

    # --- ending ---

    def _end(self, item: Path, works: list[_Work]) -> int:
        """Write the result and move the item away; an item that has to wait stays and is tried again."""
        if not works:  # a claim that came to nothing
            shutil.rmtree(item, ignore_errors=True)
            return 0
        results = []
        for work in works:
            try:
                results.append(work.result())
            except Unavailable as error:
                log.warning("folder.unavailable", dependency=error.dependency, detail=error.detail)
                return 0
        refused = [r for r in results if "reason" in r]
        for result in refused:
            REFUSED.labels("folder", result["reason"]).inc()
        _write_durably(item / RESULT, {"images": results})
        target = self._root / (REFUSED_FOLDER if refused else PROCESSED)
        item.rename(target / f"{item.name}-{_label(works)}")
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
    outcome: Future[Receipt] | Invalid

    def result(self) -> dict[str, Any]:
        """As it goes into result.json. Raises Unavailable."""
        try:
            if isinstance(self.outcome, Invalid):
                raise self.outcome
            return {"image": self.name, **self.outcome.result().body()}
        except Invalid as error:
            return {"image": self.name, "status": "refused", "reason": error.reason, "advice": error.advice}


def _label(works: list[_Work]) -> str:
    return Path(works[0].name).stem[:LONGEST_NAME] or "index"


def _index_images(index: Path) -> set[str]:
    """Names on an index; none when it cannot be read yet."""
    try:
        with index.open(encoding="utf-8-sig", newline="") as file:
            return {(row.get("image") or "").strip() for row in csv.DictReader(file)} - {""}
    except (OSError, UnicodeDecodeError, csv.Error):
        return set()


def _write_durably(path: Path, body: dict[str, Any]) -> None:
    with path.open("w") as file:
        json.dump(body, file, indent=1)
        file.flush()
        os.fsync(file.fileno())

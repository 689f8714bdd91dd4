"""The way in by a watched folder, for cameras that can only write files.

    <root>/part.png  or  <root>/<line>/<station>/part.png     an image
    part.json beside it                                        its metadata, where there are any

An image is claimed by a rename into `<root>/.taking/`, and deleted once the queue holds it. What is refused goes to
`<root>/refused/` with the reason beside it. While the queue is full everything stays where it is. What a crash leaves:

| dies | then |
| --- | --- |
| after the metadata were claimed | they are found in `.taking/` when their image is claimed |
| after the image was claimed, before it is in the queue | it is taken from `.taking/` at the next start |
| after it is in the queue, before the file is deleted | the same; the queue finds it known |
| between the deletion of the image and of its metadata | the metadata are deleted at the next start |

The folder is polled: notifications do not work on the network shares that such folders may be.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog
from andon_chassis.errors import Invalid, Unavailable
from andon_chassis.health import Health

from edge_agent.domain.metadata import MetadataError, parse
from edge_agent.handlers import Intake
from edge_agent.ports import Full

log = structlog.get_logger()

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
TAKING, REFUSED = ".taking", "refused"
FOLDER: Final = "watched folder"


@dataclass(frozen=True, slots=True)
class FolderSettings:
    """How the folder is watched.

    Attributes:
        root: The folder; one file system, so that a rename is atomic.
        settle_s: A younger file may still be written.
        sidecar_required: An image without metadata waits for them.
        every_s: Between two looks.
        largest: Bytes of an image.
    """

    root: Path
    settle_s: float = 0.3
    sidecar_required: bool = False
    every_s: float = 0.1
    largest: int = 64 * 1024 * 1024


class WatchedFolder:
    """Takes in what lies in a folder, oldest first."""

    def __init__(self, settings: FolderSettings, intake: Intake, health: Health) -> None:
        self._settings = settings
        self._intake = intake
        self._health = health
        self._root = settings.root
        self._taking = settings.root / TAKING
        self._told = ""

    def run(self, stop: threading.Event) -> None:
        """Look until stopped."""
        while not stop.is_set():
            self._health.beat("folder")
            try:
                self._taking.mkdir(parents=True, exist_ok=True)
                self.look(stop)
                pause, self._told = self._settings.every_s, ""
            except (Full, Unavailable, OSError) as error:
                pause = 1.0
                if str(error) != self._told:
                    self._told = str(error)
                    log.warning("folder.waiting", detail=self._told)
            stop.wait(pause)
        self._health.forget("folder")

    def look(self, stop: threading.Event) -> None:
        """One round.

        Raises:
            Full, Unavailable, OSError: The rest stays where it is.
        """
        for image in sorted(_images(self._taking), key=_age_of):
            self._take(image)
        self._tidy()
        for image in sorted(self._ready(), key=_age_of):
            if stop.is_set():
                break
            self._take(self._claim(image))

    def _ready(self) -> Iterator[Path]:
        """Images that nobody writes any more, with their metadata where those are wanted."""
        for image in _images(self._root, but=(TAKING, REFUSED)):
            sidecar = image.with_suffix(".json")
            if not self._settled(image) or (sidecar.exists() and not self._settled(sidecar)):
                continue
            if self._settings.sidecar_required and not (sidecar.exists() or self._claimed(sidecar).exists()):
                continue
            yield image

    def _settled(self, path: Path) -> bool:
        try:
            return time.time() - path.stat().st_mtime >= self._settings.settle_s
        except FileNotFoundError:
            return False

    def _claimed(self, path: Path) -> Path:
        """Where this file lies while it is taken in."""
        return self._taking / path.relative_to(self._root)

    def _claim(self, image: Path) -> Path:
        """The metadata go first: an image in `.taking/` is complete."""
        target = self._claimed(image)
        target.parent.mkdir(parents=True, exist_ok=True)
        sidecar = image.with_suffix(".json")
        if sidecar.exists():
            sidecar.replace(target.with_suffix(".json"))
        image.replace(target)
        return target

    def _take(self, image: Path) -> None:
        sidecar = image.with_suffix(".json")
        try:
            self._intake.take(self._bytes(image), self._metadata(image, sidecar), via="folder")
        except (Invalid, MetadataError) as error:
            self._refuse(image, sidecar, error.reason, error.advice)
            return
        image.unlink()
        sidecar.unlink(missing_ok=True)

    def _bytes(self, image: Path) -> bytes:
        if image.stat().st_size > self._settings.largest:
            raise Invalid("too-large", f"At most {self._settings.largest} bytes are accepted.")
        try:
            return image.read_bytes()
        except PermissionError as error:
            raise Invalid("unreadable-file", "The agent may not read this file; check who may.") from error

    def _metadata(self, image: Path, sidecar: Path) -> object:
        """From the place, and from the file beside the image."""
        parts = image.relative_to(self._taking).parts
        place = {"line": parts[0], "station": parts[1]} if len(parts) == 3 else {}
        if not sidecar.exists():
            return place
        said = parse(sidecar.read_bytes().decode("utf-8-sig", errors="replace"))
        return {**place, **said} if isinstance(said, dict) else said

    def _refuse(self, image: Path, sidecar: Path, reason: str, advice: str) -> None:
        """The reason is written first: an image in `refused/` always has it."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        folder = self._root / REFUSED / f"{stamp}-{image.stem}"[:150]
        folder.mkdir(parents=True, exist_ok=True)
        told = {"image": image.name, "reason": reason, "advice": advice}
        (folder / "result.json").write_text(json.dumps(told, indent=1))
        if sidecar.exists():
            sidecar.replace(folder / "metadata.json")
        image.replace(folder / image.name)
        log.warning("folder.refused", path=str(folder / image.name), reason=reason, advice=advice)

    def _tidy(self) -> None:
        """Delete claimed metadata whose image is nowhere."""
        for sidecar in self._taking.rglob("*.json"):
            stem = self._root / sidecar.relative_to(self._taking)
            if not any(stem.with_suffix(suffix).exists() for suffix in _spellings()):
                sidecar.unlink()


def _images(root: Path, but: tuple[str, ...] = ()) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in but)
        for name in names:
            path = Path(folder) / name
            if path.suffix.lower() in SUFFIXES and not name.startswith("."):
                yield path


def _age_of(path: Path) -> tuple[float, str]:
    """Oldest first; a station's order is the order of its files' times."""
    try:
        return path.stat().st_mtime, path.name
    except FileNotFoundError:
        return 0.0, path.name


def _spellings() -> Iterator[str]:
    for suffix in sorted(SUFFIXES):
        yield suffix
        yield suffix.upper()

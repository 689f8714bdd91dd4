"""Imports: an archive is kept, looked at as a whole, and written in portions that each are one transaction.

Before anything is written all of it has been read: with a problem in it nothing is imported, unless only the good
images were asked for. What is ready to be written waits in a file of its own. After a crash the archive is read again,
and what is written already is passed over.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO

import structlog
from andon_chassis.clock import Clock
from andon_chassis.errors import Invalid, Unavailable
from andon_chassis.events import deterministic_id
from andon_chassis.objects import DATASETS, ObjectStore
from andon_events.records import ObjectRef

from dataset_registry.domain.import_checks import Examined, Wanted, examined
from dataset_registry.domain.interchange import Problem
from dataset_registry.domain.labeling_checks import Guide
from dataset_registry.domain.refusals import Refused, invalid
from dataset_registry.handlers.imports_labels import label_captures
from dataset_registry.handlers.imports_preparation import Preparation, look_up
from dataset_registry.ports import Row, Sessions
from dataset_registry.ports_imports import Archive, Document, Imports, Job, NewImage, OpenArchive, Prepared

log = structlog.get_logger()

PART = 8 << 20
"""Bytes of an archive that are one object."""
PORTION = 2_000
"""Images that are checked, and written, at once."""
PUTS_AT_ONCE = 16
LEASE = timedelta(seconds=120)
RESUME_EVERY_S, RENEW_EVERY_S = 15.0, 30.0
MOST_ATTEMPTS = 5
MEDIA_TYPE = "application/octet-stream"


def keep(objects: ObjectStore, file: IO[bytes], name: str) -> Row:
    """Store an archive in parts; what an import remembers of it. Raises Unavailable."""
    whole, size, parts = hashlib.sha256(), 0, []
    while part := file.read(PART):
        whole.update(part)
        size += len(part)
        parts.append(objects.put(DATASETS, part, MEDIA_TYPE).to_avro())
    return {"name": name, "sha256": whole.hexdigest(), "size_bytes": size, "parts": parts}


def accept(
    store: Imports, archive: Row, asked: Row, taxonomy_version: str | None, now: datetime
) -> tuple[str, bool]:
    """Begin an import, or find the one that is the same; its id, and whether it is new.

    Args:
        asked: source, format, mapping, context, only_good, unmarked, imported_by.
    """
    options = {name: asked[name] for name in ("mapping", "context", "only_good", "unmarked")}
    options["taxonomy_version"] = taxonomy_version
    meant = json.dumps(options, sort_keys=True)
    import_id = deterministic_id("import", archive["sha256"], asked["source"], asked["format"] or "", meant)
    row = {
        "import_id": import_id,
        "source": asked["source"],
        "format": asked["format"],
        "archive": archive,
        "options": options,
        "imported_by": asked["imported_by"],
        "requested_at": now,
    }
    return import_id, store.add(row)


@dataclass(frozen=True, slots=True)
class Importer:
    """Does the work of imports."""

    sessions: Sessions
    objects: ObjectStore
    open_archive: OpenArchive
    document: Document
    clock: Clock
    portion: int = PORTION

    def resume(self) -> None:
        """Go on with all imports on which nobody works."""
        with self.sessions() as session:
            waiting = session.imports.unfinished(self.clock.now())
        for import_id in waiting:
            self.run(import_id)

    def watch(self, stop: threading.Event) -> None:
        """Until told to stop: go on with what a crash, or a store that was away, has left."""
        while not stop.wait(RESUME_EVERY_S):
            with suppress(Unavailable):
                self.resume()

    def run(self, import_id: str) -> None:
        """Do this import to its end, unless somebody else does, or it is done. What goes wrong on the way is left for
        another try; after too many without a step forward it has failed."""
        now = self.clock.now()
        with self.sessions() as session:
            job = session.imports.lease(import_id, now, now + LEASE)
        if job is None:
            return
        try:
            if job.attempts > MOST_ATTEMPTS:  # whoever worked on it never came back to say why
                raise invalid("import-broken", f"It was begun {MOST_ATTEMPTS} times and did not get on.")
            self._work(job)
        except (Invalid, Refused) as error:  # it would be the same another time
            self._end(job, "failed", str(error))
        except (Unavailable, OSError) as error:  # not the import's fault, however long it takes
            log.warning("import.interrupted", import_id=import_id, detail=str(error))
            with self.sessions() as session:
                session.imports.give_back(import_id, str(error), job.attempts - 1)
        except Exception as error:
            log.exception("import.broken", import_id=import_id, attempt=job.attempts)
            with self.sessions() as session:
                session.imports.give_back(import_id, str(error), job.attempts)

    def _end(self, job: Job, state: str, failure: str | None = None) -> None:
        with self.sessions() as session:
            session.imports.end(job.import_id, state, failure, self.clock.now())

    def _work(self, job: Job) -> None:
        with (
            self._unpacked(job.archive) as path,
            self.open_archive(path, job.archive["name"]) as archive,
            tempfile.TemporaryFile() as spool,
        ):
            good, problems = self._check(job, archive, spool)
            state = "done"
            if problems and not job.only_good:
                state, good = "refused", 0
            else:
                self._write(job, archive, spool, good)
        self._end(job, state)

    @contextmanager
    def _unpacked(self, archive: Row) -> Iterator[Path]:
        with tempfile.NamedTemporaryFile(prefix="import-") as file:
            for part in archive["parts"]:
                file.write(self.objects.get(ObjectRef.from_avro(part)))
            file.flush()
            yield Path(file.name)

    # --- looking at all of it

    def _check(self, job: Job, archive: Archive, spool: IO[bytes]) -> tuple[int, int]:
        """Spool what can be written; numbers of images and problems."""
        with self.sessions() as session:
            session.imports.begin_checking(job.import_id)
            guide = session.labeling.guide(job.taxonomy_version) or Guide()
        wanted = Wanted(job.mapping, guide, job.unmarked_is_good, job.context)
        progress = _Progress(job, guide, self._keeper(job))
        images: list[Examined] = []
        for item in examined(archive.images(job.format), wanted):
            if isinstance(item, Problem):
                progress.problems.append(item)
            else:
                images.append(item)
            if len(images) == self.portion or len(progress.problems) == self.portion:
                self._take(progress, archive, images, spool)
                images = []
        self._take(progress, archive, images, spool)
        if not progress.looked_at and not progress.found:
            nothing = Problem(
                job.archive["name"], None, "", "nothing-to-read", "No image is in it; look at the format."
            )
            progress.problems.append(nothing)
            self._take(progress, archive, [], spool)
        return progress.good, progress.found

    def _take(
        self, progress: _Progress, archive: Archive, images: Sequence[Examined], spool: IO[bytes]
    ) -> None:
        """Prepare a portion, and say how far it is."""
        job = progress.job
        with self.sessions() as session:
            known = look_up(session.imports, job.source, images)
        # Outside of the transaction: the database takes one that waits for pictures for forgotten.
        preparation = Preparation(job, archive, progress.guide, self.document, progress.alive, progress.seen)
        prepared, problems = preparation.of(images, known)
        progress.problems += problems
        pickle.dump(prepared, spool)
        progress.good += len(prepared)
        progress.looked_at += len(images)
        until = self.clock.now() + LEASE
        with self.sessions() as session:
            session.imports.checked(
                job.import_id, progress.looked_at, progress.found + 1, progress.problems, until
            )
        progress.found += len(progress.problems)
        progress.problems = []

    # --- writing it

    def _write(self, job: Job, archive: Archive, spool: IO[bytes], total: int) -> None:
        with self.sessions() as session:
            session.imports.begin_importing(job.import_id, total)
        spool.seek(0)
        at, alive = 0, self._keeper(job)
        with ThreadPoolExecutor(PUTS_AT_ONCE) as pool:
            while at < total:
                prepared: list[Prepared] = pickle.load(spool)  # our own file, which nobody else can open
                at += len(prepared)
                new = [one.image for one in prepared if one.image is not None]
                for first in range(0, len(new), PUTS_AT_ONCE):  # a few pictures in memory at a time
                    few = new[first : first + PUTS_AT_ONCE]
                    list(pool.map(self._put, few, [archive.read(image.path) for image in few]))
                    alive()
                self._write_portion(job, prepared, at)

    def _put(self, image: NewImage, data: bytes) -> None:
        ref = image.picture.ref
        self.objects.put(ref.bucket, data, ref.media_type)

    def _write_portion(self, job: Job, prepared: Sequence[Prepared], done: int) -> None:
        if job.done:  # somebody has begun before
            with self.sessions() as session:
                written = session.imports.annotated(
                    [one.label.annotation_id for one in prepared if one.label]
                )
            prepared = [one for one in prepared if not one.label or one.label.annotation_id not in written]
        now = self.clock.now()
        with self.sessions() as session:
            session.imports.write(job, prepared, done, now)
            label_captures(session, job, prepared, now)
            session.imports.renew(job.import_id, now + LEASE)

    def _keeper(self, job: Job) -> Callable[[], None]:
        """Keeps others from the import while something takes long; cheap to call."""
        renewed = self.clock.monotonic()

        def keep() -> None:
            nonlocal renewed
            if self.clock.monotonic() - renewed > RENEW_EVERY_S:
                renewed = self.clock.monotonic()
                with self.sessions() as session:
                    session.imports.renew(job.import_id, self.clock.now() + LEASE)

        return keep


@dataclass(slots=True)
class _Progress:
    """How far the look at an archive is; problems are those not kept yet."""

    job: Job
    guide: Guide
    alive: Callable[[], None]
    problems: list[Problem] = field(default_factory=list)
    good: int = 0
    looked_at: int = 0
    found: int = 0
    seen: set[str] = field(default_factory=set)

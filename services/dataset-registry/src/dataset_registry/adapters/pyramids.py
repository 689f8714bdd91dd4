"""Pyramids of large images: made once for the bytes of an image, kept in the object store, found by the image's hash.

Tiles are objects named by their content, and one more object lists them; its claim check is written when all are there.
So a crash, or two who do it at once, leave the same objects, and what is lost from the store is made again.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from itertools import islice
from typing import Any

from andon_chassis.clock import Clock
from andon_chassis.database import Transaction
from andon_chassis.errors import Invalid, Unavailable
from andon_chassis.objects import DERIVED, ObjectStore
from andon_events.records import ObjectRef
from andon_vision.decode import DecodeLimits
from andon_vision.errors import ImageRefused
from psycopg.types.json import Jsonb

from dataset_registry.adapters.tiling import Tile, tiles
from dataset_registry.domain.pyramid import LARGE_PIXELS, LARGE_SIDE, Pyramid
from dataset_registry.domain.refusals import unknown
from dataset_registry.ports import Picture, Tiles

_MEDIA_TYPE = {"png": "image/png", "jpg": "image/jpeg"}
_AT_ONCE = 8
"""Tiles on their way to the object store."""
_KEPT = 64
"""Lists of tiles in memory; one of 134 million pixels takes 100 kB."""
_PATIENCE_S = 60.0
_LOOK_EVERY_S = 5.0
_UNMADE = f"""
    SELECT i.object FROM images i
    WHERE (i.width::bigint * i.height > {LARGE_PIXELS} OR greatest(i.width, i.height) > {LARGE_SIDE})
      AND NOT EXISTS (SELECT FROM pyramids p WHERE p.sha256 = i.object->>'sha256')
    ORDER BY i.added_at LIMIT 1"""


class Pyramids:
    """Makes pyramids, one at a time, and reads them.

    Args:
        limits: What a decoder may be given; the largest image sets the memory, see `tiling`.
    """

    def __init__(
        self,
        transaction: Callable[[], AbstractContextManager[Transaction]],
        objects: ObjectStore,
        clock: Clock,
        limits: DecodeLimits,
    ) -> None:
        self._transaction = transaction
        self._objects = objects
        self._clock = clock
        self._limits = limits
        self._held: OrderedDict[str, Tiles] = OrderedDict()
        self._lock = threading.Lock()
        self._at_work = threading.Lock()

    def of(self, ref: ObjectRef) -> Tiles:
        return self._known(ref) or self._make(ref)

    def tile(self, ref: ObjectRef, level: int, column: int, row: int) -> Picture:
        made = self.of(ref)
        place = Pyramid(made.width, made.height).place(level, column, row)
        if place is None:
            raise unknown("tile", f"{level}/{column}_{row}", "the levels and their sizes follow from `Size`.")
        try:
            data = self._objects.get(_tile_ref(made, level, place))
        except Invalid:
            made = self._make(ref, again=True)
            data = self._objects.get(_tile_ref(made, level, place))
        return Picture(data, _MEDIA_TYPE[made.format])

    def overview(self, ref: ObjectRef) -> Picture | None:
        """The largest level that is one tile, where the pyramid is there."""
        made = self._known(ref)
        return self.tile(ref, Pyramid(made.width, made.height).overview, 0, 0) if made else None

    def watch(self, stop: threading.Event) -> None:
        """Until told to stop: make the pyramids of large images that are to be labeled, before somebody waits."""
        wait = 0.0
        while not stop.wait(wait):
            wait = _LOOK_EVERY_S
            with suppress(Unavailable):
                wait = 0.0 if self.make_next() else _LOOK_EVERY_S

    def make_next(self) -> bool:
        """Make one that is missing; False where none is. Raises Unavailable."""
        with self._transaction() as tx:
            row = tx.connection.execute(_UNMADE.encode()).fetchone()
        if row is None:
            return False
        ref = ObjectRef.from_avro(row["object"])
        try:
            self._make(ref)
        except Invalid:  # it would be the same another time; whoever asks for it is told why
            self._write(ref, None)
        return True

    def _known(self, ref: ObjectRef) -> Tiles | None:
        with self._lock:
            if ref.sha256 in self._held:
                self._held.move_to_end(ref.sha256)
                return self._held[ref.sha256]
        with self._transaction() as tx:
            row = tx.connection.execute(
                "SELECT tiles FROM pyramids WHERE sha256 = %s AND tiles IS NOT NULL", (ref.sha256,)
            ).fetchone()
        if row is None:
            return None
        try:
            said = json.loads(self._objects.get(ObjectRef.from_avro(row["tiles"])))
        except Invalid:
            return None
        return self._hold(ref, Tiles(said["width"], said["height"], said["format"], said["levels"]))

    def _hold(self, ref: ObjectRef, made: Tiles) -> Tiles:
        with self._lock:
            self._held[ref.sha256] = made
            while len(self._held) > _KEPT:
                self._held.popitem(last=False)
        return made

    def _make(self, ref: ObjectRef, again: bool = False) -> Tiles:
        if not self._at_work.acquire(timeout=_PATIENCE_S):
            raise Unavailable("tiles", "other large images are being prepared; ask again in a minute")
        try:
            known = None if again else self._known(ref)  # somebody made it meanwhile
            return known or self._hold(ref, self._made(ref))
        finally:
            self._at_work.release()

    def _made(self, ref: ObjectRef) -> Tiles:
        try:
            pyramid, format_, cut = tiles(self._objects.get(ref), self._limits)
            levels: list[list[tuple[str, int]]] = [[] for _ in range(pyramid.top + 1)]
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                while some := list(islice(cut, _AT_ONCE)):
                    for tile, made in zip(some, self._put(pool, some, format_), strict=True):
                        levels[tile.level].append((made.sha256, made.size_bytes))
        except ImageRefused as error:
            raise Invalid(error.reason, error.advice) from error
        except OSError as error:
            raise Unavailable("disk", str(error)) from error
        made_now = Tiles(pyramid.width, pyramid.height, format_, levels)
        content = json.dumps(made_now._asdict(), separators=(",", ":")).encode()
        self._write(ref, self._objects.put(DERIVED, content, "application/json"))
        return made_now

    def _put(self, pool: ThreadPoolExecutor, some: list[Tile], format_: str) -> Iterator[ObjectRef]:
        media_type = _MEDIA_TYPE[format_]
        return pool.map(lambda tile: self._objects.put(DERIVED, tile.data, media_type), some)

    def _write(self, ref: ObjectRef, made: ObjectRef | None) -> None:
        listed: Any = Jsonb(made.to_avro()) if made else None
        with self._transaction() as tx:
            tx.connection.execute(
                "INSERT INTO pyramids (sha256, tiles, made_at) VALUES (%s, %s, %s)"
                " ON CONFLICT (sha256) DO UPDATE SET tiles = coalesce(excluded.tiles, pyramids.tiles)",
                (ref.sha256, listed, self._clock.now()),
            )


def _tile_ref(made: Tiles, level: int, place: int) -> ObjectRef:
    sha256, size_bytes = made.levels[level][place]
    return ObjectRef(
        bucket=DERIVED,
        key=f"{sha256[:2]}/{sha256}",
        sha256=sha256,
        media_type=_MEDIA_TYPE[made.format],
        size_bytes=size_bytes,
    )

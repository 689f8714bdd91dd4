"""Looks at labelled images whose perceptual hash nobody knows, a few at a time, so that a split can be proven clean."""

from __future__ import annotations

from andon_chassis.errors import Invalid
from andon_chassis.objects import ObjectStore
from andon_events.records import ObjectRef
from andon_vision.decode import decode_image
from andon_vision.errors import ImageRefused
from andon_vision.hashing import perceptual_hash
from andon_vision.preprocess import to_eight_bit

from dataset_registry.adapters.sql import Pg

AT_ONCE = 100
_OVERLAP = 1000
"""Labels that are looked at again: one may commit after others with a higher number."""

_UNSEEN = """
    SELECT DISTINCT l.capture_id, l.image->'object' AS object FROM labels l
    WHERE l.sequence > %s
      AND NOT EXISTS (SELECT FROM image_hashes h WHERE h.image_id = l.capture_id)
      AND NOT EXISTS (SELECT FROM images i WHERE i.image_id = l.capture_id AND i.perceptual_hash IS NOT NULL)
    ORDER BY l.capture_id LIMIT %s"""


class Looking:
    """Remembers how far it has come; what it has seen lies in the database."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._after = 0

    def look(self, pg: Pg) -> int:
        """Look at some more; how many there were. Raises Unavailable."""
        last = pg.execute("SELECT coalesce(max(sequence), 0) AS sequence FROM labels").fetchone()
        rows = pg.execute(_UNSEEN.encode(), (self._after, AT_ONCE)).fetchall()
        for row in rows:
            pg.execute(
                "INSERT INTO image_hashes (image_id, perceptual_hash) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                (row["capture_id"], hash_of(self._objects, ObjectRef.from_avro(row["object"]))),
            )
        if last and len(rows) < AT_ONCE:
            self._after = last["sequence"] - _OVERLAP
        return len(rows)


def hash_of(objects: ObjectStore, ref: ObjectRef) -> int | None:
    """The perceptual hash as a signed number; None for what is gone or no image. Raises Unavailable."""
    try:
        bits = perceptual_hash(to_eight_bit(decode_image(objects.get(ref)).pixels))
    except (Invalid, ImageRefused):
        return None
    return bits - (1 << 64) if bits >> 63 else bits

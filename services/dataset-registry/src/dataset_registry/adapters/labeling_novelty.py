"""Looks at images that wait to be labeled, a few at a time, and brings those forward that look like nothing labeled.

A picture takes milliseconds to read, so nobody waits for it when thousands enter a batch.
"""

from __future__ import annotations

from andon_chassis.objects import ObjectStore
from andon_events.records import ObjectRef

from dataset_registry.adapters.labeling_batches import Batches
from dataset_registry.adapters.looking import hash_of
from dataset_registry.adapters.sql import Pg
from dataset_registry.domain.labeling_priority import priorities

AT_ONCE = 50

_UNSEEN = """
    SELECT i.image_id::text, i.object, h.perceptual_hash FROM images i LEFT JOIN image_hashes h USING (image_id)
    WHERE i.perceptual_hash IS NULL AND (h.image_id IS NULL OR h.perceptual_hash IS NOT NULL)
    ORDER BY i.added_at, i.image_id LIMIT %s FOR NO KEY UPDATE OF i SKIP LOCKED"""


class Novelty:
    """Attributes:
    objects: Where the pictures lie.
    """

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def look(self, pg: Pg) -> int:
        """Look at some more, and set the priority of their tasks anew; how many there were. Raises Unavailable."""
        rows = pg.execute(_UNSEEN.encode(), (AT_ONCE,)).fetchall()
        seen = list[str]()
        for row in rows:
            bits = row["perceptual_hash"]
            if bits is None:
                bits = hash_of(self._objects, ObjectRef.from_avro(row["object"]))
            if bits is None:
                pg.execute(
                    "INSERT INTO image_hashes VALUES (%s, NULL) ON CONFLICT DO NOTHING", (row["image_id"],)
                )
            else:
                pg.execute(
                    "UPDATE images SET perceptual_hash = %s WHERE image_id = %s", (bits, row["image_id"])
                )
                seen.append(row["image_id"])
        if seen:
            batches = Batches(pg)
            batches.prioritise(priorities(batches.evidence(seen), batches.surroundings()))
        return len(rows)

"""Notes the images of holdouts that were cut before anything was noted of them."""

from __future__ import annotations

import json

from andon_chassis.errors import Invalid
from andon_chassis.objects import ObjectStore
from andon_events.records import ObjectRef

from dataset_registry.adapters.sql import Pg

_UNNOTED = """
    SELECT h.hash, h.manifest FROM dataset_holdouts h
    WHERE NOT EXISTS (SELECT FROM holdout_images i WHERE i.hash = h.hash)"""


def note_holdouts(pg: Pg, objects: ObjectStore) -> int:
    """How many holdouts there were. One whose manifest is gone can be given to nobody, and stays as it is. Raises
    Unavailable."""
    noted = 0
    for row in pg.execute(_UNNOTED).fetchall():
        try:
            manifest = json.loads(objects.get(ObjectRef.from_avro(row["manifest"])))
        except Invalid:
            continue
        ids = [item["capture_id"] for item in manifest["items"]]
        pg.execute(
            "INSERT INTO holdout_images (image_id, hash) SELECT unnest(%s::uuid[]), %s ON CONFLICT DO NOTHING",
            (ids, row["hash"]),
        )
        noted += 1
    return noted

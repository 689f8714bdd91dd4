"""Controlled evaluation batches in PostgreSQL, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from psycopg.types.json import Jsonb

from dataset_registry.adapters.lookup import Lookup, Where
from dataset_registry.domain.evaluation_batches import Accepted
from dataset_registry.ports import Page, Row

_DECIDED = """
    SELECT DISTINCT ON (batch_id, release) batch_id, release, decision, note, decided_by, decided_at
    FROM evaluation_decisions ORDER BY batch_id, release, sequence DESC"""

# A capture's label is the last of `labels`; a picture that was imported has its approved annotation only, whose class
# is the first that is named: a batch asks how many there are of each, not which is the most severe.
_BATCH = f"""
    SELECT b.batch_id::text, b.name, b.axis, b.value, b.line, b.station, b.least_images, b.least_of_class,
           b.created_by, b.created_at,
           (SELECT count(*) FROM evaluation_images e WHERE e.batch_id = b.batch_id) AS images,
           ARRAY(
               SELECT said.class_name FROM evaluation_images e CROSS JOIN LATERAL (
                   SELECT coalesce(
                       (SELECT l.class_name FROM labels l WHERE l.capture_id = e.image_id
                        ORDER BY l.sequence DESC LIMIT 1),
                       (SELECT coalesce(a.shapes->0->>'class_name', a.classes[1])
                        FROM annotation_decisions d JOIN annotations a USING (annotation_id)
                        WHERE d.image_id = e.image_id AND d.decision = 'approved' AND a.verdict = 'labeled'
                        ORDER BY d.sequence DESC LIMIT 1)) AS class_name
               ) AS said WHERE e.batch_id = b.batch_id AND said.class_name IS NOT NULL
           ) AS labelled,
           (SELECT coalesce(json_agg(json_build_object('release', d.release, 'decision', d.decision, 'note', d.note,
                   'decided_by', d.decided_by, 'decided_at', d.decided_at) ORDER BY d.decided_at), '[]')
            FROM ({_DECIDED}) AS d WHERE d.batch_id = b.batch_id) AS decisions
    FROM evaluation_batches b"""


class EvaluationBatchesStore(Lookup):
    """EvaluationBatches on one connection."""

    def add_evaluation_batch(self, row: Row) -> bool:
        added = self._pg.execute(
            "INSERT INTO evaluation_batches (batch_id, name, axis, value, line, station, least_images, least_of_class,"
            " created_by, created_at) VALUES (%(batch_id)s, %(name)s, %(axis)s, %(value)s, %(line)s, %(station)s,"
            " %(least_images)s, %(least_of_class)s, %(created_by)s, %(created_at)s) ON CONFLICT DO NOTHING",
            row | {"least_of_class": Jsonb(row["least_of_class"])},
        )
        return added.rowcount > 0

    def evaluation_batch(self, batch_id: str) -> Row | None:
        return self._one(f"{_BATCH} WHERE b.batch_id = %s", batch_id)

    def evaluation_batches(self, limit: int, cursor: str | None) -> Page:
        return self._page(_BATCH, Where(), ("b.created_at", "b.batch_id"), "DESC", limit, cursor)

    def add_evaluation_images(self, batch_id: str, image_ids: Sequence[str], by: str, at: datetime) -> int:
        added = self._pg.execute(
            "INSERT INTO evaluation_images (batch_id, image_id, added_by, added_at)"
            " SELECT %s, image_id, %s, %s FROM unnest(%s::uuid[]) AS u(image_id) ORDER BY image_id"
            " ON CONFLICT DO NOTHING",
            (batch_id, by, at, list(image_ids)),
        )
        return added.rowcount

    def add_evaluation_decision(self, row: Row) -> None:
        self._pg.execute(
            "INSERT INTO evaluation_decisions (batch_id, release, decision, note, decided_by, decided_at)"
            " VALUES (%(batch_id)s, %(release)s, %(decision)s, %(note)s, %(decided_by)s, %(decided_at)s)",
            row,
        )

    def accepted(self, release: str) -> list[Accepted]:
        rows = self._all(
            "SELECT b.axis, b.value, b.line, b.station FROM evaluation_batches b"
            f" JOIN ({_DECIDED}) AS d USING (batch_id)"
            " WHERE d.release = %s AND d.decision = 'accepted' ORDER BY b.axis, b.value",
            release,
        )
        return [Accepted(**row) for row in rows]

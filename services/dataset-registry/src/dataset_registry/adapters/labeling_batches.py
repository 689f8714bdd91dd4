"""Batches, images and what is known of their worth in PostgreSQL, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
from psycopg.types.json import Jsonb

from dataset_registry.adapters.sql import Pg, insert
from dataset_registry.domain.labeling import Batch, Mode
from dataset_registry.domain.labeling_checks import Guide
from dataset_registry.domain.labeling_priority import Evidence, Priority, Surroundings
from dataset_registry.domain.sampling_plans import ReviewPlan
from dataset_registry.ports import Row

_TASK = {
    "task_id": "uuid",
    "batch_id": "uuid",
    "image_id": "uuid",
    "wanted": "integer",
    "lot": "integer",
    "sampled": "boolean",
    "gold": "uuid",
    "priority": "double precision",
    "priority_reason": "text",
    "added_at": "timestamptz",
    "updated_at": "timestamptz",
}
_ALL_BITS = (1 << 64) - 1


class Batches:
    """Batches on one connection."""

    def __init__(self, pg: Pg) -> None:
        self._pg = pg

    def guide(self, version: str | None) -> Guide | None:
        row = self._pg.execute(
            "SELECT version, document FROM taxonomies WHERE version = coalesce(%s, version)"
            " ORDER BY sequence DESC LIMIT 1",
            (version,),
        ).fetchone()
        if row is None:
            return Guide() if version is None else None
        return Guide.of(row["version"], row["document"])

    def add_batch(self, row: Row) -> bool:
        added = self._pg.execute(
            "INSERT INTO batches (batch_id, name, mode, answers_wanted, people, review, taxonomy_version, purpose,"
            " created_by, created_at) VALUES (%(batch_id)s, %(name)s, %(mode)s, %(answers_wanted)s, %(people)s,"
            " %(review)s, %(taxonomy_version)s, %(purpose)s, %(created_by)s, %(created_at)s) ON CONFLICT DO NOTHING",
            row | {"review": Jsonb(row["review"])},
        )
        return added.rowcount > 0

    def lock_batch(self, batch_id: str) -> Batch | None:
        row = self._pg.execute(
            "SELECT batch_id::text, mode, people, review, taxonomy_version, closed_at, answers_wanted FROM batches"
            " WHERE batch_id = %s FOR NO KEY UPDATE",
            (batch_id,),
        ).fetchone()
        return None if row is None else batch_of(row)

    def close_batch(self, batch_id: str, at: datetime) -> None:
        self._pg.execute(
            "UPDATE batches SET closed_at = coalesce(closed_at, %s) WHERE batch_id = %s", (at, batch_id)
        )

    def take_captures(self, capture_ids: Sequence[str], by: str, at: datetime) -> None:
        self._pg.execute(
            """
            INSERT INTO images (image_id, origin, name, object, width, height, context, part_id, mm_per_pixel,
                                captured_at, added_at, added_by)
            SELECT c.capture_id, 'capture', c.line || '/' || c.station || '/' || c.capture_id, c.image->'object',
                   (c.image->>'width')::integer, (c.image->>'height')::integer, c.context, c.context->>'part_id',
                   (s.document->>'mm_per_pixel')::double precision, c.captured_at, %(at)s, %(by)s
            FROM captures c LEFT JOIN LATERAL (
                SELECT document FROM station_versions v WHERE v.line = c.line AND v.station = c.station
                ORDER BY v.sequence DESC LIMIT 1) AS s ON true
            WHERE c.capture_id = ANY(%(ids)s::uuid[]) ORDER BY c.capture_id ON CONFLICT DO NOTHING""",
            {"ids": list(capture_ids), "at": at, "by": by},
        )

    def images_known(self, image_ids: Sequence[str]) -> set[str]:
        rows = self._pg.execute(
            "SELECT image_id::text FROM images WHERE image_id = ANY(%s::uuid[])", (list(image_ids),)
        )
        return {row["image_id"] for row in rows}

    def tasks_known(self, batch_id: str, image_ids: Sequence[str]) -> set[str]:
        rows = self._pg.execute(
            "SELECT image_id::text FROM tasks WHERE batch_id = %s AND image_id = ANY(%s::uuid[])",
            (batch_id, list(image_ids)),
        )
        return {row["image_id"] for row in rows}

    def evidence(self, image_ids: Sequence[str]) -> dict[str, Evidence]:
        rows = self._pg.execute(
            """
            SELECT i.image_id::text, coalesce(i.perceptual_hash, h.perceptual_hash) AS perceptual_hash,
                   (d.evidence->>'defect_score')::double precision AS score,
                   d.evidence->>'predicted_class' AS predicted, r.pass_below, r.reject_from,
                   coalesce(v.disputed, false) AS disputed, coalesce(v.overruled, false) AS overruled
            FROM images i
            LEFT JOIN image_hashes h ON h.image_id = i.image_id
            LEFT JOIN dispositions d ON d.capture_id = i.image_id AND d.revision = 1
            LEFT JOIN releases r ON r.release = d.evidence->>'model_release'
            LEFT JOIN LATERAL (
                SELECT bool_or(state = 'disputed' OR agreed IS FALSE) AS disputed,
                       bool_or(class_name IS DISTINCT FROM proposed_class)
                           FILTER (WHERE state = 'completed' AND proposed_class IS NOT NULL) AS overruled
                FROM reviews WHERE reviews.capture_id = i.image_id) AS v ON true
            WHERE i.image_id = ANY(%s::uuid[])""",
            (list(image_ids),),
        )
        return {row["image_id"]: _evidence(row) for row in rows}

    def surroundings(self) -> Surroundings:
        classes = self._pg.execute("SELECT class_name, count(*) AS labels FROM labels GROUP BY class_name")
        hashes = self._pg.execute(
            "SELECT i.perceptual_hash AS bits FROM images i WHERE i.perceptual_hash IS NOT NULL"
            " AND EXISTS (SELECT FROM annotation_decisions d WHERE d.image_id = i.image_id AND d.decision = 'approved')"
            " UNION SELECT h.perceptual_hash FROM image_hashes h WHERE h.perceptual_hash IS NOT NULL"
            " AND EXISTS (SELECT FROM labels l WHERE l.capture_id = h.image_id)"
        )
        return Surroundings(
            {row["class_name"]: row["labels"] for row in classes},
            np.array([row["bits"] for row in hashes], np.int64).view(np.uint64),
        )

    def prioritise(self, images: Mapping[str, Priority]) -> None:
        """Set the priority of those tasks of these images that nobody has begun."""
        self._pg.execute(
            "UPDATE tasks t SET priority = n.value, priority_reason = n.reason"
            " FROM unnest(%s::uuid[], %s::double precision[], %s::text[]) AS n(image_id, value, reason)"
            " WHERE t.image_id = n.image_id AND t.state = 'to-label'",
            (
                list(images),
                [priority.value for priority in images.values()],
                [priority.reason for priority in images.values()],
            ),
        )

    def add_lot(self, batch_id: str, size: int, sample_size: int, accept: int) -> int:
        row = self._pg.execute(
            "WITH next AS (UPDATE batches SET lots = lots + 1 WHERE batch_id = %(batch)s RETURNING lots)"
            " INSERT INTO lots (batch_id, lot, size, sample_size, accept)"
            " SELECT %(batch)s, lots, %(size)s, %(sample)s, %(accept)s FROM next RETURNING lot",
            {"batch": batch_id, "size": size, "sample": sample_size, "accept": accept},
        ).fetchone()
        if row is None:
            raise LookupError(f"batch {batch_id} is gone")
        number: int = row["lot"]
        return number

    def add_tasks(self, rows: Sequence[Row]) -> None:
        insert(self._pg, "tasks", _TASK, rows, "")


def batch_of(row: Row) -> Batch:
    """The batch in a row that has its columns."""
    return Batch(
        batch_id=row["batch_id"],
        mode=Mode(row["mode"]),
        people=tuple(row["people"]),
        answers_wanted=row["answers_wanted"],
        plan=ReviewPlan.of(row["review"]),
        taxonomy_version=row["taxonomy_version"],
        closed=row["closed_at"] is not None,
    )


def _evidence(row: Row) -> Evidence:
    bits = row["perceptual_hash"]
    return Evidence(
        defect_score=row["score"],
        pass_below=0.5 if row["pass_below"] is None else row["pass_below"],
        reject_from=0.5 if row["reject_from"] is None else row["reject_from"],
        predicted_class=row["predicted"],
        disputed=row["disputed"],
        overruled=row["overruled"],
        perceptual_hash=None if bits is None else bits & _ALL_BITS,
    )

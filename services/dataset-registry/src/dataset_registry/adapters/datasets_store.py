"""Dataset versions in PostgreSQL, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from dataset_registry.adapters.lookup import Lookup, Where
from dataset_registry.adapters.sql import as_json, insert
from dataset_registry.domain.segments import SEGMENTS, Mark
from dataset_registry.ports import Page, Row

_MARK = {
    "image_id": "uuid",
    "segment": "text",
    "kind": "text",
    "note": "text",
    "marked_by": "text",
    "marked_at": "timestamptz",
}

_VERSION = """
    SELECT s.*, coalesce(d.format, 'andonloop.dataset/1') AS format, d.plan, coalesce(d.parts, '{}') AS parts,
           coalesce(d.segments, '[]') AS segments, coalesce(d.warnings, '[]') AS warnings, d.leakage, d.coverage,
           (SELECT jsonb_build_object(
               'items', h.items, 'sha256', h.manifest->>'sha256', 'classes', h.classes,
               'readings', (SELECT count(*) FROM holdout_readings r WHERE r.hash = h.hash)
            ) FROM dataset_holdouts h WHERE h.hash = s.hash) AS holdout
    FROM dataset_snapshots s LEFT JOIN dataset_divisions d ON d.hash = s.hash"""

_LAST_WORDS = """
    WITH annotated AS (
        SELECT DISTINCT ON (d.image_id) d.image_id, d.annotation_id, d.decided_at, a.verdict, a.classes, a.shapes,
               a.taxonomy_version
        FROM annotation_decisions d JOIN annotations a USING (annotation_id)
        WHERE d.decision = 'approved' AND d.decided_at < coalesce(%(before)s::timestamptz, 'infinity')
        ORDER BY d.image_id, d.sequence DESC
    ), labelled AS (
        SELECT DISTINCT ON (capture_id) * FROM labels
        WHERE approved_at < coalesce(%(before)s::timestamptz, 'infinity') ORDER BY capture_id, sequence DESC
    )
    SELECT coalesce(a.image_id, l.capture_id)::text AS capture_id,
           a.annotation_id::text, a.decided_at AS approved_at, a.verdict, a.classes, a.shapes,
           a.taxonomy_version AS annotation_version,
           l.label_id::text, l.approved_at AS labelled_at, l.class_name, l.is_defect, l.taxonomy_version,
           coalesce(l.image, jsonb_build_object('object', i.object, 'width', i.width, 'height', i.height)) AS image,
           coalesce(l.context, i.context) AS context, coalesce(i.captured_at, c.captured_at) AS captured_at,
           coalesce(i.perceptual_hash, h.perceptual_hash) AS perceptual_hash, i.part_id, i.synthetic
    FROM annotated a FULL JOIN labelled l ON l.capture_id = a.image_id
    LEFT JOIN images i ON i.image_id = coalesce(a.image_id, l.capture_id)
    LEFT JOIN image_hashes h ON h.image_id = l.capture_id
    LEFT JOIN captures c ON c.capture_id = l.capture_id"""


class DatasetsStore(Lookup):
    """Datasets on one connection."""

    def latest_labels(self, wanted: Row) -> list[Row]:
        conditions, values = ["true"], list[Any]()
        for column, name in (("line", "lines"), ("station", "stations"), ("class_name", "classes")):
            if wanted.get(name):
                conditions.append(f"{column} = ANY(%s)")
                values.append(wanted[name])
        for field, name in (
            ("product_variant", "product_variants"),
            ("origin", "origins"),
            ("batch", "batches"),
        ):
            if wanted.get(name):
                conditions.append(f"context->>'{field}' = ANY(%s)")
                values.append(wanted[name])
        until = ""
        if wanted.get("approved_before"):
            until = "WHERE approved_at < %s"
            values.insert(0, wanted["approved_before"])
        # The latest label decides whether a capture is in: an older one of another class does not bring it back.
        statement = f"""
            SELECT label_id::text, capture_id::text, class_name, is_defect, taxonomy_version, image, context
            FROM (SELECT DISTINCT ON (capture_id) * FROM labels {until} ORDER BY capture_id, sequence DESC)
            AS latest
            WHERE {" AND ".join(conditions)}"""
        return self._all(statement, *values)

    def last_words(self, before: datetime | None) -> list[Row]:
        return self._pg.execute(_LAST_WORDS.encode(), {"before": before}).fetchall()

    def marks(self, image_ids: Sequence[str]) -> dict[str, Mark]:
        rows = self._all(
            "SELECT i.image_id::text, CASE WHEN m.sequence IS NULL THEN i.said ELSE m.segment END AS segment, m.kind"
            " FROM (SELECT u.image_id, (SELECT segment FROM images WHERE images.image_id = u.image_id) AS said"
            " FROM unnest(%s::uuid[]) AS u(image_id)) AS i"
            " LEFT JOIN LATERAL (SELECT sequence, segment, kind FROM segment_marks s"
            " WHERE s.image_id = i.image_id ORDER BY sequence DESC LIMIT 1) AS m ON true"
            " WHERE m.sequence IS NOT NULL OR i.said IS NOT NULL",
            list(image_ids),
        )
        return {
            row["image_id"]: Mark(row["segment"], row["kind"]) for row in rows if row["segment"] in SEGMENTS
        }

    def mark(self, rows: Sequence[Row]) -> None:
        insert(self._pg, "segment_marks", _MARK, rows, "")
        self._pg.execute(
            "UPDATE images SET segment = (SELECT segment FROM segment_marks m WHERE m.image_id = images.image_id"
            " ORDER BY sequence DESC LIMIT 1) WHERE image_id = ANY(%s::uuid[])",
            ([row["image_id"] for row in rows],),
        )

    def images_known(self, image_ids: Sequence[str]) -> set[str]:
        rows = self._all(
            "SELECT id::text FROM unnest(%s::uuid[]) AS u(id)"
            " WHERE EXISTS (SELECT FROM images WHERE image_id = id)"
            " OR EXISTS (SELECT FROM captures WHERE capture_id = id)"
            " OR EXISTS (SELECT FROM labels WHERE capture_id = id)",
            list(image_ids),
        )
        return {row["id"] for row in rows}

    def described(self, image_ids: Sequence[str]) -> dict[str, Row]:
        rows = self._all(
            "SELECT u.id::text, coalesce(i.perceptual_hash, h.perceptual_hash) AS perceptual_hash, i.part_id,"
            " coalesce(i.captured_at, c.captured_at) AS captured_at, coalesce(i.synthetic, false) AS synthetic"
            " FROM unnest(%s::uuid[]) AS u(id) LEFT JOIN images i ON i.image_id = u.id"
            " LEFT JOIN image_hashes h ON h.image_id = u.id LEFT JOIN captures c ON c.capture_id = u.id",
            list(image_ids),
        )
        return {row["id"]: row for row in rows}

    # --- versions

    def add_snapshot(self, row: Row) -> bool:
        cursor = self._pg.execute(
            "INSERT INTO dataset_snapshots (hash, purpose, filter, manifest, items, classes, created_by, created_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (hash) DO NOTHING",
            (
                row["hash"],
                row["purpose"],
                as_json(row["filter"]),
                Jsonb(row["manifest"]),
                row["items"],
                Jsonb(row["classes"]),
                row["created_by"],
                row["created_at"],
            ),
        )
        return cursor.rowcount > 0

    def add_division(self, row: Row) -> None:
        self._pg.execute(
            "INSERT INTO dataset_divisions (hash, format, plan, parts, segments, warnings, leakage, coverage) VALUES"
            " (%(hash)s, %(format)s, %(plan)s, %(parts)s, %(segments)s, %(warnings)s, %(leakage)s, %(coverage)s)",
            {name: _json(value) for name, value in row.items()},
        )

    def add_holdout(self, row: Row, image_ids: Sequence[str]) -> None:
        self._pg.execute(
            "INSERT INTO dataset_holdouts (hash, manifest, items, classes)"
            " VALUES (%(hash)s, %(manifest)s, %(items)s, %(classes)s)",
            {name: _json(value) for name, value in row.items()},
        )
        self._pg.execute(
            "INSERT INTO holdout_images (image_id, hash) SELECT unnest(%s::uuid[]), %s",
            (list(image_ids), row["hash"]),
        )

    def holdouts_with(self, image_ids: Sequence[str]) -> dict[str, int]:
        rows = self._all(
            "SELECT hash, count(*) AS images FROM holdout_images WHERE image_id = ANY(%s::uuid[])"
            " GROUP BY hash ORDER BY hash",
            list(image_ids),
        )
        return {row["hash"]: row["images"] for row in rows}

    def version(self, hash_: str) -> Row | None:
        return self._one(f"{_VERSION} WHERE s.hash = %s", hash_)

    def versions(self, limit: int, cursor: str | None) -> Page:
        return self._page(_VERSION, Where(), ("s.created_at", "s.hash"), "DESC", limit, cursor)

    # --- the holdout

    def holdout(self, hash_: str) -> Row | None:
        return self._one("SELECT manifest, items, classes FROM dataset_holdouts WHERE hash = %s", hash_)

    def add_reading(self, hash_: str, by: str, release: str, purpose: str, at: datetime) -> int:
        self._pg.execute("SELECT pg_advisory_xact_lock(hashtextextended('holdout:' || %s, 0))", (hash_,))
        row = self._one(
            "INSERT INTO holdout_readings (hash, number, by, release, purpose, read_at)"
            " SELECT %s, count(*) + 1, %s, %s, %s, %s FROM holdout_readings WHERE hash = %s RETURNING number",
            *(hash_, by, release, purpose, at, hash_),
        )
        return int(row["number"]) if row else 0

    def readings(self, hash_: str, limit: int, cursor: str | None) -> Page:
        where = Where()
        where.equals("r.hash", hash_)
        return self._page(
            "SELECT r.number, r.by, r.release, r.purpose, r.read_at FROM holdout_readings r",
            where,
            ("r.read_at", "r.number"),
            "DESC",
            limit,
            cursor,
        )


def _json(value: Any) -> Any:
    return Jsonb(value) if isinstance(value, dict | list) else value

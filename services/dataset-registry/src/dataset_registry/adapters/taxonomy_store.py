"""Taxonomies, their drafts, and the relabel work that follows from them, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from psycopg.types.json import Jsonb

from dataset_registry.adapters.labeling_store import LabelingStore
from dataset_registry.adapters.lookup import Lookup, Where
from dataset_registry.handlers import labeling
from dataset_registry.ports import Page, Row
from dataset_registry.ports_taxonomy import Queued

_DRAFT = """
    SELECT d.draft_id::text, d.title, d.document, d.based_on, d.version, d.authors, d.state, d.published_version,
           d.created_at, d.updated_at
    FROM taxonomy_drafts d"""

# An image is labeled by its last approved annotation, or by its last label from elsewhere. A label that came of an
# annotation says no more than the annotation itself.
_SAID = """
    SELECT l.image_id, said.name FROM labels_in_force l CROSS JOIN LATERAL (
        SELECT unnest(l.classes) UNION SELECT shape->>'class_name' FROM jsonb_array_elements(l.shapes) AS shape
    ) AS said(name)
    WHERE l.verdict = 'labeled' AND said.name = ANY(%(classes)s)
      AND coalesce(l.taxonomy_version <> ALL(%(since)s), true)
    UNION
    SELECT capture_id, class_name FROM (
        SELECT DISTINCT ON (capture_id) capture_id, class_name, source, taxonomy_version FROM labels
        ORDER BY capture_id, sequence DESC
    ) AS last
    WHERE source <> 'annotation' AND class_name = ANY(%(classes)s)
      AND coalesce(taxonomy_version <> ALL(%(since)s), true)"""

_JSON = ("document", "affected", "decisions")


class TaxonomyStore(Lookup):
    """Taxonomies on one connection, in its transaction."""

    def lock_taxonomies(self) -> None:
        self._pg.execute("SELECT pg_advisory_xact_lock(hashtextextended('taxonomy', 0))")

    def taxonomy_in_force(self, at: datetime | None = None) -> Row | None:
        return self._one(
            "SELECT version, document FROM taxonomies WHERE published_at <= coalesce(%s::timestamptz, 'infinity')"
            " ORDER BY sequence DESC LIMIT 1",
            at,
        )

    def taxonomy_version(self, version: str) -> Row | None:
        return self._one(
            "SELECT t.version, t.document, t.published_by, t.published_at,"
            " (SELECT version FROM taxonomies b WHERE b.sequence < t.sequence ORDER BY b.sequence DESC LIMIT 1)"
            " AS previous,"
            " (SELECT published_at FROM taxonomies n WHERE n.sequence > t.sequence ORDER BY n.sequence LIMIT 1)"
            " AS replaced_at,"
            " (SELECT to_jsonb(p) FROM taxonomy_publications p WHERE p.version = t.version) AS publication"
            " FROM taxonomies t WHERE t.version = %s",
            version,
        )

    def taxonomies_since(self, version: str) -> list[Row]:
        return self._all(
            "SELECT t.version, t.document FROM taxonomies t JOIN taxonomies first ON t.sequence >= first.sequence"
            " WHERE first.version = %s ORDER BY t.sequence",
            version,
        )

    def images_known(self, image_ids: Sequence[str]) -> set[str]:
        rows = self._all(
            "SELECT id::text FROM unnest(%s::uuid[]) AS id WHERE EXISTS (SELECT FROM images WHERE image_id = id)"
            " OR EXISTS (SELECT FROM captures WHERE capture_id = id)",
            list(image_ids),
        )
        return {row["id"] for row in rows}

    # --- drafts

    def add_draft(self, row: Row) -> None:
        self._pg.execute(
            "INSERT INTO taxonomy_drafts (draft_id, title, document, based_on, authors, created_at, updated_at) VALUES"
            " (%(draft_id)s, %(title)s, %(document)s, %(based_on)s, %(authors)s, %(created_at)s, %(updated_at)s)",
            _written(row),
        )

    def lock_draft(self, draft_id: str) -> Row | None:
        return self._one(f"{_DRAFT} WHERE d.draft_id = %s FOR UPDATE", draft_id)

    def save_draft(self, draft_id: str, changes: Row) -> None:
        columns = ", ".join(
            f"{name} = %({name})s" for name in changes
        )  # named by the handlers, never by a caller
        self._pg.execute(
            f"UPDATE taxonomy_drafts SET version = version + 1, {columns} WHERE draft_id = %(draft_id)s".encode(),
            _written(changes) | {"draft_id": draft_id},
        )

    def draft(self, draft_id: str) -> Row | None:
        return self._one(f"{_DRAFT} WHERE d.draft_id = %s", draft_id)

    def drafts(self, wanted: Row, limit: int, cursor: str | None) -> Page:
        where = Where()
        where.equals("d.state", wanted.get("state"))
        return self._page(_DRAFT, where, ("d.created_at", "d.draft_id"), "DESC", limit, cursor)

    def record_publication(self, row: Row) -> None:
        self._pg.execute(
            "INSERT INTO taxonomy_publications (version, previous, draft_id, affected, decisions, batch_id, images,"
            " note) VALUES (%(version)s, %(previous)s, %(draft_id)s, %(affected)s, %(decisions)s, %(batch_id)s,"
            " %(images)s, %(note)s)",
            _written(row),
        )

    def label(self, label_id: str) -> Row | None:
        return self._pg.execute(
            "SELECT label_id::text, ARRAY[class_name] AS classes, taxonomy_version, approved_at AS made_at"
            " FROM labels WHERE label_id = %(id)s"
            " UNION ALL SELECT annotation_id::text, classes || ARRAY("
            " SELECT shape->>'class_name' FROM jsonb_array_elements(shapes) AS shape), taxonomy_version, made_at"
            " FROM annotations WHERE annotation_id = %(id)s",
            {"id": label_id},
        ).fetchone()

    # --- relabel work

    def labelled(self, classes: Sequence[str]) -> dict[str, int]:
        rows = self._pg.execute(
            f"SELECT name, count(*) AS images FROM ({_SAID}) AS said GROUP BY name".encode(),
            {"classes": list(classes), "since": []},
        )
        return {row["name"]: row["images"] for row in rows}

    def queue_relabel(self, version: str, classes: Sequence[str], by: str, now: datetime) -> Queued:
        since = [row["version"] for row in self.taxonomies_since(version)]
        rows = self._pg.execute(
            f"SELECT DISTINCT image_id::text FROM ({_SAID}) AS said ORDER BY image_id".encode(),
            {"classes": list(classes), "since": since},
        )
        images = [row["image_id"] for row in rows]
        name = f"Relabel for taxonomy {version}"
        there = self._one("SELECT batch_id::text FROM batches WHERE name = %s", name)
        if not images:
            return Queued(there["batch_id"] if there else None, 0)
        self._take_described(images, by, now)
        room = LabelingStore(self._pg)
        asked = {
            "name": name,
            "mode": "single",
            "answers_wanted": 1,
            "people": [],
            "review": {"plan": "full"},
            "taxonomy_version": version,
            "purpose": f"Taxonomy {version} changes {', '.join(classes)}.",
            "created_by": by,
        }
        batch_id = there["batch_id"] if there else labeling.open_batch(room, asked, now)
        added, _ = labeling.add_images(room, batch_id, images, by, now)
        return Queued(batch_id, added)

    def _take_described(self, capture_ids: Sequence[str], by: str, now: datetime) -> None:
        """Make images of captures that never ran on a line: only their labels describe them."""
        self._pg.execute(
            """
            INSERT INTO images (image_id, origin, name, object, width, height, context, part_id, captured_at, added_at,
                                added_by)
            SELECT DISTINCT ON (l.capture_id) l.capture_id, 'import', l.line || '/' || l.station || '/' || l.capture_id,
                   l.image->'object', (l.image->>'width')::integer, (l.image->>'height')::integer, l.context,
                   l.context->>'part_id', l.approved_at, %(now)s, %(by)s
            FROM labels l
            WHERE l.capture_id = ANY(%(ids)s::uuid[])
              AND NOT EXISTS (SELECT FROM captures c WHERE c.capture_id = l.capture_id)
            ORDER BY l.capture_id, l.sequence DESC
            ON CONFLICT DO NOTHING""",
            {"ids": list(capture_ids), "by": by, "now": now},
        )


def _written(row: Row) -> Row:
    return {name: Jsonb(value) if name in _JSON else value for name, value in row.items()}

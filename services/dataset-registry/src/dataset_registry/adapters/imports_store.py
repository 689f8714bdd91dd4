"""Imports in PostgreSQL, inside the caller's transaction; many rows at once go in by COPY."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb
from pydantic_core import to_json

from dataset_registry.adapters.exports_view import ExportsView
from dataset_registry.adapters.labeling_batches import Batches
from dataset_registry.adapters.lookup import Where
from dataset_registry.adapters.shapes_json import shape_to_json
from dataset_registry.adapters.sql import insert
from dataset_registry.domain.annotations import Shape
from dataset_registry.domain.interchange import Problem
from dataset_registry.domain.refusals import invalid
from dataset_registry.ports import Page, Row
from dataset_registry.ports_imports import Job, Known, Label, Prepared

_LONGEST = 2_000
MOST_PROBLEMS = 10_000
"""Kept of one import; all are counted."""

_JOB = """
    import_id::text, source, format, archive, options, imported_by, requested_at, done, attempts"""
_SHOWN = """
    SELECT i.import_id::text, i.source, i.format, i.archive->>'name' AS archive_name,
           i.archive->>'sha256' AS archive_sha256, (i.archive->>'size_bytes')::bigint AS archive_bytes,
           i.options, i.state, i.total, i.checked, i.done, i.added,
           i.problems, i.failure, i.imported_by, i.requested_at, i.finished_at
    FROM imports i"""
_PROBLEM = {
    "import_id": "uuid",
    "number": "integer",
    "file": "text",
    "line": "integer",
    "place": "text",
    "reason": "text",
    "advice": "text",
}
_IMAGE = (
    "images (image_id, origin, name, object, width, height, context, part_id, mm_per_pixel, captured_at,"
    " perceptual_hash, synthetic, segment, added_at, added_by)"
)
_ANNOTATION = (
    "annotations (annotation_id, image_id, classes, shapes, author, origin, verdict, taxonomy_version,"
    " made_at)"
)
_DECISION = "annotation_decisions (annotation_id, image_id, decision, by, note, decided_at)"
_KNOWN = """
    SELECT image_id::text, width, height, origin = 'capture' AS capture, true AS registered FROM images
    WHERE image_id = ANY(%(ids)s::uuid[])
    UNION ALL
    SELECT capture_id::text, (image->>'width')::integer, (image->>'height')::integer, true, false FROM captures c
    WHERE capture_id = ANY(%(ids)s::uuid[]) AND NOT EXISTS (SELECT FROM images i WHERE i.image_id = c.capture_id)"""


class ImportsStore(ExportsView):
    """Imports on one connection."""

    def add(self, row: Row) -> bool:
        added = self._pg.execute(
            "INSERT INTO imports (import_id, source, format, archive, options, imported_by, requested_at)"
            " VALUES (%(import_id)s, %(source)s, %(format)s, %(archive)s, %(options)s, %(imported_by)s,"
            " %(requested_at)s)"
            " ON CONFLICT (import_id) DO UPDATE SET state = 'waiting', failure = NULL, attempts = 0, finished_at = NULL"
            " WHERE imports.state = 'failed' RETURNING import_id",
            row | {"archive": Jsonb(row["archive"]), "options": Jsonb(row["options"])},
        )
        return added.fetchone() is not None

    def lease(self, import_id: str, now: datetime, until: datetime) -> Job | None:
        row = self._pg.execute(
            "UPDATE imports SET leased_until = %s, attempts = attempts + 1 WHERE import_id = %s"
            f" AND finished_at IS NULL AND (leased_until IS NULL OR leased_until <= %s) RETURNING {_JOB}".encode(),
            (until, import_id, now),
        ).fetchone()
        if row is None:
            return None
        options = row["options"]
        return Job(
            row["import_id"],
            row["source"],
            row["format"],
            row["archive"],
            options["mapping"],
            options["context"],
            options["only_good"],
            options["unmarked"] == "good",
            options["taxonomy_version"],
            row["imported_by"],
            row["requested_at"],
            row["done"],
            row["attempts"],
        )

    def renew(self, import_id: str, until: datetime) -> None:
        self._pg.execute("UPDATE imports SET leased_until = %s WHERE import_id = %s", (until, import_id))

    def unfinished(self, now: datetime) -> list[str]:
        rows = self._pg.execute(
            "SELECT import_id::text FROM imports WHERE finished_at IS NULL"
            " AND (leased_until IS NULL OR leased_until <= %s) ORDER BY requested_at, import_id",
            (now,),
        )
        return [row["import_id"] for row in rows]

    # --- checking

    def begin_checking(self, import_id: str) -> None:
        self._pg.execute("DELETE FROM import_problems WHERE import_id = %s", (import_id,))
        self._pg.execute(
            "UPDATE imports SET state = 'checking', checked = 0, problems = 0, total = NULL WHERE import_id = %s",
            (import_id,),
        )

    def checked(
        self, import_id: str, images: int, first: int, problems: Sequence[Problem], until: datetime
    ) -> None:
        rows = [
            {
                "import_id": import_id,
                "number": number,
                "file": _clean(problem.file),
                "line": problem.line,
                "place": _clean(problem.where),
                "reason": problem.reason,
                "advice": _clean(problem.advice),
            }
            for number, problem in enumerate(problems, first)
            if number <= MOST_PROBLEMS
        ]
        insert(self._pg, "import_problems", _PROBLEM, rows, "")
        self._pg.execute(
            "UPDATE imports SET checked = %s, problems = %s, leased_until = %s WHERE import_id = %s",
            (images, first - 1 + len(problems), until, import_id),
        )

    def begin_importing(self, import_id: str, total: int) -> None:
        self._pg.execute(
            "UPDATE imports SET state = 'importing', total = %s WHERE import_id = %s", (total, import_id)
        )

    def known_images(self, image_ids: Sequence[str]) -> dict[str, Known]:
        rows = self._pg.execute(_KNOWN, {"ids": list(image_ids)})
        return {row["image_id"]: Known(**row) for row in rows}

    def annotated(self, annotation_ids: Sequence[str]) -> set[str]:
        rows = self._pg.execute(
            "SELECT annotation_id::text FROM annotations WHERE annotation_id = ANY(%s::uuid[])",
            (list(annotation_ids),),
        )
        return {row["annotation_id"] for row in rows}

    def known_contents(self, hashes: Sequence[str]) -> dict[str, Known]:
        rows = self._pg.execute(
            "SELECT DISTINCT ON (object->>'sha256') object->>'sha256' AS sha256, image_id::text, width, height,"
            " origin = 'capture' AS capture FROM images WHERE object->>'sha256' = ANY(%s)"
            " ORDER BY object->>'sha256', added_at, image_id",
            (list(hashes),),
        )
        return {row.pop("sha256"): Known(**row, registered=True) for row in rows}

    # --- writing

    def write(self, job: Job, prepared: Sequence[Prepared], done: int, now: datetime) -> None:
        self._pg.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"import:{job.source}",))
        there = self.known_images([one.image_id for one in prepared if one.image is not None])
        new = [one for one in prepared if one.image is not None and one.image_id not in there]
        self._copy(_IMAGE, (_line(_image(one, job, now)) for one in new))
        captures = [one.image_id for one in prepared if one.new_capture]
        Batches(self._pg).take_captures(captures, job.by, now)
        self._label(job, {one.image_id: one.label for one in prepared if one.label is not None}, now)
        self._pg.execute(
            "UPDATE imports SET done = %s, added = added + %s, attempts = 0 WHERE import_id = %s",
            (done, len(new) + len(captures), job.import_id),
        )

    def _label(self, job: Job, labels: dict[str, Label], now: datetime) -> None:
        self._pg.execute(
            "INSERT INTO annotation_decisions (annotation_id, image_id, decision, by, note, decided_at)"
            " SELECT annotation_id, image_id, 'superseded', %s, NULL, %s FROM labels_in_force"
            " WHERE image_id = ANY(%s::uuid[])",
            (job.by, now, list(labels)),
        )
        end = _line((f"import:{job.source}", "import", "labeled", job.taxonomy_version, now))
        self._copy(
            _ANNOTATION,
            (
                f"{label.annotation_id}\t{image_id}\t{_field(label.classes)}\t{_field(label.shapes)}\t{end}"
                for image_id, label in labels.items()
            ),
        )
        end = _line(("approved", job.by, f"imported from {job.source}", now))
        self._copy(
            _DECISION, (f"{label.annotation_id}\t{image_id}\t{end}" for image_id, label in labels.items())
        )

    def _copy(self, table: str, lines: Iterable[str]) -> None:
        """Rows in COPY's text format; the table and its columns come from this module only."""
        with self._pg.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN".encode()) as copy:
            copy.write("".join(lines))

    def end(self, import_id: str, state: str, failure: str | None, now: datetime) -> None:
        self._pg.execute(
            "UPDATE imports SET state = %s, failure = %s, finished_at = %s, leased_until = NULL WHERE import_id = %s",
            (state, failure and _clean(failure), now, import_id),
        )

    def give_back(self, import_id: str, failure: str, attempts: int) -> None:
        self._pg.execute(
            "UPDATE imports SET leased_until = NULL, failure = %s, attempts = %s WHERE import_id = %s",
            (_clean(failure), attempts, import_id),
        )

    # --- what people look up

    def imports(self, limit: int, cursor: str | None) -> Page:
        return self._page(_SHOWN, Where(), ("i.requested_at", "i.import_id"), "DESC", limit, cursor)

    def read(self, import_id: str) -> Row | None:
        return self._one(f"{_SHOWN} WHERE i.import_id = %s", import_id)

    def problems(self, import_id: str, limit: int, cursor: str | None) -> Page:
        if cursor is not None and not (cursor.isdecimal() and cursor.isascii() and len(cursor) < 10):
            raise invalid(
                "unreadable-cursor",
                "Start again without a cursor, and pass on next_cursor exactly as it was given.",
            )
        rows = self._all(
            'SELECT number, file, line, place AS "where", reason, advice FROM import_problems'
            " WHERE import_id = %s AND number > %s ORDER BY number LIMIT %s",
            import_id,
            int(cursor or 0),
            limit + 1,
        )
        more, rows = len(rows) > limit, rows[:limit]
        return Page(rows, str(rows[-1]["number"]) if more else None)


def document(shapes: Sequence[Shape]) -> str:
    """Shapes as they are kept: JSON."""
    return to_json([shape_to_json(shape) for shape in shapes]).decode()


def _clean(text: str) -> str:
    """What a column can hold of a text that may quote a stranger's file."""
    return text[:_LONGEST].replace("\0", "?").encode(errors="replace").decode()


def _image(one: Prepared, job: Job, now: datetime) -> Sequence[Any]:
    image = one.image
    assert image is not None
    picture, bits = image.picture, image.picture.perceptual_hash
    return (
        one.image_id,
        "import",
        image.name,
        to_json(picture.ref.to_avro()).decode(),
        picture.width,
        picture.height,
        to_json(image.context).decode(),
        image.part_id,
        image.mm_per_pixel,
        image.captured_at,
        bits - (1 << 64) if bits >> 63 else bits,  # PostgreSQL's numbers have a sign
        image.synthetic,
        image.segment,
        now,
        job.by,
    )


_ESCAPED = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_QUOTED = str.maketrans({"\\": "\\\\", '"': '\\"'})


def _line(values: Sequence[Any]) -> str:
    """A row in COPY's text format."""
    return "\t".join(map(_field, values)) + "\n"


def _field(value: Any) -> str:
    match value:
        case None:
            return "\\N"
        case str():
            return value.translate(_ESCAPED) if "\\" in value or not value.isprintable() else value
        case bool():
            return "t" if value else "f"
        case datetime():
            return value.isoformat()
        case tuple():
            return ("{" + ",".join(f'"{item.translate(_QUOTED)}"' for item in value) + "}").translate(
                _ESCAPED
            )
        case _:
            return str(value)

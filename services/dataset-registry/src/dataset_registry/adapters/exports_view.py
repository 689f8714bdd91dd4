"""Labels in force on their way out of PostgreSQL: a portion at a time, in one order for ever."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from andon_events.records import ObjectRef
from pydantic_core import from_json

from dataset_registry.adapters.lookup import Lookup, Where
from dataset_registry.adapters.shapes_json import shape_from_json
from dataset_registry.domain.interchange import LabelledImage, Vocabulary, vocabulary
from dataset_registry.domain.samples import HOLDOUT
from dataset_registry.ports import Row
from dataset_registry.ports_imports import Chosen, Exported, Selection

_AT_ONCE = 250
"""Rows; little enough that their pictures are sent before the database takes the transaction for forgotten."""
_ALWAYS = datetime.max.replace(tzinfo=UTC)
_CONTEXT = (
    "line",
    "station",
    "camera",
    "part_id",
    "part_number",
    "variant",
    "batch",
    "captured_at",
    "mm_per_pixel",
)
_IN_FORCE = """
    SELECT DISTINCT ON (d.image_id) d.image_id, a.verdict, a.classes, a.shapes
    FROM annotation_decisions d JOIN annotations a USING (annotation_id)
    WHERE d.decision = 'approved' AND d.decided_at <= %s
    ORDER BY d.image_id, d.sequence DESC"""
_LABELLED = f"""
    SELECT i.image_id::text, i.name, i.object::text AS object, i.width, i.height, i.context::text AS context, l.classes,
           l.shapes::text AS shapes
    FROM ({_IN_FORCE}) AS l JOIN images i USING (image_id)"""
_OPEN = "NOT EXISTS (SELECT FROM holdout_images h WHERE h.image_id = i.image_id AND h.hash <> ALL(%s))"
_HELD = """
    FROM holdout_images h JOIN images i USING (image_id) JOIN LATERAL (
        SELECT a.verdict FROM annotation_decisions d JOIN annotations a USING (annotation_id)
        WHERE d.image_id = h.image_id AND d.decision = 'approved' AND d.decided_at <= %s
        ORDER BY d.sequence DESC LIMIT 1) AS l ON true"""


class ExportsView(Lookup):
    """The export side of Imports on one connection."""

    def in_force(self, chosen: Chosen) -> Selection:
        self._pg.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        where = _where(chosen)
        where.add("h.hash <> ALL(%s)", list(chosen.opened))
        (held,) = self._all(
            f"SELECT count(DISTINCT h.image_id) AS images {_HELD} {where}",
            chosen.as_of or _ALWAYS,
            *where.values,
        )
        return Selection(self._vocabulary(chosen), lambda: self._labelled(chosen), held["images"])

    def of_version(self, items: Sequence[Row], opened: Sequence[str]) -> Selection:
        ids = [item["capture_id"] for item in items]
        rows = self._all(
            "SELECT DISTINCT image_id::text FROM holdout_images WHERE image_id = ANY(%s::uuid[]) AND hash <> ALL(%s)",
            ids,
            list(opened),
        )
        held = {row["image_id"] for row in rows}
        if not opened:  # whatever was or was not noted of it
            held |= {item["capture_id"] for item in items if item.get("split") == HOLDOUT}
        names = self._all("SELECT image_id::text, name FROM images WHERE image_id = ANY(%s::uuid[])", ids)
        called = {row["image_id"]: row["name"] for row in names}
        images = [
            _of_version(item, called.get(item["capture_id"]) or str(item["capture_id"]))
            for item in items
            if item["capture_id"] not in held
        ]
        images.sort(key=lambda one: (one.image.name, one.image_id))
        return Selection(vocabulary(one.image for one in images), lambda: images, len(held))

    def holdouts_with(self, chosen: Chosen) -> list[str]:
        where = _where(chosen)
        found = f"SELECT DISTINCT h.hash {_HELD} {where} ORDER BY h.hash"
        return [row["hash"] for row in self._all(found, chosen.as_of or _ALWAYS, *where.values)]

    def _vocabulary(self, chosen: Chosen) -> Vocabulary:
        where = _going_out(chosen)
        found = f"""
            WITH chosen AS (SELECT l.classes, l.shapes FROM ({_IN_FORCE}) AS l JOIN images i USING (image_id) {where}),
                 marks AS (SELECT DISTINCT s->>'class_name' AS name, CASE WHEN s->>'kind' = 'key-points'
                           THEN jsonb_build_object(
                               'points', (SELECT jsonb_agg(k) FROM jsonb_object_keys(s->'points') k),
                               'joins', s->'joins') END AS figure
                           FROM chosen, jsonb_array_elements(shapes) AS s)
            SELECT name, figure FROM marks UNION SELECT DISTINCT unnest(classes), NULL::jsonb FROM chosen"""
        points: dict[str, set[str]] = {}
        joins: dict[str, set[tuple[str, str]]] = {}
        names: set[str] = set()
        for row in self._all(found, chosen.as_of or _ALWAYS, *where.values):
            names.add(row["name"])
            if row["figure"]:
                points.setdefault(row["name"], set()).update(row["figure"]["points"] or ())
                joins.setdefault(row["name"], set()).update(map(tuple, row["figure"]["joins"] or ()))
        return Vocabulary(
            tuple(sorted(names)),
            {name: tuple(sorted(found)) for name, found in points.items()},
            {name: tuple(sorted(found)) for name, found in joins.items()},
            _CONTEXT,
        )

    def _labelled(self, chosen: Chosen) -> Iterator[Exported]:
        where = _going_out(chosen)
        statement = f'{_LABELLED} {where} ORDER BY i.name COLLATE "C", i.image_id'
        with self._pg.cursor(name="labelled_images") as cursor:
            cursor.itersize = _AT_ONCE
            cursor.execute(statement.encode(), [chosen.as_of or _ALWAYS, *where.values])
            for row in cursor:
                yield _exported(row)


def _where(chosen: Chosen) -> Where:
    where = Where()
    where.add("l.verdict = %s", "labeled")
    where.equals("i.context->>'line'", chosen.line)
    where.equals("i.context->>'station'", chosen.station)
    where.add(
        "EXISTS (SELECT FROM tasks t WHERE t.image_id = i.image_id AND t.batch_id = %s)", chosen.batch_id
    )
    return where


def _going_out(chosen: Chosen) -> Where:
    where = _where(chosen)
    where.add(_OPEN, list(chosen.opened))
    return where


def _exported(row: Row) -> Exported:
    picture = ObjectRef.from_avro(from_json(row["object"]))
    shapes = from_json(row["shapes"])
    image = _image(
        row["name"], row["width"], row["height"], row["classes"], shapes, from_json(row["context"]), picture
    )
    return Exported(image, picture, row["image_id"])


def _of_version(item: Row, name: str) -> Exported:
    taken, shapes = item["image"], item.get("shapes") or []
    picture = ObjectRef.from_avro(taken["object"])
    marked = {shape["class_name"] for shape in shapes}
    classes = [said for said in item.get("classes") or [item["class_name"]] if said not in marked]
    image = _image(name, taken["width"], taken["height"], classes, shapes, item["context"], picture)
    return Exported(image, picture, item["capture_id"])


def _image(
    name: str,
    width: int,
    height: int,
    classes: Sequence[str],
    shapes: list[Row],
    context: Row,
    picture: ObjectRef,
) -> LabelledImage:
    known = {about: str(context[about]) for about in _CONTEXT if context.get(about) is not None}
    marks = tuple(map(shape_from_json, shapes))
    return LabelledImage(name, width, height, tuple(classes), marks, known, picture.sha256)

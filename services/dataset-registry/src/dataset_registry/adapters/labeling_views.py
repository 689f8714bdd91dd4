"""What people look up in the labeling room; each list along an index from where the reader left off."""

from __future__ import annotations

from collections.abc import Container, Sequence
from datetime import datetime
from typing import Any

from dataset_registry.adapters.labeling_task_view import TaskView
from dataset_registry.adapters.lookup import Where
from dataset_registry.domain.labeling import Person
from dataset_registry.ports import Page, Row

_BATCH = """
    SELECT b.batch_id::text, b.name, b.mode, b.answers_wanted, b.people, b.review, b.taxonomy_version, b.purpose,
           b.created_by, b.created_at, b.closed_at, p.progress
    FROM batches b CROSS JOIN LATERAL (
        SELECT coalesce(jsonb_object_agg(state, tasks), '{}') AS progress FROM (
            SELECT state, count(*) AS tasks FROM tasks t WHERE t.batch_id = b.batch_id GROUP BY state) AS counts
    ) AS p"""

# Blind: somebody is still to answer it without knowing what others said.
_IMAGE = """
    SELECT i.image_id::text, i.origin, i.name, i.width, i.height, i.context, i.part_id, i.mm_per_pixel, i.captured_at,
           i.synthetic, i.segment, i.added_at, i.added_by, EXISTS (
               SELECT FROM tasks t JOIN batches b USING (batch_id)
               WHERE t.image_id = i.image_id AND t.state = 'to-label' AND b.mode <> 'single' AND b.closed_at IS NULL
           ) AS blind
    FROM images i"""

# What a label says is looked up for no image that is in blind work, or held back: a filter must not tell it either.
_IS_OF_CLASS = """
    (SELECT l.verdict = 'labeled' AND (
         %s = ANY (l.classes) OR l.shapes @> jsonb_build_array(jsonb_build_object('class_name', %s::text)))
     FROM labels_in_force l WHERE l.image_id = i.image_id)
    AND NOT EXISTS (SELECT FROM holdout_images h WHERE h.image_id = i.image_id)
    AND NOT EXISTS (
        SELECT FROM tasks t JOIN batches b USING (batch_id)
        WHERE t.image_id = i.image_id AND t.state = 'to-label' AND b.mode <> 'single' AND b.closed_at IS NULL)"""

_LABELS = """
    SELECT image_id::text, annotation_id::text, author, approved_by, approved_at, verdict, classes, shapes, ambiguity,
           taxonomy_version
    FROM labels_in_force WHERE image_id = ANY(%s::uuid[])"""

_HISTORY = """
    SELECT a.annotation_id::text, a.task_id::text, a.author, a.origin, a.made_at, a.supersedes::text, a.verdict,
           a.classes, a.shapes, a.ambiguity, a.taxonomy_version,
           (SELECT coalesce(jsonb_agg(jsonb_build_object('decision', d.decision, 'by', d.by, 'note', d.note,
                   'decided_at', d.decided_at) ORDER BY d.sequence), '[]')
            FROM annotation_decisions d WHERE d.annotation_id = a.annotation_id) AS decisions
    FROM annotations a WHERE a.image_id = %s ORDER BY a.sequence"""

_IN_FORCE = """
    a.annotation_id = (
        SELECT d.annotation_id FROM annotation_decisions d WHERE d.image_id = a.image_id AND d.decision = 'approved'
        ORDER BY d.sequence DESC LIMIT 1)"""

_SAYS_CLASS = """
    annotations a WHERE a.classes @> ARRAY[%s] OR
        jsonb_path_query_array(a.shapes, '$[*].class_name') @> to_jsonb(%s::text)"""
_FEW = 5_000

_AMBIGUOUS = """
    SELECT a.annotation_id::text, a.image_id::text, i.name, a.author, a.ambiguity, a.taxonomy_version, a.made_at
    FROM annotations a JOIN images i USING (image_id)"""


class PostgresLabelingViews(TaskView):
    """LabelingViews on one connection."""

    def batches(self, wanted: Row, limit: int, cursor: str | None) -> Page:
        where = Where()
        where.add("(b.closed_at IS NULL) = %s", wanted.get("open"))
        where.add("(b.people = '{}' OR %s = ANY(b.people))", wanted.get("person"))
        return self._page(_BATCH, where, ("b.created_at", "b.batch_id"), "DESC", limit, cursor)

    def batch(self, batch_id: str) -> Row | None:
        row = self._one(f"{_BATCH} WHERE b.batch_id = %s", batch_id)
        if row is None:
            return None
        row["answers_by_person"] = {
            counted["author"]: counted["answers"]
            for counted in self._all(
                "SELECT a.author, count(DISTINCT a.task_id) AS answers FROM tasks t JOIN annotations a USING (task_id)"
                " WHERE t.batch_id = %s GROUP BY a.author ORDER BY a.author",
                batch_id,
            )
        }
        row["lots"] = self._all(
            "SELECT lot, size, sample_size, accept, reviewed, nonconforming, state FROM lots WHERE batch_id = %s"
            " AND sample_size > 0 ORDER BY lot",
            batch_id,
        )
        return row

    def tasks(self, task_ids: Sequence[str], person: Person, now: datetime) -> list[Row]:
        return self.shown(task_ids, person, now)

    def images(self, wanted: Row, limit: int, cursor: str | None) -> Page:
        where = Where()
        where.equals("i.context->>'line'", wanted.get("line"))
        where.equals("i.context->>'station'", wanted.get("station"))
        where.equals("i.context->>'part_number'", wanted.get("part_number"))
        where.equals("i.part_id", wanted.get("part_id"))
        where.equals("i.origin", wanted.get("origin"))
        where.equals("i.segment", wanted.get("segment"))
        named = [wanted.get("class_name")] * 2
        where.add(_IS_OF_CLASS, *named)
        if named[0] is not None and self._few(_SAYS_CLASS, named):
            where.add(f"i.image_id = ANY(ARRAY(SELECT a.image_id FROM {_SAYS_CLASS}))", *named)
        task = {name: wanted[name] for name in ("batch_id", "state") if wanted.get(name) is not None}
        if task:
            such = "tasks t WHERE " + " AND ".join(f"t.{name} = %s" for name in task)
            few = f"i.image_id = ANY(ARRAY(SELECT t.image_id FROM {such}))"
            many = f"EXISTS (SELECT FROM {such} AND t.image_id = i.image_id)"
            where.add(few if self._few(such, [*task.values()]) else many, *task.values())
        page = self._page(_IMAGE, where, ("i.added_at", "i.image_id"), "DESC", limit, cursor)
        held = {
            row["image_id"]
            for row in self._all(
                "SELECT image_id::text FROM holdout_images WHERE image_id = ANY(%s::uuid[])",
                [row["image_id"] for row in page.items],
            )
        }
        return Page(self._labeled(page.items, held), page.next_cursor)

    def _few(self, such: str, values: Sequence[object]) -> bool:
        """Whether these rows are so few that their images are best looked up one by one. Of many rows the last images
        have some, and reading the images from the last one on ends soon."""
        statement = f"SELECT count(*) AS rows FROM (SELECT FROM {such} LIMIT {_FEW}) AS first"
        (found,) = self._all(statement, *values, prepare=False)
        return bool(found["rows"] < _FEW)

    def image(self, image_id: str) -> Row | None:
        row = self._one(f"{_IMAGE} WHERE i.image_id = %s", image_id)
        if row is None:
            return None
        history = [] if row["blind"] else self._all(_HISTORY, image_id)
        row["history"] = [said | {"annotation": said} for said in history]
        return self._labeled([row])[0]

    def _labeled(self, rows: list[Row], held: Container[str] = ()) -> list[Row]:
        """Images with their labels in force, but for those that are in blind work, or held back."""
        labels = {label["image_id"]: label for label in self._all(_LABELS, [row["image_id"] for row in rows])}
        return [
            row | {"label": (label | {"annotation": label}) if label and shown else None}
            for row in rows
            for label in [labels.get(row["image_id"])]
            for shown in [not row["blind"] and row["image_id"] not in held]
        ]

    def image_object(self, image_id: str) -> Row | None:
        row = self._one(
            "SELECT object AS ref FROM images WHERE image_id = %s UNION ALL"
            " SELECT image->'object' FROM captures WHERE capture_id = %s LIMIT 1",
            image_id,
            image_id,
        )
        return row and row["ref"]

    def ambiguous(self, wanted: Row, limit: int, cursor: str | None) -> Page:
        where = Where()
        where.equals("a.verdict", "ambiguous")
        where.equals("a.ambiguity->>'reason'", wanted.get("reason"))
        where.add(f"({_IN_FORCE}) = %s", True)
        return self._page(_AMBIGUOUS, where, ("a.made_at", "a.annotation_id"), "DESC", limit, cursor)

    def ambiguity_counts(self) -> dict[str, int]:
        rows = self._all(
            "SELECT a.ambiguity->>'reason' AS reason, count(*) AS images FROM annotations a"
            f" WHERE a.verdict = 'ambiguous' AND {_IN_FORCE} GROUP BY 1 ORDER BY 1"
        )
        return {row["reason"]: row["images"] for row in rows}

    def gold_scores(self, batch_id: str) -> list[dict[str, Any]]:
        return self._all(
            "SELECT g.person, count(*) AS answers, count(*) FILTER (WHERE g.agrees) AS agreed, avg(g.score) AS score"
            " FROM tasks t JOIN gold_answers g USING (task_id) WHERE t.batch_id = %s"
            " GROUP BY g.person ORDER BY g.person",
            batch_id,
        )

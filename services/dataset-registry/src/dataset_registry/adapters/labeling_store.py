"""Drafts, annotations, decisions and lots in PostgreSQL, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from psycopg.types.json import Jsonb

from dataset_registry.adapters.labeling_queue import TASK, Queue, task_of
from dataset_registry.adapters.shapes_json import (
    ambiguity_to_json,
    annotation_from_json,
    annotation_to_json,
    shape_to_json,
)
from dataset_registry.adapters.sql import insert
from dataset_registry.domain.annotations import Annotation
from dataset_registry.domain.labeling import Task
from dataset_registry.domain.labeling_checks import ImageSize
from dataset_registry.ports import Row
from dataset_registry.ports_labeling import Decision, Draft, GoldAnswer, Lot, Statement, Stored

_STORED = "a.annotation_id::text, a.author, a.verdict, a.classes, a.shapes, a.ambiguity, a.taxonomy_version"


class LabelingStore(Queue):
    """Batches and Work on one connection."""

    # --- drafts

    def draft(self, task_id: str, person: str) -> Draft | None:
        row = self._pg.execute(
            "SELECT version, saved_at, annotation FROM drafts WHERE task_id = %s AND person = %s",
            (task_id, person),
        ).fetchone()
        if row is None:
            return None
        return Draft(row["version"], row["saved_at"], annotation_from_json(row["annotation"]))

    def save_draft(
        self, task_id: str, person: str, annotation: Annotation, known: int, now: datetime
    ) -> bool:
        values = {
            "task_id": task_id,
            "person": person,
            "annotation": Jsonb(annotation_to_json(annotation)),
            "known": known,
            "now": now,
        }
        statement = (
            "UPDATE drafts SET annotation = %(annotation)s, version = version + 1, saved_at = %(now)s"
            " WHERE task_id = %(task_id)s AND person = %(person)s AND version = %(known)s"
            if known
            else "INSERT INTO drafts (task_id, person, annotation, version, saved_at)"
            " SELECT task_id, %(person)s, %(annotation)s, 1, %(now)s FROM tasks WHERE task_id = %(task_id)s"
            " ON CONFLICT DO NOTHING"
        )
        return self._pg.execute(statement.encode(), values).rowcount > 0

    def drop_draft(self, task_id: str, person: str) -> None:
        self._pg.execute("DELETE FROM drafts WHERE task_id = %s AND person = %s", (task_id, person))

    # --- annotations and decisions

    def image_size(self, image_id: str) -> ImageSize:
        row = self._pg.execute(
            "SELECT width, height, mm_per_pixel FROM images WHERE image_id = %s", (image_id,)
        ).fetchone()
        if row is None:
            raise LookupError(f"image {image_id} of a task is gone")
        return ImageSize(row["width"], row["height"], row["mm_per_pixel"])

    def answers(self, task_id: str) -> list[Stored]:
        rows = self._pg.execute(
            f"SELECT * FROM (SELECT DISTINCT ON (a.author) a.sequence, {_STORED} FROM annotations a"
            " WHERE a.task_id = %s ORDER BY a.author, a.sequence DESC) AS last ORDER BY sequence".encode(),
            (task_id,),
        )
        return [_stored(row) for row in rows]

    def annotations(self, annotation_ids: Sequence[str]) -> dict[str, Stored]:
        rows = self._pg.execute(
            f"SELECT {_STORED} FROM annotations a WHERE a.annotation_id = ANY(%s::uuid[])".encode(),
            (list(annotation_ids),),
        )
        return {row["annotation_id"]: _stored(row) for row in rows}

    def add_annotation(self, statement: Statement) -> None:
        said = statement.annotation
        ambiguity = ambiguity_to_json(said.ambiguity)
        self._pg.execute(
            "INSERT INTO annotations (annotation_id, image_id, task_id, author, origin, verdict, classes, shapes,"
            " ambiguity, taxonomy_version, made_at, supersedes)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                statement.annotation_id,
                statement.image_id,
                statement.task_id,
                statement.author,
                statement.origin.value,
                said.verdict.value,
                list(said.classes),
                Jsonb([shape_to_json(shape) for shape in said.shapes]),
                ambiguity and Jsonb(ambiguity),
                said.taxonomy_version,
                statement.made_at,
                statement.supersedes,
            ),
        )

    def decide(self, decisions: Sequence[Decision]) -> None:
        columns = {
            "annotation_id": "uuid",
            "image_id": "uuid",
            "decision": "text",
            "by": "text",
            "note": "text",
            "decided_at": "timestamptz",
        }
        insert(self._pg, "annotation_decisions", columns, [d._asdict() for d in decisions], "")

    def undecided(self, task_ids: Sequence[str]) -> list[tuple[str, str]]:
        rows = self._pg.execute(
            "SELECT a.annotation_id::text, a.image_id::text FROM annotations a WHERE a.task_id = ANY(%s::uuid[])"
            " AND NOT EXISTS (SELECT FROM annotation_decisions d WHERE d.annotation_id = a.annotation_id)",
            (list(task_ids),),
        )
        return [(row["annotation_id"], row["image_id"]) for row in rows]

    def save(self, tasks: Sequence[Task], now: datetime) -> None:
        self._pg.execute(
            "UPDATE tasks t SET state = n.state, answered = n.answered, version = n.version, author = n.author,"
            " standing = n.standing, send_backs = n.send_backs, note = n.note, updated_at = %s"
            " FROM unnest(%s::uuid[], %s::text[], %s::integer[], %s::integer[], %s::text[], %s::uuid[], %s::integer[],"
            " %s::text[]) AS n(task_id, state, answered, version, author, standing, send_backs, note)"
            " WHERE t.task_id = n.task_id",
            (
                now,
                [task.task_id for task in tasks],
                [task.state.value for task in tasks],
                [task.answered for task in tasks],
                [task.version for task in tasks],
                [task.author for task in tasks],
                [task.standing for task in tasks],
                [task.send_backs for task in tasks],
                [task.note for task in tasks],
            ),
        )

    def add_gold_answer(self, answer: GoldAnswer) -> None:
        self._pg.execute(
            "INSERT INTO gold_answers (task_id, person, annotation_id, agrees, score, answered_at)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            answer,
        )

    # --- lots

    def lot_state(self, batch_id: str, lot: int) -> str:
        row = self._pg.execute(
            "SELECT state FROM lots WHERE batch_id = %s AND lot = %s FOR SHARE", (batch_id, lot)
        ).fetchone()
        if row is None:
            raise LookupError(f"lot {lot} of batch {batch_id} is gone")
        return str(row["state"])

    def lock_lot(self, batch_id: str, lot: int) -> Lot:
        row = self._pg.execute(
            "SELECT size, sample_size, accept, reviewed, nonconforming, state FROM lots"
            " WHERE batch_id = %s AND lot = %s FOR NO KEY UPDATE",
            (batch_id, lot),
        ).fetchone()
        if row is None:
            raise LookupError(f"lot {lot} of batch {batch_id} is gone")
        return Lot(**row)

    def save_lot(self, batch_id: str, number: int, lot: Lot) -> None:
        self._pg.execute(
            "UPDATE lots SET reviewed = %s, nonconforming = %s, state = %s WHERE batch_id = %s AND lot = %s",
            (lot.reviewed, lot.nonconforming, lot.state, batch_id, number),
        )

    def lock_waiting(self, batch_id: str, lot: int) -> list[Task]:
        rows = self._pg.execute(
            f"{TASK} WHERE t.batch_id = %s AND t.lot = %s AND t.state = 'waiting' ORDER BY t.task_id"
            " FOR NO KEY UPDATE OF t".encode(),
            (batch_id, lot),
        )
        return [task_of(row) for row in rows]

    def in_force(self, image_ids: Iterable[str]) -> dict[str, Stored]:
        rows = self._pg.execute(
            "SELECT image_id::text, annotation_id::text, author, verdict, classes, shapes, ambiguity, taxonomy_version"
            " FROM labels_in_force WHERE image_id = ANY(%s::uuid[])",
            (list(image_ids),),
        )
        return {row["image_id"]: _stored(row) for row in rows}


def _stored(row: Row) -> Stored:
    return Stored(row["annotation_id"], row["author"], annotation_from_json(row))

"""Blind answers of several people to the same images, from PostgreSQL."""

from __future__ import annotations

from typing import Any

from dataset_registry.adapters.lookup import Lookup
from dataset_registry.adapters.shapes_json import shape_from_json
from dataset_registry.domain.agreement_answers import Judged, Said
from dataset_registry.domain.annotations import KeyPoints, Shape

# What an adjudicator said is no blind answer.
_REVIEWS = """
    SELECT r.capture_id::text AS image_id, r.context, s.said, s.at,
           coalesce(i.part_id, r.context->>'part_id') AS part_id
    FROM reviews r LEFT JOIN images i ON i.image_id = r.capture_id CROSS JOIN LATERAL (
        SELECT json_agg(json_build_object('person', a.reviewer, 'class_name', coalesce(a.class_name, a.verdict))
                        ORDER BY a.reviewer) AS said,
               count(*) AS answers, max(a.answered_at) AS at
        FROM answers a WHERE a.review_id = r.review_id AND NOT a.adjudication) AS s
    WHERE r.state <> 'open' AND r.answers_wanted > 1 AND s.answers > 1"""

# The first that each person said in a task, and of these as many as were wanted: later ones have seen others.
_ANNOTATIONS = """
    SELECT t.batch_id::text, i.image_id::text, i.context, i.part_id, i.width, i.height, a.author, a.verdict,
           a.classes, a.shapes, a.made_at
    FROM tasks t JOIN images i USING (image_id) CROSS JOIN LATERAL (
        SELECT * FROM (
            SELECT DISTINCT ON (author) author, verdict, classes, shapes, made_at, sequence FROM annotations
            WHERE task_id = t.task_id AND origin <> 'model' ORDER BY author, sequence
        ) AS first ORDER BY sequence LIMIT t.wanted) AS a
    WHERE t.wanted > 1 AND t.answered >= t.wanted AND t.batch_id = coalesce(%s::uuid, t.batch_id)
    ORDER BY t.task_id, a.author"""

_SEVERITIES = ("monitor-only", "minor", "major", "critical")


class AnswersStore(Lookup):
    """Answers on one connection."""

    def review_answers(self) -> list[Judged]:
        return [
            _judged(
                row,
                tuple(
                    Said(said["person"], frozenset({said["class_name"]}), row["at"]) for said in row["said"]
                ),
            )
            for row in self._all(_REVIEWS)
        ]

    def annotation_answers(self, batch_id: str | None) -> list[Judged]:
        answers: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in self._all(_ANNOTATIONS, batch_id):
            row["marks"] = tuple(shape_from_json(shape) for shape in row["shapes"])
            answers.setdefault((row["batch_id"], row["image_id"]), []).append(row)
        # Where nobody marks an area in the whole batch, none was asked for, and its absence says nothing.
        marked = {batch for (batch, _), rows in answers.items() if any(_areas(row["marks"]) for row in rows)}
        return [
            _judged(
                rows[0],
                tuple(Said(row["author"], _classes(row), row["made_at"], row["marks"]) for row in rows),
                width=rows[0]["width"],
                height=rows[0]["height"],
                regions=batch in marked,
            )
            for (batch, _), rows in answers.items()
        ]

    def severities(self) -> dict[str, int]:
        row = self._one("SELECT document FROM taxonomies ORDER BY sequence DESC LIMIT 1")
        classes = row["document"]["classes"] if row else []
        return {c["name"]: 1 + _SEVERITIES.index(c["severity"]) if c["is_defect"] else 0 for c in classes}


def _judged(row: dict[str, Any], answers: tuple[Said, ...], **more: Any) -> Judged:
    context = row["context"]
    return Judged(
        row["image_id"],
        f"{context.get('part_number') or ''}/{row['part_id']}" if row["part_id"] else row["image_id"],
        answers,
        part=context.get("part_number"),
        camera=context.get("camera"),
        **more,
    )


def _classes(row: dict[str, Any]) -> frozenset[str]:
    if row["verdict"] != "labeled":
        return frozenset({row["verdict"]})
    return frozenset(row["classes"]) | {shape.class_name for shape in row["marks"]}


def _areas(marks: tuple[Shape, ...]) -> bool:
    return any(not isinstance(shape.geometry, KeyPoints) for shape in marks)

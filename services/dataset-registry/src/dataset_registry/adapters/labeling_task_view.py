"""A task as one person may see it: with their draft, a proposal, and what others said only when it is no secret."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from dataset_registry.adapters.lookup import Lookup
from dataset_registry.adapters.shapes_json import annotation_from_json, annotation_to_json
from dataset_registry.domain import labeling_proposals
from dataset_registry.domain.annotations import Annotation
from dataset_registry.domain.labeling import Kind, Mode, Person, State, kind_for
from dataset_registry.ports import Row

_TASK = """
    SELECT t.task_id::text, t.batch_id::text, b.name AS batch_name, b.mode, b.review->>'plan' AS plan, t.state,
           t.version, t.wanted, t.priority, t.priority_reason, t.note, t.author, t.standing::text,
           t.gold IS NOT NULL AS gold, b.taxonomy_version, i.image_id::text, i.name, i.width, i.height, i.context,
           i.part_id, i.mm_per_pixel, i.captured_at, c.expires_at AS claim_expires_at,
           d.version AS draft_version, d.saved_at, d.annotation AS draft_annotation,
           EXISTS (SELECT FROM annotations a WHERE a.task_id = t.task_id AND a.author = %(person)s) AS answered_by_me
    FROM unnest(%(ids)s::uuid[]) WITH ORDINALITY AS asked(task_id, place)
    JOIN tasks t USING (task_id) JOIN batches b USING (batch_id) JOIN images i USING (image_id)
    LEFT JOIN claims c ON c.task_id = t.task_id AND c.person = %(person)s AND c.expires_at > %(now)s
    LEFT JOIN drafts d ON d.task_id = t.task_id AND d.person = %(person)s
    ORDER BY asked.place"""

_ANSWERS = """
    SELECT DISTINCT ON (task_id, author) task_id::text, annotation_id::text, author, made_at, verdict, classes, shapes,
           ambiguity, taxonomy_version, sequence
    FROM annotations WHERE task_id = ANY(%s::uuid[]) ORDER BY task_id, author, sequence DESC"""

_KNOWN = """
    SELECT image_id::text, verdict, classes, shapes, ambiguity, taxonomy_version FROM labels_in_force
    WHERE image_id = ANY(%s::uuid[])"""

_PROPOSED = """
    SELECT asked.image_id::text, said.verdict, said.classes, said.shapes, said.ambiguity, said.taxonomy_version,
           d.evidence->'regions' AS regions, d.evidence->>'predicted_class' AS predicted_class
    FROM unnest(%s::uuid[]) AS asked(image_id)
    LEFT JOIN LATERAL (
        SELECT * FROM annotations a WHERE a.image_id = asked.image_id AND a.origin = 'model'
        ORDER BY a.sequence DESC LIMIT 1) AS said ON true
    LEFT JOIN dispositions d ON d.capture_id = asked.image_id AND d.revision = 1"""

_PREVIOUS = """
    SELECT asked.image_id::text, before.image_id::text AS previous_id, before.captured_at
    FROM unnest(%s::uuid[]) AS asked(image_id) JOIN images i USING (image_id)
    CROSS JOIN LATERAL (
        (SELECT o.image_id, o.captured_at FROM images o WHERE o.part_id = i.part_id AND o.captured_at < i.captured_at
         ORDER BY o.captured_at DESC LIMIT 3)
        UNION
        (SELECT k.capture_id, k.captured_at FROM captures k
         WHERE k.context->>'part_id' = i.part_id AND k.captured_at < i.captured_at
         ORDER BY k.received_at DESC, k.capture_id DESC LIMIT 3)
        ORDER BY captured_at DESC LIMIT 3
    ) AS before
    WHERE i.part_id IS NOT NULL ORDER BY asked.image_id, before.captured_at DESC"""


class TaskView(Lookup):
    """Tasks on one connection."""

    def shown(self, task_ids: Sequence[str], person: Person, now: datetime) -> list[Row]:
        """Tasks as this person may see them, in this order, in a fixed number of statements."""
        values = {"ids": list(task_ids), "person": person.name, "now": now}
        rows = self._pg.execute(_TASK.encode(), values).fetchall()
        kinds = {row["task_id"]: kind_for(State(row["state"]), row["author"], person) for row in rows}
        to_show = [row["task_id"] for row in rows if _shows_answers(row, kinds[row["task_id"]], person)]
        answers = self._answers(to_show)
        proposed = [
            row["image_id"]
            for row in rows
            if kinds[row["task_id"]] is Kind.LABEL
            and row["mode"] == Mode.SINGLE
            and row["state"] == State.TO_LABEL
        ]
        proposals = self._proposals(proposed)
        own = self._answers([row["task_id"] for row in rows if row["state"] == State.SENT_BACK])
        begun = {task_id: _begun(answers[-1], person) for task_id, answers in own.items()}
        previous = self._previous([row["image_id"] for row in rows if row["part_id"] is not None])
        return [
            _masked(row, person)
            | {
                "kind": kinds[row["task_id"]].value,
                "answers": _to_judge(answers.get(row["task_id"], []), row, kinds[row["task_id"]]),
                "proposal": begun.get(row["task_id"]) or proposals.get(row["image_id"]),
                "previous_of_part": previous.get(row["image_id"], []),
                "draft": _draft(row),
            }
            for row in rows
        ]

    def _answers(self, task_ids: list[str]) -> dict[str, list[Row]]:
        found = dict[str, list[Row]]()
        for row in self._each(_ANSWERS, task_ids):
            found.setdefault(row["task_id"], []).append(
                {name: row[name] for name in ("annotation_id", "author", "made_at", "sequence")}
                | {"annotation": annotation_to_json(annotation_from_json(row))}
            )
        return {task_id: sorted(rows, key=lambda row: row["sequence"]) for task_id, rows in found.items()}

    def _proposals(self, image_ids: list[str]) -> dict[str, Row]:
        known = self._in_force(image_ids)
        found = {image_id: labeling_proposals.to_confirm(label) for image_id, label in known.items()}
        for row in self._each(_PROPOSED, [image_id for image_id in image_ids if image_id not in found]):
            if row["verdict"] is not None:
                found[row["image_id"]] = labeling_proposals.to_confirm(annotation_from_json(row))
            else:
                seen = labeling_proposals.of_model(row["regions"] or [], row["predicted_class"])
                if seen is not None:
                    found[row["image_id"]] = seen
        return {image_id: annotation_to_json(proposal) for image_id, proposal in found.items()}

    def _previous(self, image_ids: list[str]) -> dict[str, list[Row]]:
        rows = self._each(_PREVIOUS, image_ids)
        labels = self._in_force([row["previous_id"] for row in rows])
        found = dict[str, list[Row]]()
        for row in rows:
            label = labels.get(row["previous_id"])
            found.setdefault(row["image_id"], []).append(
                {
                    "image_id": row["previous_id"],
                    "captured_at": row["captured_at"],
                    "annotation": label and annotation_to_json(label),
                }
            )
        return found

    def _in_force(self, image_ids: list[str]) -> dict[str, Annotation]:
        return {row["image_id"]: annotation_from_json(row) for row in self._each(_KNOWN, image_ids)}

    def _each(self, statement: str, ids: list[str]) -> list[Row]:
        """What a statement says of these; most tasks ask for nothing, and then nothing is asked."""
        return self._all(statement, ids) if ids else []


def _begun(sent_back: Row, person: Person) -> Row:
    """Where the work on what was sent back goes on; another person confirms each shape of it anew."""
    said: Row = sent_back["annotation"]
    if sent_back["author"] == person.name:
        return said
    return annotation_to_json(labeling_proposals.to_confirm(annotation_from_json(said)))


def _to_judge(answers: list[Row], row: Row, kind: Kind) -> list[Row]:
    """A review is of what stands, not of what others had said before."""
    if kind is not Kind.REVIEW:
        return answers
    return [said for said in answers if said["annotation_id"] == row["standing"]]


def _shows_answers(row: Row, kind: Kind, person: Person) -> bool:
    """Blind until all wanted answers are there; what is known of a gold image stays with the QA owners."""
    if row["gold"]:
        return person.owns_quality
    return kind is not Kind.LABEL or row["state"] == State.DONE


def _masked(row: Row, person: Person) -> Row:
    """Nobody can tell a gold image by its task: it looks as any other of its batch does."""
    if row["mode"] != Mode.GOLD or person.owns_quality:
        return row
    row = row | {"wanted": 1}
    if row["gold"] and row["answered_by_me"]:
        likely = {"full": State.TO_REVIEW, "iso2859": State.WAITING}.get(row["plan"], State.DONE)
        return row | {"state": likely.value, "version": 2}
    return row


def _draft(row: Row) -> Row | None:
    if row["draft_version"] is None:
        return None
    return {
        "version": row["draft_version"],
        "saved_at": row["saved_at"],
        "annotation": row["draft_annotation"],
    }

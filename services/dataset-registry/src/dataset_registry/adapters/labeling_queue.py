"""The queue in PostgreSQL: who may take which task, and who has it; inside the caller's transaction."""

from __future__ import annotations

from datetime import datetime

from dataset_registry.adapters.labeling_batches import Batches, batch_of
from dataset_registry.domain.labeling import AUTHORS_TIME, STATES_OF, Kind, Person, State, Task
from dataset_registry.ports import Row

TASK = """
    SELECT t.task_id::text, t.batch_id::text, t.image_id::text, t.state, t.wanted, t.answered, t.version, t.lot,
           t.sampled, t.gold::text, t.author, t.standing::text, t.send_backs, t.note, t.updated_at,
           b.mode, b.people, b.answers_wanted, b.review, b.taxonomy_version, b.closed_at
    FROM tasks t JOIN batches b USING (batch_id)"""

_OTHERS = "FROM claims c WHERE c.task_id = t.task_id AND c.person <> %(person)s AND c.expires_at > %(now)s"
_HELD_BY_OTHERS = f"(SELECT count(*) {_OTHERS})"
_NOBODY_ELSE = f"NOT EXISTS (SELECT {_OTHERS})"
_ANSWERED = "EXISTS (SELECT FROM annotations a WHERE a.task_id = t.task_id AND a.author = %(person)s)"
_FREE = {
    State.SENT_BACK: f"(t.author = %(person)s OR t.updated_at < %(deadline)s) AND {_NOBODY_ELSE}",
    State.TO_LABEL: f"b.closed_at IS NULL AND t.answered + {_HELD_BY_OTHERS} < t.wanted AND NOT {_ANSWERED}",
    State.TO_REVIEW: f"t.author <> %(person)s AND {_NOBODY_ELSE}",
    State.DISPUTED: f"NOT {_ANSWERED} AND {_NOBODY_ELSE}",
}
"""When a task in this state waits for a person."""

_BATCHES = {
    Kind.LABEL: "(b.people = '{}' OR %(person)s = ANY(b.people))",
    Kind.REVIEW: "(%(reviews_all)s OR b.people = '{}' OR %(person)s = ANY(b.people))",
    Kind.ADJUDICATE: "%(owns_quality)s",
}
"""The batches in which a person has this kind of work."""


class Queue(Batches):
    """Tasks and claims on one connection."""

    def candidates(
        self, kind: Kind, person: Person, batch_id: str | None, without: str | None, now: datetime, limit: int
    ) -> list[str]:
        values = _wanted(kind, person, batch_id, now) | {"without": without, "limit": limit}
        found = list[str]()
        for state in STATES_OF[kind]:
            # From each batch its first ones along an index, then the first of all of these.
            rows = self._pg.execute(
                f"""
                SELECT first.task_id::text FROM batches b CROSS JOIN LATERAL (
                    SELECT t.task_id, t.priority, t.added_at FROM tasks t
                    WHERE t.batch_id = b.batch_id AND t.state = '{state}' AND {_FREE[state]}
                      AND t.task_id IS DISTINCT FROM %(without)s::uuid
                    ORDER BY t.priority DESC, t.added_at, t.task_id LIMIT %(limit)s
                ) AS first
                WHERE {_BATCHES[kind]} AND (%(batch)s::uuid IS NULL OR b.batch_id = %(batch)s::uuid)
                ORDER BY first.priority DESC, first.added_at, first.task_id LIMIT %(limit)s""".encode(),
                values,
            )
            found += [row["task_id"] for row in rows]
        return found[:limit]

    def held(self, kind: Kind, person: Person, batch_id: str | None, now: datetime) -> str | None:
        free = " OR ".join(f"t.state = '{state}' AND {_FREE[state]}" for state in STATES_OF[kind])
        row = self._pg.execute(
            f"""
            SELECT t.task_id::text FROM claims mine JOIN tasks t USING (task_id) JOIN batches b USING (batch_id)
            WHERE mine.person = %(person)s AND mine.expires_at > %(now)s AND ({free}) AND {_BATCHES[kind]}
              AND (%(batch)s::uuid IS NULL OR b.batch_id = %(batch)s::uuid)
            ORDER BY mine.expires_at DESC, t.task_id LIMIT 1""".encode(),
            _wanted(kind, person, batch_id, now),
        ).fetchone()
        return None if row is None else str(row["task_id"])

    def lock_task(self, task_id: str, *, wait: bool = True) -> Task | None:
        statement = f"{TASK} WHERE t.task_id = %s FOR NO KEY UPDATE OF t {'' if wait else 'SKIP LOCKED'}"
        row = self._pg.execute(statement.encode(), (task_id,)).fetchone()
        return None if row is None else task_of(row)

    def others_holding(self, task_id: str, person: str, now: datetime) -> int:
        row = self._pg.execute(
            "SELECT count(*) AS others FROM claims WHERE task_id = %s AND person <> %s AND expires_at > %s",
            (task_id, person, now),
        ).fetchone()
        return row["others"] if row else 0

    def claim(self, task_id: str, person: str, until: datetime) -> None:
        self._pg.execute(
            "INSERT INTO claims (task_id, person, expires_at) VALUES (%s, %s, %s)"
            " ON CONFLICT (task_id, person) DO UPDATE SET expires_at = excluded.expires_at",
            (task_id, person, until),
        )

    def renew(self, task_id: str, person: str, now: datetime, until: datetime) -> bool:
        renewed = self._pg.execute(
            "UPDATE claims SET expires_at = %s WHERE task_id = %s AND person = %s AND expires_at > %s",
            (until, task_id, person, now),
        )
        return renewed.rowcount > 0

    def release(self, task_id: str, person: str | None = None) -> None:
        self._pg.execute(
            "DELETE FROM claims WHERE task_id = %s AND (%s::text IS NULL OR person = %s)",
            (task_id, person, person),
        )


def _wanted(kind: Kind, person: Person, batch_id: str | None, now: datetime) -> Row:
    return {
        "person": person.name,
        "reviews_all": person.reviews_all,
        "owns_quality": person.owns_quality,
        "batch": batch_id,
        "now": now,
        "deadline": now - AUTHORS_TIME,
    }


def task_of(row: Row) -> Task:
    """The task in a row of `TASK`."""
    batch = batch_of(row)
    names = (
        "task_id",
        "image_id",
        "wanted",
        "answered",
        "version",
        "lot",
        "sampled",
        "gold",
        "author",
        "standing",
    )
    return Task(
        batch=batch,
        state=State(row["state"]),
        send_backs=row["send_backs"],
        note=row["note"],
        updated_at=row["updated_at"],
        **{name: row[name] for name in names},
    )

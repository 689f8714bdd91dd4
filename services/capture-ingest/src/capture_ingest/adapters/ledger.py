"""The ledger in PostgreSQL: unique rows and the outbox in one transaction."""

from __future__ import annotations

from collections.abc import Sequence

from andon_chassis.database import Database
from andon_chassis.events import Event
from andon_events.records import CaptureRecorded

from capture_ingest.ports import Filed

# Sorted, so that two instances that file the same captures wait for each other instead of locking each other
# out.
_INSERT = """
INSERT INTO captures (capture_id, line, station, trigger_id, sha256, received_via, captured_at, received_at)
SELECT * FROM unnest(%b::text[]::uuid[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[],
                     %b::timestamptz[], %b::timestamptz[]) AS new (capture_id)
ORDER BY new.capture_id
ON CONFLICT DO NOTHING
RETURNING capture_id::text
"""
_KNOWN = "SELECT capture_id::text, sha256 FROM captures WHERE capture_id = ANY(%s::uuid[])"


class PostgresLedger:
    """Files captures; the primary key decides what is new, whatever other instances do."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def file(self, captures: Sequence[Event[CaptureRecorded]]) -> list[Filed]:
        first: dict[str, Event[CaptureRecorded]] = {}
        for capture in captures:
            first.setdefault(capture.data.capture_id, capture)
        rows = [e.data for e in first.values()]
        with self._database.transaction() as tx:
            inserted = tx.connection.execute(
                _INSERT,
                (
                    [c.capture_id for c in rows],
                    [c.context.line for c in rows],
                    [c.context.station for c in rows],
                    [c.trigger_id for c in rows],
                    [c.image.object.sha256 for c in rows],
                    [c.received_via for c in rows],
                    [c.captured_at for c in rows],
                    [c.received_at for c in rows],
                ),
            )
            new = {row["capture_id"] for row in inserted}
            known = {id_: e.data.image.object.sha256 for id_, e in first.items() if id_ in new}
            old = [id_ for id_ in first if id_ not in new]
            if old:
                known |= {row["capture_id"]: row["sha256"] for row in tx.connection.execute(_KNOWN, (old,))}
            tx.emit([e for id_, e in first.items() if id_ in new])
        return [self._result(capture, first, new, known) for capture in captures]

    @staticmethod
    def _result(
        capture: Event[CaptureRecorded],
        first: dict[str, Event[CaptureRecorded]],
        new: set[str],
        known: dict[str, str],
    ) -> Filed:
        id_ = capture.data.capture_id
        if known[id_] != capture.data.image.object.sha256:
            return "conflict"
        return "recorded" if id_ in new and capture is first[id_] else "known"

"""Dispositions, deliveries and findings in PostgreSQL."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from andon_chassis.database import Connection, Database

from mes_bridge.domain.delivery import State
from mes_bridge.handlers import delivered
from mes_bridge.ports import Addressed, Attempt, Delivered, Job, Known

FEED_LOCK = 7_203_519
"""Advisory lock under which feed positions are given out."""

# Arrays travel in binary format (%b): as text, every quote of the JSON would be escaped in Python.
KEEP = """
INSERT INTO dispositions
    (disposition_id, capture_id, revision, line, station, part, kind, body, traceparent)
SELECT a, b, c, d, e, f, g, h, i FROM unnest(
    %b::text[]::uuid[], %b::text[]::uuid[], %b::int[], %b::text[], %b::text[], %b::text[], %b::text[],
    %b::text[], %b::text[]) WITH ORDINALITY AS u(a, b, c, d, e, f, g, h, i, n)
ORDER BY n
ON CONFLICT DO NOTHING
RETURNING disposition_id::text
"""

ADDRESS = """
INSERT INTO deliveries (delivery_id, endpoint, disposition_id, position, part, next_attempt_at, queued_at)
SELECT u.a, u.b, d.disposition_id, d.position, d.part, %s, %s
FROM unnest(%b::text[]::uuid[], %b::text[], %b::text[]::uuid[]) AS u(a, b, c)
JOIN dispositions d ON d.disposition_id = u.c
ON CONFLICT DO NOTHING
"""

# Of each part only the oldest open delivery is due; SKIP LOCKED lets several couriers claim at once. The scalar
# subquery is looked up in an index for each candidate until the limit is reached; as NOT EXISTS, the planner hashed
# the whole queue for every claim.
CLAIM = """
WITH due AS (
    SELECT o.delivery_id FROM deliveries o
    WHERE o.endpoint = %(endpoint)s AND o.state = 'pending' AND o.next_attempt_at <= %(now)s
      AND o.position = (
        SELECT min(e.position) FROM deliveries e
        WHERE e.endpoint = o.endpoint AND e.part = o.part AND e.state IN ('pending', 'stuck'))
    ORDER BY o.next_attempt_at, o.position
    LIMIT %(most)s FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE deliveries d SET attempts = d.attempts + 1, lease = %(lease)s, next_attempt_at = %(until)s
    FROM due WHERE d.delivery_id = due.delivery_id
    RETURNING d.delivery_id, d.endpoint, d.disposition_id, d.position, d.attempts, d.queued_at
)
SELECT c.delivery_id::text, c.endpoint, c.disposition_id::text, c.attempts, c.queued_at, p.body, p.traceparent
FROM claimed c JOIN dispositions p USING (disposition_id) ORDER BY c.position
"""

RECLAIM = """
UPDATE deliveries SET next_attempt_at = %(now)s, lease = NULL
WHERE endpoint = %(endpoint)s AND state = 'pending' AND starts_with(lease, %(own)s)
"""

RELEASE = """
UPDATE deliveries d SET next_attempt_at = %s, lease = NULL, attempts = attempts - 1
FROM unnest(%b::text[]::uuid[], %b::text[]) AS u(id, lease)
WHERE d.delivery_id = u.id AND d.state = 'pending' AND d.lease = u.lease
"""

# An acknowledgement counts even when its lease has run out; a failure only within its lease.
SETTLE = """
UPDATE deliveries d SET
    state = u.state, status_code = u.status, reason = u.reason, lease = NULL,
    next_attempt_at = coalesce(u.next_attempt_at, d.next_attempt_at),
    settled_at = CASE WHEN u.state = 'pending' THEN NULL ELSE u.at END
FROM unnest(%b::text[]::uuid[], %b::text[], %b::text[], %b::int[], %b::text[], %b::timestamptz[],
            %b::timestamptz[]) AS u(id, lease, state, status, reason, next_attempt_at, at)
WHERE d.delivery_id = u.id
  AND (u.state = 'delivered' AND d.state <> 'delivered' OR d.state = 'pending' AND d.lease = u.lease)
RETURNING d.delivery_id::text
"""

ENDPOINT_SETTLE = """
INSERT INTO endpoints AS e
    (name, acknowledged, failed, failures_in_a_row, last_acknowledged_at, last_failed_at, last_failure)
VALUES (%(name)s, %(good)s, %(bad)s, %(in_a_row)s, %(good_at)s, %(bad_at)s, %(failure)s)
ON CONFLICT (name) DO UPDATE SET
    acknowledged = e.acknowledged + excluded.acknowledged,
    failed = e.failed + excluded.failed,
    failures_in_a_row = excluded.failures_in_a_row + CASE WHEN %(good)s > 0 THEN 0 ELSE e.failures_in_a_row END,
    last_acknowledged_at = coalesce(excluded.last_acknowledged_at, e.last_acknowledged_at),
    last_failed_at = coalesce(excluded.last_failed_at, e.last_failed_at),
    last_failure = coalesce(excluded.last_failure, e.last_failure)
"""


class PostgresOutbound:
    """The `Outbound` port within the transaction of a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def keep(self, known: Sequence[Known]) -> set[str]:
        if not known:
            return set()
        # Held until the commit: positions become visible in their order, so a cursor never skips a late one.
        self._connection.execute("SELECT pg_advisory_xact_lock(%s)", (FEED_LOCK,))
        rows = self._connection.execute(
            KEEP,
            (
                [k.disposition_id for k in known],
                [k.capture_id for k in known],
                [k.revision for k in known],
                [k.line for k in known],
                [k.station for k in known],
                [k.part for k in known],
                [k.kind for k in known],
                [k.body for k in known],
                [k.traceparent for k in known],
            ),
        )
        return {row["disposition_id"] for row in rows}

    def address(self, deliveries: Sequence[Addressed], now: datetime) -> None:
        if not deliveries:
            return
        self._connection.execute(
            ADDRESS,
            (
                now,
                now,
                [d.delivery_id for d in deliveries],
                [d.endpoint for d in deliveries],
                [d.disposition_id for d in deliveries],
            ),
        )


class PostgresLedger:
    """The `Ledger` port; each call is a transaction of its own.

    Args:
        instance: Names this running instance; no other one that runs at the same time has the name.
    """

    def __init__(self, database: Database, instance: str) -> None:
        self._database = database
        self._own = f"{instance}/"

    def reclaim(self, endpoint: str, now: datetime) -> None:
        with self._database.transaction() as tx:
            tx.connection.execute(RECLAIM, {"endpoint": endpoint, "now": now, "own": self._own})

    def release(self, jobs: Sequence[Job], now: datetime) -> None:
        with self._database.transaction() as tx:
            tx.connection.execute(RELEASE, (now, [j.delivery_id for j in jobs], [j.lease for j in jobs]))

    def claim(self, endpoint: str, most: int, now: datetime, lease_s: float) -> list[Job]:
        lease = self._own + uuid.uuid4().hex
        with self._database.transaction() as tx:
            # A claim that a crash of PostgreSQL forgets is made again; each delivery would wait for the disk.
            tx.connection.execute("SET LOCAL synchronous_commit = off")
            rows = tx.connection.execute(
                CLAIM,
                {
                    "endpoint": endpoint,
                    "now": now,
                    "most": most,
                    "lease": lease,
                    "until": now + timedelta(seconds=lease_s),
                },
            ).fetchall()
        return [Job(lease=lease, **row) for row in rows]

    def settle(self, attempts: Sequence[Attempt]) -> None:
        if not attempts:
            return
        ordered = sorted(attempts, key=lambda a: a.job.delivery_id)
        with self._database.transaction() as tx:
            rows = tx.connection.execute(
                SETTLE,
                (
                    [a.job.delivery_id for a in ordered],
                    [a.job.lease for a in ordered],
                    [a.judgement.state.value for a in ordered],
                    [a.answer.status for a in ordered],
                    [a.judgement.reason for a in ordered],
                    [_next_attempt(a) for a in ordered],
                    [a.at for a in ordered],
                ),
            )
            settled = {row["delivery_id"] for row in rows}
            tx.emit(
                delivered(a)
                for a in attempts
                if a.judgement.state is State.DELIVERED and a.job.delivery_id in settled
            )
            for name in sorted({a.job.endpoint for a in attempts}):
                own = [a for a in attempts if a.job.endpoint == name]
                tx.connection.execute(ENDPOINT_SETTLE, _tally(name, own))


def _next_attempt(attempt: Attempt) -> datetime | None:
    if attempt.judgement.state is not State.PENDING:
        return None
    return attempt.at + timedelta(seconds=attempt.judgement.delay_s)


def _tally(name: str, attempts: Sequence[Attempt]) -> dict[str, Any]:
    """What a batch of attempts adds to an endpoint's record; the attempts are in the order in which they ended."""
    good = [a for a in attempts if a.answer.is_acknowledgement]
    bad = [a for a in attempts if not a.answer.is_acknowledgement]
    in_a_row = 0
    for attempt in attempts:
        in_a_row = 0 if attempt.answer.is_acknowledgement else in_a_row + 1
    return {
        "name": name,
        "good": len(good),
        "bad": len(bad),
        "in_a_row": in_a_row,
        "good_at": good[-1].at if good else None,
        "bad_at": bad[-1].at if bad else None,
        "failure": bad[-1].judgement.reason if bad else None,
    }


class PostgresFindings:
    """The `Findings` port within the transaction of a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def latest(self, capture_id: str) -> Delivered | None:
        row = self._connection.execute(
            "SELECT body, traceparent FROM dispositions WHERE capture_id = %s ORDER BY revision DESC LIMIT 1",
            (capture_id,),
        ).fetchone()
        return None if row is None else Delivered(json.loads(row["body"])["data"], row["traceparent"])

    def first(
        self, webhook_id: str, body_sha256: str, result: Mapping[str, Any]
    ) -> tuple[bool, str, dict[str, Any]]:
        made = self._connection.execute(
            "INSERT INTO findings (webhook_id, body_sha256, result) VALUES (%s, %s, %s) "
            "ON CONFLICT DO NOTHING RETURNING webhook_id",
            (webhook_id, body_sha256, json.dumps(result)),
        ).fetchone()
        row = self._connection.execute(
            "SELECT body_sha256, result FROM findings WHERE webhook_id = %s", (webhook_id,)
        ).fetchone()
        assert row is not None
        return made is not None, row["body_sha256"], row["result"]

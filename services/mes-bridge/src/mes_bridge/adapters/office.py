"""What the API shows and does: the feed, deliveries that are stuck, endpoints, findings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from andon_chassis.clock import Clock
from andon_chassis.database import Database

from mes_bridge.adapters.postgres import PostgresFindings
from mes_bridge.domain.delivery import OVERTAKEN
from mes_bridge.handlers import receive
from mes_bridge.settings import Endpoint

DELIVERIES = """
SELECT d.delivery_id::text, d.endpoint, d.disposition_id::text, p.capture_id::text, p.revision, p.kind, d.part,
       d.state, d.attempts, d.status_code, d.reason, d.queued_at, d.next_attempt_at, d.settled_at, d.settled_by,
       d.position,
       (SELECT count(*) FROM deliveries f WHERE f.endpoint = d.endpoint AND f.part = d.part
            AND f.position > d.position AND f.state = 'pending') AS holds_up
FROM deliveries d JOIN dispositions p USING (disposition_id)
WHERE d.position > %(after)s AND d.state = %(state)s AND (%(endpoint)s::text IS NULL OR d.endpoint = %(endpoint)s)
ORDER BY d.position LIMIT %(limit)s
"""

ENDPOINTS = """
SELECT endpoint, count(*) FILTER (WHERE state = 'pending') AS pending,
       count(*) FILTER (WHERE state = 'stuck') AS stuck,
       min(queued_at) FILTER (WHERE state = 'pending') AS oldest_pending_at
FROM deliveries WHERE state IN ('pending', 'stuck') GROUP BY endpoint
"""

# Not what a later one of its part has overtaken: an old decision must not be the last that the plant hears. A lease
# says that an attempt is under way, which may arrive.
RELEASE = """
UPDATE deliveries d SET state = 'pending', next_attempt_at = %(now)s, lease = NULL, settled_at = NULL,
       queued_at = %(now)s
WHERE d.state IN ('stuck', 'abandoned') AND NOT EXISTS (
    SELECT FROM deliveries l WHERE l.endpoint = d.endpoint AND l.part = d.part AND l.position > d.position
      AND (l.state = 'delivered' OR l.state = 'pending' AND l.lease IS NOT NULL))
"""

# Couriers pass over what is locked, so no later one starts while it is looked whether one has.
HOLD = """
SELECT l.delivery_id::text, l.state FROM deliveries d JOIN deliveries l
    ON l.endpoint = d.endpoint AND l.part = d.part AND l.position >= d.position
WHERE d.delivery_id = %(id)s AND (l.delivery_id = d.delivery_id OR l.state IN ('pending', 'stuck'))
ORDER BY l.delivery_id FOR UPDATE OF l
"""


class Office:
    """Answers the API; each call is a transaction of its own and raises Unavailable when PostgreSQL is away."""

    def __init__(self, database: Database, clock: Clock, endpoints: Mapping[str, Endpoint]) -> None:
        self._database = database
        self._clock = clock
        self._endpoints = endpoints

    def finding(self, webhook_id: str, body: bytes) -> tuple[bool, dict[str, Any]]:
        """Take a finding; whether it was new, and its result. Raises what `handlers.receive` raises."""
        with self._database.transaction() as tx:
            receipt = receive(webhook_id, body, PostgresFindings(tx.connection), self._clock.now())
            if receipt.event is not None:
                tx.emit([receipt.event])
        return receipt.is_new, receipt.result

    def feed(self, after: int, limit: int, line: str | None) -> list[tuple[int, dict[str, Any]]]:
        """Dispositions behind a position, in the order of the feed."""
        with self._database.transaction() as tx:
            rows = tx.connection.execute(
                "SELECT position, body FROM dispositions WHERE position > %s AND (%s::text IS NULL OR line = %s) "
                "ORDER BY position LIMIT %s",
                (after, line, line, limit),
            ).fetchall()
        return [(row["position"], json.loads(row["body"])["data"]) for row in rows]

    def deliveries(self, state: str, endpoint: str | None, after: int, limit: int) -> list[dict[str, Any]]:
        """Deliveries in a state, oldest first."""
        with self._database.transaction() as tx:
            return list(
                tx.connection.execute(
                    DELIVERIES, {"state": state, "endpoint": endpoint, "after": after, "limit": limit}
                )
            )

    def retry(self, delivery_id: str) -> str | None:
        """Try a stuck or abandoned delivery again; its state before, None when it is unknown.

        OVERTAKEN, and nothing changed, when a later one of its part has arrived or is on its way.
        """
        with self._database.transaction() as tx:
            held = {
                row["delivery_id"]: str(row["state"])
                for row in tx.connection.execute(HOLD, {"id": delivery_id})
            }
            released = tx.connection.execute(
                f"{RELEASE} AND d.delivery_id = %(id)s", {"now": self._clock.now(), "id": delivery_id}
            ).rowcount
        before = held.get(delivery_id)
        return OVERTAKEN if before in {"stuck", "abandoned"} and not released else before

    def retry_all(self, endpoint: str | None) -> int:
        """Try all stuck deliveries again that were not overtaken, of one endpoint or of all; how many there were."""
        with self._database.transaction() as tx:
            return tx.connection.execute(
                f"{RELEASE} AND d.state = 'stuck' AND (%(endpoint)s::text IS NULL OR d.endpoint = %(endpoint)s)",
                {"now": self._clock.now(), "endpoint": endpoint},
            ).rowcount

    def abandon(self, delivery_id: str, by: str, note: str) -> str | None:
        """Give a stuck delivery up, so that later ones of its part go on; its state before, None when unknown."""
        with self._database.transaction() as tx:
            row = tx.connection.execute(
                "SELECT state FROM deliveries WHERE delivery_id = %s FOR UPDATE", (delivery_id,)
            ).fetchone()
            tx.connection.execute(
                "UPDATE deliveries SET state = 'abandoned', settled_at = %s, settled_by = %s "
                "WHERE delivery_id = %s AND state = 'stuck'",
                (self._clock.now(), f"{by}: {note}", delivery_id),
            )
        return None if row is None else str(row["state"])

    def endpoints(self) -> list[dict[str, Any]]:
        """Every configured endpoint, and every other that still has open deliveries."""
        with self._database.transaction() as tx:
            queues = {row["endpoint"]: row for row in tx.connection.execute(ENDPOINTS)}
            records = {row["name"]: row for row in tx.connection.execute("SELECT * FROM endpoints")}
        return [
            {
                "name": name,
                "url": _without_secrets(self._endpoints[name].url) if name in self._endpoints else None,
                "configured": name in self._endpoints,
                "lines": list(self._endpoints[name].lines) if name in self._endpoints else [],
                "pending": queues.get(name, {}).get("pending", 0),
                "stuck": queues.get(name, {}).get("stuck", 0),
                "oldest_pending_at": queues.get(name, {}).get("oldest_pending_at"),
                "acknowledged": records.get(name, {}).get("acknowledged", 0),
                "failed_attempts": records.get(name, {}).get("failed", 0),
                "failures_in_a_row": records.get(name, {}).get("failures_in_a_row", 0),
                "last_acknowledged_at": records.get(name, {}).get("last_acknowledged_at"),
                "last_failed_at": records.get(name, {}).get("last_failed_at"),
                "last_failure": records.get(name, {}).get("last_failure"),
            }
            for name in sorted({*self._endpoints, *queues})
        ]


def _without_secrets(url: str) -> str:
    """Scheme, host and path: user names, passwords and query strings may be secrets."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"

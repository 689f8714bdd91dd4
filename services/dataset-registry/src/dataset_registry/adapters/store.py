"""The commands' and the state step's side of PostgreSQL: everything here runs inside the caller's
transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from andon_chassis.database import INBOX_KEPT_DAYS
from psycopg.types.json import Jsonb

from dataset_registry.adapters.sql import LAST_DEPLOYMENTS, Pg, insert
from dataset_registry.domain.dispositions import Stand
from dataset_registry.domain.releases import Deployment, in_force
from dataset_registry.domain.reviews import COMPLETED, Answer, Standing
from dataset_registry.domain.tallies import KEEP_MINUTES, MINUTE, TallyRow
from dataset_registry.domain.taxonomy import UNPUBLISHED, Taxonomy
from dataset_registry.ports import Row

_CAPTURE = {
    "capture_id": "uuid",
    "line": "text",
    "station": "text",
    "context": "jsonb",
    "image": "jsonb",
    "trigger_id": "text",
    "missing": "text[]",
    "received_via": "text",
    "captured_at": "timestamptz",
    "received_at": "timestamptz",
}
_DISPOSITION = {
    "disposition_id": "uuid",
    "capture_id": "uuid",
    "revision": "integer",
    "corrects": "uuid",
    "kind": "text",
    "reasons": "text[]",
    "severity": "text",
    "class_name": "text",
    "decided_by": "text",
    "evidence": "jsonb",
    "decided_at": "timestamptz",
    "latency_ms": "double precision",
    "deviating": "text[]",
    "unproven": "text[]",
}
_REVIEW = {
    "review_id": "uuid",
    "disposition_id": "uuid",
    "capture_id": "uuid",
    "line": "text",
    "station": "text",
    "context": "jsonb",
    "image": "jsonb",
    "heat_map": "jsonb",
    "regions": "jsonb",
    "reasons": "text[]",
    "proposed_class": "text",
    "defect_score": "double precision",
    "answers_wanted": "integer",
    "due_at": "timestamptz",
    "requested_at": "timestamptz",
    "captured_at": "timestamptz",
    "traceparent": "text",
}
_SIGNAL = {
    "signal_id": "uuid",
    "kind": "text",
    "scope": "jsonb",
    "window_start": "timestamptz",
    "window_end": "timestamptz",
    "measured": "double precision",
    "expected": "double precision",
    "threshold": "double precision",
    "unit": "text",
    "sample_size": "integer",
    "evidence": "text[]",
    "suspected_cause": "text",
    "explanation": "text",
    "raised_at": "timestamptz",
}
_ACTION = {
    "action_id": "uuid",
    "signal_id": "uuid",
    "kind": "text",
    "title": "text",
    "line": "text",
    "station": "text",
    "owner": "text",
    "due_at": "timestamptz",
    "opened_at": "timestamptz",
    "traceparent": "text",
}
_FINDING = {
    "finding_id": "uuid",
    "kind": "text",
    "capture_id": "uuid",
    "line": "text",
    "station": "text",
    "class_name": "text",
    "disposition_kind": "text",
    "reported_by": "text",
    "note": "text",
    "found_at": "timestamptz",
    "received_at": "timestamptz",
}
_LABEL = {
    "label_id": "uuid",
    "capture_id": "uuid",
    "line": "text",
    "station": "text",
    "class_name": "text",
    "is_defect": "boolean",
    "approved_by": "text",
    "source": "text",
    "taxonomy_version": "text",
    "review_id": "uuid",
    "context": "jsonb",
    "image": "jsonb",
    "approved_at": "timestamptz",
}
_RELEASE = {
    "release": "text",
    "bundle": "jsonb",
    "task": "text",
    "classes": "text[]",
    "dataset_hash": "text",
    "metrics": "jsonb",
    "pass_below": "double precision",
    "reject_from": "double precision",
    "trained_at": "timestamptz",
    "card": "jsonb",
    "reports": "jsonb",
}
_TALLY = {
    "resolution": "text",
    "period": "timestamptz",
    "line": "text",
    "station": "text",
    "measure": "text",
    "count": "bigint",
}
_KNOWN_VERSIONS = {
    "dataset_version": "SELECT 1 FROM dataset_snapshots WHERE hash = %s",
    "release": "SELECT 1 FROM releases WHERE release = %s",
    "taxonomy_version": "SELECT 1 FROM taxonomies WHERE version = %s",
    "policy_version": "SELECT 1 FROM policies WHERE version = %s",
}


class Store:
    """Facts, Reviews, Actions and Reference on one connection, in its transaction."""

    def __init__(self, pg: Pg) -> None:
        self._pg = pg

    # --- facts from the bus

    def record_captures(self, rows: Sequence[Row]) -> None:
        insert(
            self._pg,
            "captures",
            _CAPTURE,
            sorted(rows, key=_by_capture),
            "ON CONFLICT (capture_id) DO UPDATE SET trigger_id = excluded.trigger_id, missing ="
            " excluded.missing,"
            " received_via = excluded.received_via"
            " WHERE captures.received_via IS NULL AND excluded.received_via IS NOT NULL",
        )

    def standing(self, capture_ids: Iterable[str]) -> dict[str, Stand]:
        rows = self._pg.execute(
            "SELECT capture_id::text, revision, kind FROM captures WHERE capture_id = ANY(%s::uuid[])"
            " ORDER BY capture_id FOR UPDATE",
            (list(capture_ids),),
        )
        return {row["capture_id"]: Stand(row["revision"], row["kind"]) for row in rows}

    def record_dispositions(self, rows: Sequence[Row], now_standing: Mapping[str, Stand]) -> None:
        insert(self._pg, "dispositions", _DISPOSITION, rows, "ON CONFLICT DO NOTHING")
        self._pg.execute(
            "UPDATE captures c SET revision = s.revision, kind = s.kind"
            " FROM unnest(%s::uuid[], %s::integer[], %s::text[]) AS s(capture_id, revision, kind)"
            " WHERE c.capture_id = s.capture_id",
            (
                list(now_standing),
                [stand.revision for stand in now_standing.values()],
                [stand.kind for stand in now_standing.values()],
            ),
        )

    def request_reviews(self, rows: Sequence[Row]) -> set[str]:
        then = "ON CONFLICT (review_id) DO NOTHING RETURNING review_id::text"
        new = insert(self._pg, "reviews", _REVIEW, sorted(rows, key=_by_capture), then)
        return {row["review_id"] for row in new}

    def raise_signals(self, signals: Sequence[Row], actions: Sequence[Row]) -> set[str]:
        then = "ON CONFLICT (signal_id) DO NOTHING RETURNING signal_id::text"
        new = {row["signal_id"] for row in insert(self._pg, "signals", _SIGNAL, signals, then)}
        insert(
            self._pg,
            "actions",
            _ACTION,
            [a for a in actions if a["signal_id"] in new],
            "ON CONFLICT DO NOTHING",
        )
        return new

    def record_findings(self, rows: Sequence[Row]) -> None:
        insert(self._pg, "findings", _FINDING, rows, "ON CONFLICT DO NOTHING")

    def record_releases(self, rows: Sequence[Row]) -> None:
        insert(
            self._pg,
            "releases",
            _RELEASE,
            rows,
            "ON CONFLICT (release) DO UPDATE SET card = coalesce(releases.card, excluded.card),"
            " reports = releases.reports || excluded.reports",
        )

    def tally(self, rows: Sequence[TallyRow]) -> None:
        insert(
            self._pg,
            "tallies",
            _TALLY,
            [{name: getattr(row, name) for name in _TALLY} for row in rows],
            "ON CONFLICT (resolution, period, line, station, measure)"
            " DO UPDATE SET count = tallies.count + excluded.count",
        )

    # --- reviews and labels

    def lock_review(self, review_id: str) -> Row | None:
        return self._pg.execute(
            "SELECT review_id::text, capture_id::text, line, station, context, image, state, answers_wanted,"
            " proposed_class, defect_score, captured_at, traceparent FROM reviews WHERE review_id = %s FOR UPDATE",
            (review_id,),
        ).fetchone()

    def answers(self, review_id: str) -> list[Answer]:
        rows = self._pg.execute(
            "SELECT reviewer, verdict, class_name, note, answered_at, adjudication FROM answers"
            " WHERE review_id = %s ORDER BY answered_at, reviewer",
            (review_id,),
        )
        return [Answer(**row) for row in rows]

    def add_answer(self, review_id: str, answer: Answer, standing: Standing) -> None:
        self._pg.execute(
            "INSERT INTO answers (review_id, reviewer, verdict, class_name, note, answered_at, adjudication)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (
                review_id,
                answer.reviewer,
                answer.verdict,
                answer.class_name,
                answer.note,
                answer.answered_at,
                answer.adjudication,
            ),
        )
        state = None if standing.state == COMPLETED else standing.state
        self._pg.execute(
            "UPDATE reviews SET answers_given = answers_given + 1, state = coalesce(%s, state) WHERE"
            " review_id = %s",
            (state, review_id),
        )

    def complete_review(self, review_id: str, standing: Standing, answer: Answer) -> None:
        self._pg.execute(
            "UPDATE reviews SET state = %s, verdict = %s, class_name = %s, agreed = %s, decided_by = %s,"
            " completed_at = %s WHERE review_id = %s",
            (
                standing.state,
                answer.verdict,
                answer.class_name,
                standing.agreed,
                standing.decided_by,
                answer.answered_at,
                review_id,
            ),
        )

    def add_labels(self, rows: Sequence[Row]) -> set[str]:
        then = "ON CONFLICT (label_id) DO NOTHING RETURNING label_id::text"
        return {row["label_id"] for row in insert(self._pg, "labels", _LABEL, rows, then)}

    def current_labels(self, capture_ids: Sequence[str]) -> dict[str, Row]:
        rows = self._pg.execute(
            "SELECT DISTINCT ON (capture_id) capture_id::text, label_id::text, class_name, approved_by"
            " FROM labels"
            " WHERE capture_id = ANY(%s::uuid[]) ORDER BY capture_id, sequence DESC",
            (list(capture_ids),),
        )
        return {row["capture_id"]: row for row in rows}

    def taxonomy(self) -> Taxonomy:
        row = self._pg.execute(
            "SELECT version, document FROM taxonomies ORDER BY sequence DESC LIMIT 1"
        ).fetchone()
        if row is None:
            return UNPUBLISHED
        classes = row["document"]["classes"]
        good = next((c["name"] for c in classes if not c["is_defect"]), UNPUBLISHED.good_class)
        return Taxonomy(row["version"], good, tuple(c["name"] for c in classes if c["is_defect"]))

    def captures(self, capture_ids: Sequence[str]) -> dict[str, Row]:
        rows = self._pg.execute(
            "SELECT capture_id::text, context, image FROM captures WHERE capture_id = ANY(%s::uuid[])",
            (list(capture_ids),),
        )
        return {row["capture_id"]: row for row in rows}

    # --- actions

    def lock_action(self, action_id: str) -> Row | None:
        return self._pg.execute(
            "SELECT action_id::text, signal_id::text, kind, line, station, state, traceparent FROM actions"
            " WHERE action_id = %s FOR UPDATE",
            (action_id,),
        ).fetchone()

    def close_action(self, action_id: str, closing: Row) -> None:
        self._pg.execute(
            "UPDATE actions SET state = 'closed', outcome = %s, proof = %s, note = %s, closed_by = %s,"
            " closed_at = %s"
            " WHERE action_id = %s",
            (
                closing["outcome"],
                Jsonb(closing["proof"]),
                closing["note"],
                closing["closed_by"],
                closing["closed_at"],
                action_id,
            ),
        )

    def exists(self, what: str, name: str) -> bool:
        return self._pg.execute(_KNOWN_VERSIONS[what].encode(), (name,)).fetchone() is not None

    # --- reference data

    def station(self, line: str, station: str) -> Row | None:
        self._lock(f"station:{line}/{station}")
        return self._document(
            "SELECT document FROM station_versions WHERE line = %s AND station = %s ORDER BY sequence"
            " DESC LIMIT 1",
            line,
            station,
        )

    def publish_station(self, line: str, station: str, document: Row, by: str, at: datetime) -> None:
        self._pg.execute(
            "INSERT INTO station_versions (line, station, document, published_by, published_at)"
            " VALUES (%s, %s, %s, %s, %s)",
            (line, station, Jsonb(document), by, at),
        )

    def policy(self, version: str) -> Row | None:
        self._lock(f"policy:{version}")
        return self._document("SELECT document FROM policies WHERE version = %s", version)

    def publish_policy(
        self, version: str, line: str, station: str, document: Row, by: str, at: datetime
    ) -> None:
        self._pg.execute(
            "INSERT INTO policies (version, line, station, document, published_by, published_at)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            (version, line, station, Jsonb(document), by, at),
        )

    def taxonomy_document(self, version: str) -> Row | None:
        self._lock("taxonomy")
        return self._document("SELECT document FROM taxonomies WHERE version = %s", version)

    def publish_taxonomy(self, version: str, document: Row, by: str, at: datetime) -> None:
        self._pg.execute(
            "INSERT INTO taxonomies (version, document, published_by, published_at) VALUES (%s, %s, %s, %s)",
            (version, Jsonb(document), by, at),
        )

    def lock_scope(self, what: str, line: str, station: str) -> None:
        self._lock(f"{what} in:{line}/{station}")

    def release(self, release: str) -> Row | None:
        return self._pg.execute(
            "SELECT release, bundle FROM releases WHERE release = %s", (release,)
        ).fetchone()

    def deployments(self, mode: str, line: str, station: str) -> list[Deployment]:
        rows = self._pg.execute(
            "SELECT release, rolled_back, follows FROM deployments"
            " WHERE mode = %s AND line = %s AND station = %s ORDER BY sequence",
            (mode, line, station),
        )
        return [Deployment(row["release"], row["rolled_back"], row["follows"]) for row in rows]

    def lock_deployments(self) -> None:
        self._lock("deployments")

    def deployments_in_force(self) -> list[Row]:
        return list(in_force(self._pg.execute(LAST_DEPLOYMENTS).fetchall()))

    def record_deployment(self, row: Row) -> None:
        self._pg.execute(
            "INSERT INTO deployments (line, station, mode, release, share, from_release, rolled_back, follows,"
            " reason, ordered_by, ordered_at) VALUES (%(line)s, %(station)s, %(mode)s, %(release)s, %(share)s,"
            " %(from_release)s, %(rolled_back)s, %(follows)s, %(reason)s, %(ordered_by)s, %(ordered_at)s)",
            row,
        )

    def _document(self, statement: str, *values: str) -> Row | None:
        row = self._pg.execute(statement.encode(), values).fetchone()
        return None if row is None else row["document"]

    def _lock(self, name: str) -> None:
        self._pg.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (name,))


def _by_capture(row: Row) -> str:
    return str(row["capture_id"])


def forget(pg: Pg, now: datetime) -> None:
    """Drop counts by minute that nobody asks for any more, and answers whose keys the inbox has forgotten."""
    pg.execute("DELETE FROM tallies WHERE resolution = %s AND period < %s", (MINUTE, now - KEEP_MINUTES))
    pg.execute("DELETE FROM command_answers WHERE answered_at < %s", (now - timedelta(days=INBOX_KEPT_DAYS),))

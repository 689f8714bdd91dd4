"""The reading side of PostgreSQL. Lists are read along an index from where the reader left off, never
counted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from dataset_registry.adapters.lookup import Lookup, Where
from dataset_registry.adapters.sql import LAST_DEPLOYMENTS
from dataset_registry.domain.releases import in_force
from dataset_registry.ports import Page, Row

# The disposition that stands, with the scores of the model where the decision itself carries none (a
# person's word).
_CAPTURE = """
    SELECT c.capture_id::text, c.line, c.station, c.context, c.image, c.missing, c.captured_at, c.received_at,
           d.disposition_id::text, d.revision, d.corrects::text, d.kind, d.reasons, d.severity, d.class_name,
           d.decided_by, d.decided_at, d.latency_ms, d.evidence,
           CASE WHEN d.evidence->>'model_release' IS NULL THEN first.evidence ELSE d.evidence END AS
           model_evidence,
           coalesce(d.evidence->'heat_map', 'null') <> 'null' OR coalesce(first.evidence->'heat_map', 'null')
           <> 'null'
               AS has_heat_map
    FROM captures c
    LEFT JOIN dispositions d ON d.capture_id = c.capture_id AND d.revision = c.revision
    LEFT JOIN dispositions first ON first.capture_id = c.capture_id AND first.revision = 1"""

_REVIEW = """
    SELECT r.review_id::text, r.disposition_id::text, r.capture_id::text, r.line, r.station, r.context,
    r.reasons,
           r.proposed_class, r.defect_score, r.answers_wanted, r.answers_given, r.state, r.due_at,
           r.requested_at,
           r.captured_at, r.verdict, r.class_name, r.agreed, r.decided_by, r.completed_at,
           r.heat_map IS NOT NULL AS has_heat_map, r.regions,
           CASE WHEN r.state = 'open' THEN '[]'::json ELSE (
               SELECT coalesce(json_agg(a ORDER BY a.answered_at, a.reviewer), '[]') FROM (
                   SELECT reviewer, verdict, class_name, note, answered_at, adjudication
                   FROM answers WHERE answers.review_id = r.review_id) AS a) END AS answers
    FROM reviews r"""

_ACTION = """
    SELECT a.action_id::text, a.kind, a.title, a.owner, a.due_at, a.opened_at, a.state, a.outcome, a.proof,
    a.note,
           a.closed_by, a.closed_at, s.signal_id::text, s.kind AS signal_kind, s.scope, s.window_start,
           s.window_end,
           s.measured, s.expected, s.threshold, s.unit, s.sample_size, s.evidence, s.suspected_cause,
           s.explanation,
           s.raised_at
    FROM actions a JOIN signals s USING (signal_id)"""

_LABEL = """
    SELECT l.label_id::text, l.capture_id::text, l.line, l.station, l.class_name, l.is_defect, l.approved_by,
    l.source,
           l.taxonomy_version, l.review_id::text, l.approved_at
    FROM labels l"""


class PostgresViews(Lookup):
    """Views on one connection."""

    def captures(self, wanted: Row, limit: int, cursor: str | None) -> Page:
        where = Where()
        for column in ("line", "station", "kind"):
            where.equals(f"c.{column}", wanted.get(column))
        where.equals("c.context->>'part_id'", wanted.get("part_id"))
        where.add("c.received_at >= %s", wanted.get("since"))
        where.add("c.received_at < %s", wanted.get("until"))
        return self._page(_CAPTURE, where, ("c.received_at", "c.capture_id"), "DESC", limit, cursor)

    def capture(self, capture_id: str) -> Row | None:
        row = self._one(f"{_CAPTURE} WHERE c.capture_id = %s", capture_id)
        if row is None:
            return None
        by_capture = "capture_id = %s"
        row["history"] = self._all(
            "SELECT disposition_id::text, revision, corrects::text, kind, reasons, severity, class_name,"
            " decided_by,"
            f" evidence, decided_at, latency_ms FROM dispositions WHERE {by_capture} ORDER BY revision",
            capture_id,
        )
        row["reviews"] = self._all(f"{_REVIEW} WHERE r.{by_capture} ORDER BY requested_at", capture_id)
        row["labels"] = self._all(f"{_LABEL} WHERE l.{by_capture} ORDER BY sequence", capture_id)
        row["findings"] = self._all(
            "SELECT finding_id::text, kind, class_name, disposition_kind, reported_by, note, found_at,"
            " received_at"
            f" FROM findings WHERE {by_capture} ORDER BY found_at",
            capture_id,
        )
        return row

    def image(self, capture_id: str) -> Row | None:
        row = self._one("SELECT image->'object' AS ref FROM captures WHERE capture_id = %s", capture_id)
        return row and row["ref"]

    def heat_map(self, capture_id: str) -> Row | None:
        row = self._one(
            "SELECT evidence->'heat_map' AS ref FROM dispositions WHERE capture_id = %s"
            " AND coalesce(evidence->'heat_map', 'null') <> 'null' ORDER BY revision DESC LIMIT 1",
            capture_id,
        )
        return row and row["ref"]

    def reviews(self, wanted: Row, limit: int, cursor: str | None) -> Page:
        where = Where()
        where.always(
            "(r.state <> 'completed' OR NOT EXISTS (SELECT FROM holdout_images h WHERE h.image_id = r.capture_id))"
        )
        for column in ("state", "line", "station"):
            where.equals(f"r.{column}", wanted.get(column))
        where.add(
            "NOT EXISTS (SELECT FROM answers mine WHERE mine.review_id = r.review_id AND mine.reviewer = %s)",
            wanted.get("not_answered_by"),
        )
        return self._page(_REVIEW, where, ("r.due_at", "r.review_id"), "ASC", limit, cursor)

    def review(self, review_id: str) -> Row | None:
        return self._one(f"{_REVIEW} WHERE r.review_id = %s", review_id)

    def labels(self, wanted: Row, limit: int, cursor: str | None) -> Page:
        where = Where()
        where.always("NOT EXISTS (SELECT FROM holdout_images h WHERE h.image_id = l.capture_id)")
        for column in ("line", "station", "class_name"):
            where.equals(f"l.{column}", wanted.get(column))
        return self._page(_LABEL, where, ("l.approved_at", "l.label_id"), "DESC", limit, cursor)

    def actions(self, wanted: Row, limit: int, cursor: str | None) -> Page:
        where = Where()
        for column in ("state", "line", "station", "kind"):
            where.equals(f"a.{column}", wanted.get(column))
        return self._page(_ACTION, where, ("a.due_at", "a.action_id"), "ASC", limit, cursor)

    def action(self, action_id: str) -> Row | None:
        return self._one(f"{_ACTION} WHERE a.action_id = %s", action_id)

    def tallies(self, since: datetime, lately: datetime) -> tuple[list[Row], list[Row]]:
        total = self._all("SELECT line, station, measure, count FROM tallies WHERE resolution = 'total'")
        recent = self._all(
            "SELECT period, line, station, measure, count FROM tallies"
            " WHERE resolution = 'minute' AND period >= %s AND measure = 'captured'"
            " UNION ALL SELECT max(period), line, station, measure, sum(count)::bigint FROM tallies"
            " WHERE resolution = 'minute' AND period >= %s AND starts_with(measure, 'latency:')"
            " GROUP BY line, station, measure",
            since,
            lately,
        )
        return total, recent

    def stations(self) -> list[Row]:
        rows = self._all(
            "SELECT DISTINCT ON (line, station) line, station, document, published_by, published_at"
            " FROM station_versions ORDER BY line, station, sequence DESC"
        )
        return [_flat(row) for row in rows]

    def last_captures(self, stations: Sequence[tuple[str, str]]) -> list[Row]:
        return self._all(
            "SELECT s.line, s.station, last.capture_id::text, last.received_at"
            " FROM unnest(%s::text[], %s::text[]) AS s(line, station),"
            " LATERAL (SELECT capture_id, received_at FROM captures c"
            " WHERE c.line = s.line AND c.station = s.station"
            " ORDER BY c.line DESC, c.station DESC, received_at DESC, capture_id DESC LIMIT 1) AS last",
            [line for line, _ in stations],
            [station for _, station in stations],
        )

    def policies(self) -> list[Row]:
        rows = self._all(
            "SELECT version, document, published_by, published_at FROM policies ORDER BY sequence DESC"
        )
        return [_flat(row) for row in rows]

    def taxonomies(self) -> list[Row]:
        rows = self._all(
            "SELECT version, document, published_by, published_at FROM taxonomies ORDER BY sequence DESC"
        )
        return [_flat(row) for row in rows]

    def deployments(self) -> list[Row]:
        return list(in_force(self._all(LAST_DEPLOYMENTS)))

    def releases(self, limit: int, cursor: str | None) -> Page:
        return self._page(
            "SELECT * FROM releases r", Where(), ("r.trained_at", "r.release"), "DESC", limit, cursor
        )

    def release(self, release: str) -> Row | None:
        return self._one("SELECT * FROM releases WHERE release = %s", release)


def _flat(row: Row) -> Row:
    document: Row = row.pop("document")
    return document | row

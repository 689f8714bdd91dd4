"""Figures for the readiness package, from PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from dataset_registry.adapters.lookup import Lookup
from dataset_registry.adapters.sql import as_json
from dataset_registry.ports import Row

_STATIONS = """
    SELECT p.line, p.station, v.document,
           EXISTS (SELECT FROM standard_locks k WHERE k.line = p.line AND k.station = p.station
                   AND k.capture_standard_version = v.document->>'capture_standard_version') AS locked
    FROM json_to_recordset(%s::json) AS p(line text, station text)
    LEFT JOIN LATERAL (SELECT document FROM station_versions s WHERE s.line = p.line AND s.station = p.station
                       ORDER BY sequence DESC LIMIT 1) AS v ON true
    ORDER BY p.line, p.station"""

_CAPTURED = """
    SELECT count(*) AS captures,
           count(*) FILTER (WHERE d.evidence->>'audit_verdict' IN ('rejected', 'ambiguous') OR d.deviating <> '{}')
               AS deviating
    FROM captures c LEFT JOIN dispositions d ON d.capture_id = c.capture_id AND d.revision = 1
    WHERE c.capture_id = ANY(%s::uuid[]) AND c.received_via IS NOT NULL"""

# A label that came of an annotation was approved in the same moment as that.
_PROVENANCE = """
    SELECT CASE WHEN l.source IN ('review', 'import') THEN l.source ELSE a.origin END AS origin,
           a.author, coalesce(d.by, l.approved_by) AS by, b.review,
           (SELECT count(*) FROM answers r WHERE r.review_id = l.review_id) AS answers, count(*) AS labels
    FROM unnest(%s::uuid[]) AS u(id)
    LEFT JOIN labels l ON l.label_id = u.id
    LEFT JOIN LATERAL (
        SELECT annotation_id, by FROM annotation_decisions x
        WHERE x.decision = 'approved' AND (x.annotation_id = u.id
              OR (l.source = 'annotation' AND x.image_id = l.capture_id AND x.decided_at = l.approved_at))
        ORDER BY sequence DESC LIMIT 1) AS d ON true
    LEFT JOIN annotations a ON a.annotation_id = d.annotation_id
    LEFT JOIN tasks t ON t.task_id = a.task_id
    LEFT JOIN batches b ON b.batch_id = t.batch_id
    GROUP BY 1, 2, 3, 4, 5"""

_BATCHES = """
    SELECT count(*) AS batches, count(*) FILTER (WHERE EXISTS (
        SELECT FROM (SELECT DISTINCT ON (release) decision FROM evaluation_decisions d
                     WHERE d.batch_id = b.batch_id AND d.release = ANY(%s) ORDER BY release, sequence DESC) AS last
        WHERE decision = 'accepted')) AS accepted
    FROM evaluation_batches b"""

_DECISIONS = """
    SELECT count(*) AS decided,
           count(*) FILTER (WHERE EXISTS (SELECT FROM dispositions later WHERE later.capture_id = d.capture_id
                                          AND later.revision > 1 AND later.kind <> d.kind)) AS overridden,
           percentile_disc(0.95) WITHIN GROUP (ORDER BY d.latency_ms) AS latency_ms
    FROM dispositions d WHERE d.revision = 1 AND d.evidence->>'model_release' = ANY(%s)"""

_NEWEST = """
    WITH version AS (SELECT hash, created_at FROM dataset_snapshots WHERE hash = %s),
         made AS (SELECT release, trained_at FROM releases JOIN version ON dataset_hash = hash)
    SELECT greatest(
        (SELECT created_at FROM version), (SELECT max(trained_at) FROM made),
        (SELECT max(approved_at) FROM labels), (SELECT max(made_at) FROM annotations),
        (SELECT max(decided_at) FROM annotation_decisions), (SELECT max(answered_at) FROM answers),
        (SELECT max(published_at) FROM taxonomies), (SELECT max(published_at) FROM station_versions),
        (SELECT max(locked_at) FROM standard_locks), (SELECT max(created_at) FROM evaluation_batches),
        (SELECT max(decided_at) FROM evaluation_decisions),
        (SELECT max(read_at) FROM holdout_readings JOIN version USING (hash)),
        (SELECT max(later.decided_at) FROM dispositions d JOIN dispositions later USING (capture_id)
         WHERE d.revision = 1 AND d.evidence->>'model_release' IN (SELECT release FROM made))) AS newest"""


class ReadinessStore(Lookup):
    """ReadinessFigures on one connection."""

    def stations(self, places: Sequence[tuple[str, str]]) -> list[Row]:
        return self._all(_STATIONS, as_json([{"line": line, "station": at} for line, at in places]))

    def captured(self, image_ids: Sequence[str]) -> Row:
        return self._row(_CAPTURED, list(image_ids))

    def provenance(self, label_ids: Sequence[str]) -> list[Row]:
        return self._all(_PROVENANCE, list(label_ids))

    def last_words(self) -> Row:
        return self._row(
            "SELECT count(*) AS settled, count(*) FILTER (WHERE verdict = 'ambiguous') AS ambiguous"
            " FROM labels_in_force"
        )

    def releases(self, hash_: str) -> list[Row]:
        return self._all(
            "SELECT release, metrics FROM releases WHERE dataset_hash = %s ORDER BY release", hash_
        )

    def evaluated(self, hash_: str) -> set[str]:
        rows = self._all(
            "SELECT release FROM holdout_readings WHERE hash = %s AND purpose = 'release-evaluation'", hash_
        )
        return {row["release"] for row in rows}

    def batches(self, releases: Sequence[str]) -> Row:
        return self._row(_BATCHES, list(releases))

    def decisions(self, releases: Sequence[str]) -> Row:
        return self._row(_DECISIONS, list(releases))

    def newest(self, hash_: str) -> datetime:
        moment: datetime = self._row(_NEWEST, hash_)["newest"]
        return moment

    def _row(self, statement: str, *values: Any) -> Row:
        (row,) = self._all(statement, *values)
        return row

"""Capture standards in PostgreSQL: what was published, who locked it, and which captures deviate."""

from __future__ import annotations

from datetime import datetime

from dataset_registry.adapters.lookup import Lookup, Where
from dataset_registry.ports import Page, Row

_HISTORY = """
    SELECT v.sequence, v.line, v.station, v.document, v.published_by, v.published_at, l.locked_by, l.locked_at,
           l.note AS lock_note
    FROM station_versions v LEFT JOIN standard_locks l
        ON l.line = v.line AND l.station = v.station
        AND l.capture_standard_version = v.document->>'capture_standard_version'"""

_IN_RANGE = "c.line = %(line)s AND c.station = %(station)s AND c.received_at >= %(since)s AND c.received_at < %(until)s"


class StandardsStore(Lookup):
    """Standards on one connection, in its transaction."""

    def standard(self, line: str, station: str, version: str) -> Row | None:
        row = self._one(
            "SELECT document FROM station_versions WHERE line = %s AND station = %s"
            " AND document->>'capture_standard_version' = %s ORDER BY sequence DESC LIMIT 1",
            line,
            station,
            version,
        )
        return row and row["document"]

    def standards(self, line: str, station: str) -> dict[str, Row]:
        rows = self._all(
            "SELECT DISTINCT ON (document->>'capture_standard_version') document FROM station_versions"
            " WHERE line = %s AND station = %s ORDER BY document->>'capture_standard_version', sequence DESC",
            line,
            station,
        )
        return {row["document"]["capture_standard_version"]: row["document"] for row in rows}

    def lock_of(self, line: str, station: str, version: str) -> Row | None:
        return self._one(
            "SELECT locked_by, locked_at, note FROM standard_locks"
            " WHERE line = %s AND station = %s AND capture_standard_version = %s",
            line,
            station,
            version,
        )

    def lock_standard(self, row: Row) -> None:
        self._pg.execute(
            "INSERT INTO standard_locks (line, station, capture_standard_version, note, locked_by, locked_at) VALUES"
            " (%(line)s, %(station)s, %(capture_standard_version)s, %(note)s, %(locked_by)s, %(locked_at)s)",
            row,
        )

    def history(self, line: str, station: str, limit: int, cursor: str | None) -> Page:
        where = Where()
        where.equals("v.line", line)
        where.equals("v.station", station)
        return self._page(_HISTORY, where, ("v.published_at", "v.sequence"), "DESC", limit, cursor)

    def deviations(self, line: str, station: str, since: datetime, until: datetime) -> list[Row]:
        return self._pg.execute(
            f"""
            SELECT c.context->>'capture_standard_version' AS standard_version, d.evidence->>'audit_verdict' AS kind,
                   reason, count(*) AS captures
            FROM dispositions d JOIN captures c USING (capture_id) CROSS JOIN LATERAL unnest(d.reasons) AS reason
            WHERE d.revision = 1 AND d.evidence->>'audit_verdict' IN ('rejected', 'ambiguous')
              AND reason NOT IN ('audit-rejected', 'audit-ambiguous') AND {_IN_RANGE}
            GROUP BY 1, 2, 3
            UNION ALL
            SELECT c.context->>'capture_standard_version', found.kind, found.reason, count(*)
            FROM dispositions d JOIN captures c USING (capture_id) CROSS JOIN LATERAL (
                SELECT 'deviating' AS kind, unnest(d.deviating) AS reason
                UNION ALL SELECT 'unproven', unnest(d.unproven)) AS found
            WHERE d.revision = 1 AND (d.deviating <> '{{}}' OR d.unproven <> '{{}}') AND {_IN_RANGE}
            GROUP BY 1, 2, 3
            UNION ALL
            SELECT c.context->>'capture_standard_version', 'missing', reason, count(*)
            FROM captures c CROSS JOIN LATERAL unnest(c.missing) AS reason
            WHERE c.missing <> '{{}}' AND {_IN_RANGE}
            GROUP BY 1, 2, 3""".encode(),
            {"line": line, "station": station, "since": since, "until": until},
        ).fetchall()

    def captured(self, line: str, station: str, since: datetime, until: datetime) -> list[Row]:
        return self._pg.execute(
            "SELECT c.context->>'capture_standard_version' AS standard_version, c.context->>'camera' AS camera,"
            f" count(*) AS captures FROM captures c WHERE {_IN_RANGE} GROUP BY 1, 2".encode(),
            {"line": line, "station": station, "since": since, "until": until},
        ).fetchall()

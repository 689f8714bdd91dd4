"""Batches of rows as one JSON parameter: one statement whatever the batch, arrays and documents included."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import DictRow

Pg = Connection[DictRow]

LAST_DEPLOYMENTS = """
    SELECT DISTINCT ON (mode, line, station) sequence, mode, nullif(line, '') AS line,
           nullif(station, '') AS station, release, share, from_release, rolled_back, follows, reason, ordered_by,
           ordered_at
    FROM deployments ORDER BY mode, line, station, sequence DESC"""


def as_json(value: Any) -> str:
    """JSON that PostgreSQL takes; times as ISO 8601."""
    return json.dumps(value, default=_time, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def insert(
    pg: Pg, table: str, columns: dict[str, str], rows: Sequence[dict[str, Any]], then: str
) -> list[DictRow]:
    """Insert rows in one statement.

    Args:
        columns: SQL type by column.
        then: The ON CONFLICT clause and, if wanted, RETURNING.

    Returns:
        What RETURNING gives.
    """
    if not rows:
        return []
    names = ", ".join(columns)
    types = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    # Table and column names come from this package only, never from outside.
    statement = (
        f"INSERT INTO {table} ({names}) SELECT {names} FROM json_to_recordset(%s::json) AS r({types}) {then}"
    )
    cursor = pg.execute(statement.encode(), (as_json(rows),))
    return cursor.fetchall() if cursor.description else []


def _time(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in a row")

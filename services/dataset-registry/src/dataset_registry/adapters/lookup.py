"""What every reading side of PostgreSQL shares: pages along an index, and conditions that somebody asked for."""

from __future__ import annotations

from typing import Any

from dataset_registry.adapters.sql import Pg
from dataset_registry.domain.pages import read_cursor, write_cursor
from dataset_registry.ports import Page, Row


class Lookup:
    """Look-ups on one connection."""

    def __init__(self, pg: Pg) -> None:
        self._pg = pg

    def _page(
        self, select: str, where: Where, keys: tuple[str, str], order: str, limit: int, cursor: str | None
    ) -> Page:
        if cursor is not None:
            after = ">" if order == "ASC" else "<"
            where.add(f"({keys[0]}, {keys[1]}) {after} (%s, %s)", *read_cursor(cursor))
        statement = f"{select} {where} ORDER BY {keys[0]} {order}, {keys[1]} {order} LIMIT {int(limit) + 1}"
        # Planned each time for what is asked: a plan for any value reads past everything to find what is rare.
        rows = self._all(statement, *where.values, prepare=False)
        more, rows = len(rows) > limit, rows[:limit]
        moment, identity = (key.split(".")[1] for key in keys)
        return Page(rows, write_cursor(rows[-1][moment], str(rows[-1][identity])) if more else None)

    def _all(self, statement: str, *values: Any, prepare: bool | None = None) -> list[Row]:
        return self._pg.execute(statement.encode(), values, prepare=prepare).fetchall()

    def _one(self, statement: str, *values: Any) -> Row | None:
        return self._pg.execute(statement.encode(), values).fetchone()


class Where:
    """Conditions that are there only when somebody asked for them."""

    def __init__(self) -> None:
        self._conditions: list[str] = []
        self.values: list[Any] = []

    def equals(self, expression: str, value: object | None) -> None:
        self.add(f"{expression} = %s", value)

    def add(self, condition: str, *values: object | None) -> None:
        if values[0] is not None:
            self._conditions.append(condition)
            self.values += values

    def always(self, condition: str) -> None:
        self._conditions.append(condition)

    def __str__(self) -> str:
        return f"WHERE {' AND '.join(self._conditions)}" if self._conditions else ""

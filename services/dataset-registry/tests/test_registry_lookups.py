"""Every list is read along an index, whichever filter is set; asking for the lines never reads the captures."""

from __future__ import annotations

from typing import Any

import pytest
from dataset_registry.adapters.sql import Pg
from dataset_registry.adapters.views import PostgresViews
from dataset_registry.domain.lines import recently
from dataset_registry.domain.pages import write_cursor

from .conftest import Registry, capture


class Explaining(PostgresViews):
    """Asks the planner how it would go about a look-up instead of doing it."""

    def __init__(self, pg: Pg) -> None:
        super().__init__(pg)
        self.plans: list[str] = []
        # Empty tables invite every plan; what is asked here is whether the index could serve at all.
        for way in ("enable_seqscan", "enable_bitmapscan", "enable_sort"):
            pg.execute(f"SET LOCAL {way} = off".encode())

    def _all(self, statement: str, *values: Any, prepare: bool | None = None) -> list[dict[str, Any]]:
        rows = self._pg.execute(f"EXPLAIN (COSTS OFF) {statement}".encode(), values)
        self.plans.append("\n".join(row["QUERY PLAN"] for row in rows))
        return []


def plan(registry: Registry, name: str, *arguments: Any) -> str:
    with registry.database.transaction() as tx:
        views = Explaining(tx.connection)
        getattr(views, name)(*arguments)
        return "\n".join(views.plans)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("captures", {}),
        ("captures", {"line": "a", "station": "s"}),
        ("captures", {"line": "a"}),
        ("captures", {"kind": "reject"}),
        ("captures", {"part_id": "p-1"}),
        ("captures", {"line": "a", "station": "s", "kind": "reject"}),
        ("reviews", {"state": "open"}),
        ("reviews", {"state": "open", "not_answered_by": "ada"}),
        ("reviews", {}),
        ("reviews", {"line": "a"}),
        ("actions", {"state": "open"}),
        ("actions", {}),
        ("actions", {"line": "a"}),
        ("labels", {}),
        ("labels", {"class_name": "crack"}),
        ("labels", {"line": "a"}),
        ("labels", {"line": "a", "station": "s"}),
    ],
)
@pytest.mark.parametrize("later_page", [False, True])
def test_pages_are_read_along_an_index(
    registry: Registry, name: str, wanted: dict[str, str], later_page: bool
) -> None:
    cursor = write_cursor(registry.clock.now(), capture("1")) if later_page else None
    how = plan(registry, name, wanted, 50, cursor)
    top = how.split("SubPlan")[0]
    assert "Seq Scan" not in top
    assert "Sort" not in top, "the index gives the order"


def test_the_lines_are_read_from_counts(registry: Registry) -> None:
    how = plan(registry, "tallies", *recently(registry.clock.now()))
    assert "captures" not in how
    assert "Index" in how


def test_the_last_image_of_a_station_is_found_whatever_its_line_does(registry: Registry) -> None:
    registry.take(*(registry.captured(str(n), station=f"cell-{n % 5}") for n in range(100)))
    with registry.database.transaction() as tx:
        tx.connection.execute("ANALYZE captures")
    last = plan(registry, "last_captures", [("line-a", "cell-1")])
    assert "captures_by_station" in last
    assert "Sort" not in last

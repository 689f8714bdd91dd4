"""Lists of the audit trail, of drafts and of capture standards are read along an index, whichever filter is set."""

from __future__ import annotations

from typing import Any

import pytest
from dataset_registry.adapters.audit_store import PostgresTrail
from dataset_registry.adapters.lookup import Lookup
from dataset_registry.adapters.standards_store import StandardsStore
from dataset_registry.adapters.taxonomy_store import TaxonomyStore
from dataset_registry.domain.pages import write_cursor

from .conftest import Registry, capture


def plan(registry: Registry, kind: type[Lookup], name: str, *arguments: Any) -> str:
    plans: list[str] = []

    class Explaining(kind):  # type: ignore[misc, valid-type]
        """Asks the planner how it would go about a look-up instead of doing it."""

        def _all(self, statement: str, *values: Any, prepare: bool | None = None) -> list[dict[str, Any]]:
            rows = self._pg.execute(f"EXPLAIN (COSTS OFF) {statement}".encode(), values)
            plans.append("\n".join(row["QUERY PLAN"] for row in rows))
            return []

    with registry.database.transaction() as tx:
        # Empty tables invite every plan; what is asked here is whether the index could serve at all.
        for way in ("enable_seqscan", "enable_bitmapscan", "enable_sort"):
            tx.connection.execute(f"SET LOCAL {way} = off".encode())
        getattr(Explaining(tx.connection), name)(*arguments)
    return "\n".join(plans)


@pytest.mark.parametrize(
    ("kind", "name", "wanted", "identity"),
    [
        (PostgresTrail, "entries", ({},), "7"),
        (PostgresTrail, "entries", ({"actor": "ada"},), "7"),
        (PostgresTrail, "entries", ({"action": "annotate"},), "7"),
        (PostgresTrail, "entries", ({"subject": "line-a/cell-1"},), "7"),
        (TaxonomyStore, "drafts", ({},), capture("1")),
        (TaxonomyStore, "drafts", ({"state": "open"},), capture("1")),
        (StandardsStore, "history", ("line-a", "cell-1"), "7"),
    ],
)
@pytest.mark.parametrize("later_page", [False, True])
def test_pages_are_read_along_an_index(
    registry: Registry,
    kind: type[Lookup],
    name: str,
    wanted: tuple[Any, ...],
    identity: str,
    later_page: bool,
) -> None:
    cursor = write_cursor(registry.clock.now(), identity) if later_page else None
    how = plan(registry, kind, name, *wanted, 50, cursor)
    page = how.split("standard_locks")[0]
    assert "Seq Scan" not in page
    assert "Sort" not in page, "the index gives the order"

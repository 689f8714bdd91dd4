"""The audit trail in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

from dataset_registry.adapters.lookup import Lookup, Where
from dataset_registry.domain.audit_chain import START, End, Entry, Link
from dataset_registry.ports import Page, Row

_ENTRY = """
    SELECT a.sequence, a.at, a.actor, a.action, a.subject, a.detail, a.previous_hash, a.hash FROM audit_entries a"""
_READ_AT_ONCE = 2000


class PostgresTrail(Lookup):
    """Trail on one connection."""

    def append(self, entry: Entry) -> None:
        self._pg.execute(
            "SELECT append_audit(%s, %s, %s, %s, %s, %s)",
            (entry.at, entry.actor, entry.action, entry.subject, entry.detail, entry.content),
        )

    def entries(self, wanted: Row, limit: int, cursor: str | None) -> Page:
        where = Where()
        for column in ("actor", "action", "subject"):
            where.equals(f"a.{column}", wanted.get(column))
        where.add("a.at >= %s", wanted.get("since"))
        where.add("a.at < %s", wanted.get("until"))
        return self._page(_ENTRY, where, ("a.at", "a.sequence"), "DESC", limit, cursor)

    def chain(self) -> tuple[Iterator[Link], End]:
        self._pg.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        end = self._one("SELECT sequence, hash FROM audit_end")
        return self._links(), End(end["sequence"], end["hash"]) if end else End(0, START)

    def _links(self) -> Iterator[Link]:
        with self._pg.cursor(name="audit_chain") as rows:
            rows.itersize = _READ_AT_ONCE
            rows.execute(
                "SELECT sequence, at, actor, action, subject, detail::text AS detail, previous_hash, hash"
                " FROM audit_entries ORDER BY sequence"
            )
            for row in rows:
                entry = Entry(row["at"], row["actor"], row["action"], row["subject"], row["detail"])
                yield Link(row["sequence"], entry, row["previous_hash"], row["hash"])

"""Follows the audit trail, or writes it out, on the database itself: `python -m dataset_registry.audit --help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import psycopg
from psycopg.rows import dict_row

from dataset_registry.adapters.audit_store import PostgresTrail
from dataset_registry.domain.audit_chain import End
from dataset_registry.handlers import audit
from dataset_registry.ports_audit import Trail
from dataset_registry.settings import Settings


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(
        prog="python -m dataset_registry.audit", description="Follow the audit trail, or write it out."
    )
    whole.add_argument("--database", help="address of the database; ANDON_DATABASE_URL when left out")
    commands = whole.add_subparsers(dest="command", required=True)
    verify = commands.add_parser("verify", help="follow the chain; the first row that is wrong is named")
    verify.add_argument(
        "--known",
        action="append",
        default=[],
        type=_end,
        metavar="ENTRIES:HASH",
        help="where an earlier export ended: this must still be part of the chain",
    )
    commands.add_parser("export", help="write all entries as lines of JSON, and the final hash")
    return whole


def main(words: Sequence[str] | None = None) -> int:
    """Do it; gives the exit status: 1 when the chain is broken."""
    whole = parser()
    arguments = whole.parse_args(words)
    url = arguments.database or Settings().database_url
    if not url:
        whole.error("no address of the database: give --database or set ANDON_DATABASE_URL")
    with psycopg.connect(url, row_factory=dict_row) as connection:
        trail = PostgresTrail(connection)
        if arguments.command == "verify":
            return _verify(trail, arguments.known)
        for line in audit.export(trail):
            print(line)
    return 0


def _verify(trail: Trail, known: Sequence[End]) -> int:
    found = audit.verification(trail, known)
    if found.broken:
        print(f"broken at entry {found.broken.sequence}: {found.broken.what}")
        return 1
    print(f"{found.end.sequence} entries, intact; {found.end.sequence}:{found.end.hash}")
    return 0


def _end(text: str) -> End:
    sequence, _, hash_ = text.partition(":")
    return End(int(sequence), hash_)


if __name__ == "__main__":
    sys.exit(main())

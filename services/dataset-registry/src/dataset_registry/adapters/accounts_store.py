"""Accounts, sessions and tokens in PostgreSQL, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from dataset_registry.adapters.lookup import Lookup, Where
from dataset_registry.adapters.sql import Pg
from dataset_registry.domain.accounts import FAILURES_KEPT, LONGEST, Account, Role
from dataset_registry.domain.pages import read_cursor, write_cursor
from dataset_registry.ports import Row

_ACCOUNT = "a.name, a.display_name, a.password, a.roles, a.machine, a.disabled_at"
_DESCRIBED = """
    SELECT a.name, a.display_name, a.roles, a.machine, a.password IS NOT NULL AS has_password,
           a.created_at, a.created_by, a.disabled_at,
           greatest((SELECT max(s.last_seen_at) FROM sessions s WHERE s.account = a.name),
                    (SELECT max(t.last_used_at) FROM service_tokens t WHERE t.account = a.name)) AS last_seen_at
    FROM accounts a"""


class AccountsStore(Lookup):
    """Accounts on one connection."""

    def account(self, name: str) -> Account | None:
        return _account(self._one(f"SELECT {_ACCOUNT} FROM accounts a WHERE a.name = %s", name))

    def lock_account(self, name: str) -> Account | None:
        return _account(self._one(f"SELECT {_ACCOUNT} FROM accounts a WHERE a.name = %s FOR UPDATE", name))

    def add_account(self, account: Account, by: str, at: datetime) -> bool:
        added = self._pg.execute(
            "INSERT INTO accounts (name, display_name, password, roles, machine, created_at, created_by, disabled_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (account.name, account.display_name, account.password, _roles(account), account.machine, at, by,
             at if account.disabled else None),
        )  # fmt: skip
        return added.rowcount > 0

    def change_account(self, account: Account, at: datetime) -> None:
        self._pg.execute(
            "UPDATE accounts SET display_name = %s, password = %s, roles = %s,"
            " disabled_at = CASE WHEN %s THEN coalesce(disabled_at, %s) END WHERE name = %s",
            (account.display_name, account.password, _roles(account), account.disabled, at, account.name),
        )

    def admins(self) -> Sequence[str]:
        rows = self._all(
            "SELECT a.name FROM accounts a WHERE %s = ANY (a.roles) AND NOT a.machine AND a.disabled_at IS NULL"
            " ORDER BY a.name FOR UPDATE",
            Role.ADMIN.value,
        )
        return [row["name"] for row in rows]

    def people(self) -> Sequence[Row]:
        return self._all(
            "SELECT name, roles FROM accounts WHERE NOT machine AND disabled_at IS NULL ORDER BY name"
        )

    def accounts(self, limit: int, cursor: str | None) -> tuple[list[Row], str | None]:
        where = Where()
        if cursor is not None:
            where.add("a.name > %s", read_cursor(cursor)[1])
        rows = self._all(f"{_DESCRIBED} {where} ORDER BY a.name LIMIT {int(limit) + 1}", *where.values)
        more, rows = len(rows) > limit, rows[:limit]
        return rows, write_cursor(rows[-1]["created_at"], rows[-1]["name"]) if more else None

    def described(self, name: str) -> Row | None:
        return self._one(f"{_DESCRIBED} WHERE a.name = %s", name)

    # --- sessions

    def add_session(self, token_hash: bytes, account: str, at: datetime) -> None:
        self._pg.execute(
            "INSERT INTO sessions (token_hash, account, created_at, last_seen_at) VALUES (%s, %s, %s, %s)",
            (token_hash, account, at, at),
        )

    def session(self, token_hash: bytes) -> tuple[Account, datetime, datetime] | None:
        row = self._one(
            f"SELECT {_ACCOUNT}, s.created_at, s.last_seen_at FROM sessions s JOIN accounts a ON a.name = s.account"
            " WHERE s.token_hash = %s AND s.revoked_at IS NULL",
            token_hash,
        )
        found = _account(row)
        return (found, row["created_at"], row["last_seen_at"]) if row and found else None

    def seen(self, token_hash: bytes, at: datetime) -> None:
        self._pg.execute("UPDATE sessions SET last_seen_at = %s WHERE token_hash = %s", (at, token_hash))

    def end_session(self, token_hash: bytes, at: datetime) -> None:
        self._pg.execute(
            "UPDATE sessions SET revoked_at = %s WHERE token_hash = %s AND revoked_at IS NULL",
            (at, token_hash),
        )

    def end_sessions(self, account: str, at: datetime) -> None:
        self._pg.execute(
            "UPDATE sessions SET revoked_at = %s WHERE account = %s AND revoked_at IS NULL", (at, account)
        )

    # --- tokens of programs

    def add_token(self, row: Row) -> None:
        self._pg.execute(
            "INSERT INTO service_tokens (token_id, token_hash, account, label, created_at, created_by, expires_at)"
            " VALUES (%(token_id)s, %(token_hash)s, %(account)s, %(label)s, %(created_at)s, %(created_by)s,"
            " %(expires_at)s) ON CONFLICT DO NOTHING",
            row,
        )

    def token(self, token_hash: bytes, at: datetime) -> tuple[Account, str, datetime | None] | None:
        row = self._one(
            f"SELECT {_ACCOUNT}, t.token_id::text, t.last_used_at FROM service_tokens t"
            " JOIN accounts a ON a.name = t.account"
            " WHERE t.token_hash = %s AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > %s)",
            token_hash,
            at,
        )
        found = _account(row)
        return (found, row["token_id"], row["last_used_at"]) if row and found else None

    def token_used(self, token_id: str, at: datetime) -> None:
        self._pg.execute("UPDATE service_tokens SET last_used_at = %s WHERE token_id = %s", (at, token_id))

    def tokens(self, account: str) -> Sequence[Row]:
        return self._all(
            "SELECT token_id::text, label, created_at, created_by, last_used_at, expires_at, revoked_at"
            " FROM service_tokens WHERE account = %s ORDER BY created_at DESC, token_id",
            account,
        )

    def revoke_token(self, account: str, token_id: str, at: datetime) -> bool:
        gone = self._pg.execute(
            "UPDATE service_tokens SET revoked_at = coalesce(revoked_at, %s) WHERE account = %s AND token_id = %s",
            (at, account, token_id),
        )
        return gone.rowcount > 0

    # --- wrong passwords

    def failures(self, subjects: Sequence[str]) -> Mapping[str, tuple[int, datetime]]:
        self._pg.execute(  # a row that is not there cannot be locked
            "INSERT INTO sign_in_failures (subject, failures, last_at)"
            " SELECT subject, 0, 'epoch' FROM unnest(%b::text[]) AS subject ORDER BY 1 ON CONFLICT DO NOTHING",
            (sorted(subjects),),
        )
        rows = self._all(
            "SELECT subject, failures, last_at FROM sign_in_failures WHERE subject = ANY (%s)"
            " ORDER BY subject FOR UPDATE",
            sorted(subjects),
        )
        return {row["subject"]: (row["failures"], row["last_at"]) for row in rows if row["failures"]}

    def count_failure(self, subjects: Sequence[str], at: datetime, since: datetime) -> None:
        self._pg.execute(
            "UPDATE sign_in_failures SET failures = CASE WHEN last_at < %s THEN 1 ELSE failures + 1 END, last_at = %s"
            " WHERE subject = ANY (%s)",
            (since, at, list(subjects)),
        )

    def forgive(self, all_of: Sequence[str], one_of: Sequence[str]) -> None:
        self._pg.execute("DELETE FROM sign_in_failures WHERE subject = ANY (%s)", (list(all_of),))
        self._pg.execute(
            "UPDATE sign_in_failures SET failures = greatest(failures - 1, 0) WHERE subject = ANY (%s)",
            (list(one_of),),
        )


def forget_sessions(pg: Pg, now: datetime) -> None:
    """Drop sessions that ended long ago, and wrong passwords that no longer count."""
    pg.execute("DELETE FROM sessions WHERE created_at < %s", (now - LONGEST - timedelta(days=30),))
    pg.execute("DELETE FROM sign_in_failures WHERE last_at < %s", (now - FAILURES_KEPT,))


def _account(row: Row | None) -> Account | None:
    if row is None:
        return None
    known = {role.value for role in Role}
    roles = frozenset(Role(role) for role in row["roles"] if role in known)
    disabled = row["disabled_at"] is not None
    return Account(row["name"], row["display_name"], row["password"], roles, row["machine"], disabled)


def _roles(account: Account) -> list[str]:
    return sorted(account.roles)

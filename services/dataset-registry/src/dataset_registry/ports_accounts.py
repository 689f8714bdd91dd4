"""What signing in needs of the world outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from dataset_registry.domain.accounts import Account, Principal

if TYPE_CHECKING:
    from dataset_registry.ports import Row


class Identity(Protocol):
    """Knows people by what they send along: local accounts today, the plant's identity provider through the same."""

    def principal(self, token: str) -> Principal | None:
        """Whose token this is; None when it is nobody's, or no longer. Raises Unavailable."""


class Passwords(Protocol):
    """Hashes that are slow to guess."""

    def hashed(self, password: str) -> str:
        """Slow on purpose."""

    def fits(self, hashed: str | None, password: str) -> bool:
        """Whether it is the password; takes as long where there is no hash."""

    def outdated(self, hashed: str) -> bool:
        """Whether it was made with less effort than today's."""


class Accounts(Protocol):
    """Accounts, sessions and tokens, inside one transaction."""

    def account(self, name: str) -> Account | None: ...

    def lock_account(self, name: str) -> Account | None:
        """As `account`; nobody else changes it until the end of the transaction."""

    def add_account(self, account: Account, by: str, at: datetime) -> bool:
        """False when the name is taken."""

    def change_account(self, account: Account, at: datetime) -> None:
        """Replaces all but its name."""

    def admins(self) -> Sequence[str]:
        """Names of people with the role who are not disabled; nobody else changes these until the end."""

    def people(self) -> Sequence[Row]:
        """Name and roles of all who are not disabled and no machines, by name."""

    def accounts(self, limit: int, cursor: str | None) -> tuple[list[Row], str | None]:
        """For those who look after them, by name; and the next cursor."""

    def described(self, name: str) -> Row | None:
        """One of `accounts`."""

    # --- sessions

    def add_session(self, token_hash: bytes, account: str, at: datetime) -> None: ...

    def session(self, token_hash: bytes) -> tuple[Account, datetime, datetime] | None:
        """The account of a session that was not ended, when it began and when it was seen last."""

    def seen(self, token_hash: bytes, at: datetime) -> None: ...

    def end_session(self, token_hash: bytes, at: datetime) -> None: ...

    def end_sessions(self, account: str, at: datetime) -> None:
        """All of somebody."""

    # --- tokens of programs

    def add_token(self, row: Row) -> None:
        """token_id, token_hash, account, label, created_at, created_by, expires_at."""

    def token(self, token_hash: bytes, at: datetime) -> tuple[Account, str, datetime | None] | None:
        """The account of a token that is valid, the token's id, and when it was used last."""

    def token_used(self, token_id: str, at: datetime) -> None: ...

    def tokens(self, account: str) -> Sequence[Row]:
        """All but what they are, the last first."""

    def revoke_token(self, account: str, token_id: str, at: datetime) -> bool:
        """False when there is none."""

    # --- wrong passwords

    def failures(self, subjects: Sequence[str]) -> Mapping[str, tuple[int, datetime]]:
        """In a row, and when the last one was; nobody else counts for these until the end of the transaction."""

    def count_failure(self, subjects: Sequence[str], at: datetime, since: datetime) -> None:
        """One more; those before `since` are forgotten."""

    def forgive(self, all_of: Sequence[str], one_of: Sequence[str]) -> None:
        """The password was right: forget all that was counted for some, and the last one for others."""

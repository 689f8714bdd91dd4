"""What the audit trail needs of the world outside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from dataset_registry.domain.audit_chain import End, Entry, Link

if TYPE_CHECKING:
    from dataset_registry.ports import Page, Row


class Trail(Protocol):
    """The chain of all that was done, inside one transaction."""

    def append(self, entry: Entry) -> None:
        """Add an entry; from here on others wait, so do it last."""

    def entries(self, wanted: Row, limit: int, cursor: str | None) -> Page:
        """Entries, the last first."""

    def chain(self) -> tuple[Iterator[Link], End]:
        """The whole chain from its start, and where it says it ends, of one moment; the first thing that a
        transaction asks."""

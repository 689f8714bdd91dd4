"""What taxonomies and capture standards need of the world outside."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from dataset_registry.ports import Page, Row


class Queued(NamedTuple):
    """Relabel work that was opened; without images there is no batch."""

    batch_id: str | None
    images: int


class RelabelQueue(Protocol):
    """Where relabel work goes, inside the transaction of the publication."""

    def labelled(self, classes: Sequence[str]) -> dict[str, int]:
        """Images by class, of those whose label in force has it."""

    def queue_relabel(self, version: str, classes: Sequence[str], by: str, now: datetime) -> Queued:
        """Put all images whose label in force has one of these classes, under an earlier version, into one batch under
        this version; those that are in it already are not counted."""


class Taxonomies(RelabelQueue, Protocol):
    """Drafts of taxonomies and what was published of them, inside one transaction."""

    def lock_taxonomies(self) -> None:
        """One publication at a time."""

    def taxonomy_in_force(self, at: datetime | None = None) -> Row | None:
        """Version and document in force at a time, or now."""

    def taxonomy_version(self, version: str) -> Row | None:
        """A published version, with the one before it and since when another one is in force."""

    def taxonomies_since(self, version: str) -> list[Row]:
        """This version and all that followed, the first first."""

    def images_known(self, image_ids: Sequence[str]) -> set[str]:
        """Those of them that are images or captures."""

    def add_draft(self, row: Row) -> None: ...

    def lock_draft(self, draft_id: str) -> Row | None:
        """The draft, kept from everybody else until the end of the transaction."""

    def save_draft(self, draft_id: str, changes: Row) -> None:
        """Write these columns; the draft's version grows by one."""

    def draft(self, draft_id: str) -> Row | None: ...

    def drafts(self, wanted: Row, limit: int, cursor: str | None) -> Page: ...

    def record_publication(self, row: Row) -> None: ...

    def label(self, label_id: str) -> Row | None:
        """A label's class, version and time."""


class Standards(Protocol):
    """Capture standards of stations, inside one transaction."""

    def standard(self, line: str, station: str, version: str) -> Row | None:
        """The last document under this version."""

    def standards(self, line: str, station: str) -> dict[str, Row]:
        """The last document of each version."""

    def lock_of(self, line: str, station: str, version: str) -> Row | None: ...

    def lock_standard(self, row: Row) -> None: ...

    def history(self, line: str, station: str, limit: int, cursor: str | None) -> Page:
        """What was published for a station, with its locks, the last first."""

    def deviations(self, line: str, station: str, since: datetime, until: datetime) -> list[Row]:
        """Counts of captures by standard_version, kind and reason."""

    def captured(self, line: str, station: str, since: datetime, until: datetime) -> list[Row]:
        """Counts of captures by standard_version and camera."""

"""What the handlers need of the world outside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from andon_chassis.events import Event
from andon_events.records import ObjectRef

from dataset_registry.domain.dispositions import Stand
from dataset_registry.domain.releases import Deployment
from dataset_registry.domain.reviews import Answer, Standing
from dataset_registry.domain.tallies import TallyRow
from dataset_registry.domain.taxonomy import Taxonomy
from dataset_registry.ports_accounts import Accounts
from dataset_registry.ports_audit import Trail
from dataset_registry.ports_datasets import Answers, Datasets, EvaluationBatches
from dataset_registry.ports_imports import Imports
from dataset_registry.ports_labeling import Labeling, LabelingViews
from dataset_registry.ports_readiness import ReadinessFigures
from dataset_registry.ports_taxonomy import Standards, Taxonomies

Row = dict[str, Any]
"""A row, by column name; JSON columns are plain Python."""


class Facts(Protocol):
    """What the bus told us. Each method takes a batch; a row that is there already stays as it is."""

    def record_captures(self, rows: Sequence[Row]) -> None:
        """Add captures, or complete those that a disposition announced before."""

    def standing(self, capture_ids: Iterable[str]) -> dict[str, Stand]:
        """What stands for these captures, locked until the end of the transaction; unknown ones are left
        out."""

    def record_dispositions(self, rows: Sequence[Row], now_standing: Mapping[str, Stand]) -> None:
        """Add to the history, and let these stand."""

    def request_reviews(self, rows: Sequence[Row]) -> set[str]:
        """Queue reviews; the ids of those that were new."""

    def raise_signals(self, signals: Sequence[Row], actions: Sequence[Row]) -> set[str]:
        """Add signals with one action each; the ids of the signals that were new."""

    def record_findings(self, rows: Sequence[Row]) -> None: ...

    def record_releases(self, rows: Sequence[Row]) -> None:
        """Add releases; to one that is known, the description and the pages that were still missing. Each release
        stands in `rows` once."""

    def tally(self, rows: Sequence[TallyRow]) -> None:
        """Add to the counts."""


class Reviews(Protocol):
    """Reviews, answers and labels, inside one transaction."""

    def lock_review(self, review_id: str) -> Row | None:
        """The review, kept from everybody else until the end of the transaction."""

    def answers(self, review_id: str) -> list[Answer]: ...

    def add_answer(self, review_id: str, answer: Answer, standing: Standing) -> None: ...

    def complete_review(self, review_id: str, standing: Standing, answer: Answer) -> None: ...

    def add_labels(self, rows: Sequence[Row]) -> set[str]:
        """Add labels; the ids of those that were new."""

    def current_labels(self, capture_ids: Sequence[str]) -> dict[str, Row]:
        """The latest label (label_id, class_name, approved_by) by capture_id."""

    def taxonomy(self) -> Taxonomy:
        """The one in force."""

    def captures(self, capture_ids: Sequence[str]) -> dict[str, Row]:
        """Context and image by capture_id."""

    def tally(self, rows: Sequence[TallyRow]) -> None: ...


class Actions(Protocol):
    """Actions, inside one transaction."""

    def lock_action(self, action_id: str) -> Row | None: ...

    def close_action(self, action_id: str, closing: Row) -> None: ...

    def exists(self, what: str, name: str) -> bool:
        """Whether this dataset_version, release, taxonomy_version or policy_version exists."""

    def tally(self, rows: Sequence[TallyRow]) -> None: ...


class Reference(Protocol):
    """Stations, policies, taxonomies, releases: what is in force and what was."""

    def station(self, line: str, station: str) -> Row | None:
        """The document in force."""

    def publish_station(self, line: str, station: str, document: Row, by: str, at: datetime) -> None: ...

    def policy(self, version: str) -> Row | None: ...

    def publish_policy(
        self, version: str, line: str, station: str, document: Row, by: str, at: datetime
    ) -> None: ...

    def taxonomy_document(self, version: str) -> Row | None: ...

    def publish_taxonomy(self, version: str, document: Row, by: str, at: datetime) -> None: ...

    def lock_scope(self, what: str, line: str, station: str) -> None:
        """One change of this kind at a time in a scope, so that times and events have one order."""

    def release(self, release: str) -> Row | None: ...

    def deployments(self, mode: str, line: str, station: str) -> list[Deployment]:
        """Changes in exactly this scope, the oldest first."""

    def lock_deployments(self) -> None:
        """One change of what decides at a time, so that times and events have one order."""

    def deployments_in_force(self) -> list[Row]:
        """Which release decides, tries or watches where, by scope and mode."""

    def record_deployment(self, row: Row) -> None: ...


class AnswerBook(Protocol):
    """Remembers what commands answered, by idempotency key, inside the command's own transaction."""

    def claim(self, key: str) -> bool:
        """True the first time; waits while another transaction holds the same key."""

    def read(self, key: str) -> tuple[str, int, Row]:
        """Fingerprint, status and body of the first answer."""

    def write(self, key: str, fingerprint: str, status: int, body: Row) -> None: ...


class Views(Protocol):
    """What people and machines look up. Pages come with the cursor of the next one, or None."""

    def captures(self, wanted: Row, limit: int, cursor: str | None) -> Page: ...

    def capture(self, capture_id: str) -> Row | None:
        """With its history, reviews, labels and findings."""

    def image(self, capture_id: str) -> Row | None:
        """The image's claim check."""

    def heat_map(self, capture_id: str) -> Row | None:
        """The heat map's claim check, of the last disposition that has one."""

    def reviews(self, wanted: Row, limit: int, cursor: str | None) -> Page: ...

    def review(self, review_id: str) -> Row | None: ...

    def labels(self, wanted: Row, limit: int, cursor: str | None) -> Page: ...

    def actions(self, wanted: Row, limit: int, cursor: str | None) -> Page: ...

    def action(self, action_id: str) -> Row | None: ...

    def tallies(self, since: datetime, lately: datetime) -> tuple[list[Row], list[Row]]:
        """Counts in total; and captures by minute since then, with latencies as one sum since `lately`."""

    def stations(self) -> list[Row]:
        """The documents in force, with line and station."""

    def last_captures(self, stations: Sequence[tuple[str, str]]) -> list[Row]:
        """capture_id and received_at of the last image of each station that has one."""

    def policies(self) -> list[Row]: ...

    def taxonomies(self) -> list[Row]: ...

    def deployments(self) -> list[Row]:
        """What is in force, by scope and mode."""

    def releases(self, limit: int, cursor: str | None) -> Page: ...

    def release(self, release: str) -> Row | None: ...


class Picture(NamedTuple):
    """An image's bytes."""

    data: bytes
    media_type: str


class Tiles(NamedTuple):
    """An image that is cut into tiles.

    Attributes:
        width, height: Of the image, pixels.
        format: png or jpg.
        levels: By level and, row by row, tile: hash and size in bytes.
    """

    width: int
    height: int
    format: str
    levels: Sequence[Sequence[tuple[str, int]]]


class Pictures(Protocol):
    """Images in the forms that people need. Raises Invalid when it is gone or no image, or Unavailable."""

    def original(self, ref: ObjectRef) -> Picture:
        """As it was taken."""

    def screen(self, ref: ObjectRef) -> Picture:
        """At full size, in a form that a browser shows."""

    def thumbnail(self, ref: ObjectRef) -> Picture:
        """Small and light."""

    def tiles(self, ref: ObjectRef) -> Tiles:
        """Its pyramid; the first time it is made."""

    def tile(self, ref: ObjectRef, level: int, column: int, row: int) -> Picture:
        """One tile of it. Raises Refused where there is none."""


class Session(Protocol):
    """One transaction, seen from the API."""

    @property
    def store(self) -> Commands: ...

    @property
    def views(self) -> Views: ...

    @property
    def book(self) -> AnswerBook: ...

    @property
    def trail(self) -> Trail: ...

    @property
    def taxonomies(self) -> Taxonomies: ...

    @property
    def standards(self) -> Standards: ...

    @property
    def labeling(self) -> Labeling: ...

    @property
    def labeling_views(self) -> LabelingViews: ...

    @property
    def imports(self) -> Imports: ...

    @property
    def datasets(self) -> Datasets: ...

    @property
    def evaluations(self) -> EvaluationBatches: ...

    @property
    def answers(self) -> Answers: ...

    @property
    def readiness(self) -> ReadinessFigures: ...

    @property
    def accounts(self) -> Accounts: ...

    def emit(self, events: Sequence[Event[Any]]) -> None: ...


class Commands(Reviews, Actions, Reference, Protocol):
    """All that commands write through."""


Sessions = Callable[[], AbstractContextManager[Session]]
"""Opens a session; it commits at the end of the block, or leaves nothing."""


class Page(NamedTuple):
    """Part of a list.

    Attributes:
        next_cursor: Asks for the next part; None at the end.
    """

    items: list[Row]
    next_cursor: str | None

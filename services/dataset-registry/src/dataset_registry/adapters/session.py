"""One transaction of the database as the API sees it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from andon_chassis.database import Database, Transaction
from andon_chassis.events import Event

from dataset_registry.adapters.accounts_store import AccountsStore
from dataset_registry.adapters.agreement_store import AnswersStore
from dataset_registry.adapters.audit_store import PostgresTrail
from dataset_registry.adapters.book import PostgresAnswerBook
from dataset_registry.adapters.datasets_store import DatasetsStore
from dataset_registry.adapters.evaluation_batches_store import EvaluationBatchesStore
from dataset_registry.adapters.imports_store import ImportsStore
from dataset_registry.adapters.labeling_store import LabelingStore
from dataset_registry.adapters.labeling_views import PostgresLabelingViews
from dataset_registry.adapters.readiness_store import ReadinessStore
from dataset_registry.adapters.standards_store import StandardsStore
from dataset_registry.adapters.store import Store
from dataset_registry.adapters.taxonomy_store import TaxonomyStore
from dataset_registry.adapters.views import PostgresViews
from dataset_registry.domain.refusals import invalid
from dataset_registry.ports import Session, Sessions


class PostgresSession:
    """A session on a transaction."""

    def __init__(self, tx: Transaction) -> None:
        self.store = Store(tx.connection)
        self.views = PostgresViews(tx.connection)
        self.book = PostgresAnswerBook(tx)
        self.trail = PostgresTrail(tx.connection)
        self.taxonomies = TaxonomyStore(tx.connection)
        self.standards = StandardsStore(tx.connection)
        self.labeling = LabelingStore(tx.connection)
        self.labeling_views = PostgresLabelingViews(tx.connection)
        self.imports = ImportsStore(tx.connection)
        self.datasets = DatasetsStore(tx.connection)
        self.evaluations = EvaluationBatchesStore(tx.connection)
        self.answers = AnswersStore(tx.connection)
        self.readiness = ReadinessStore(tx.connection)
        self.accounts = AccountsStore(tx.connection)
        self._tx = tx

    def emit(self, events: Sequence[Event[Any]]) -> None:
        self._tx.emit(events)


def sessions(database: Database) -> Sessions:
    """Opens sessions on this database."""

    @contextmanager
    def session() -> Iterator[Session]:
        try:
            with database.transaction() as tx:
                yield PostgresSession(tx)
        except psycopg.DataError as error:  # a cursor or a text that no column can hold
            raise invalid("unreadable-value", f"{error.diag.message_primary or error}.") from error

    return session

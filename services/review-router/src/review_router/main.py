"""Puts the review-router together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from andon_chassis.database import Database, Transaction
from andon_chassis.events import Event, Outcome
from andon_chassis.service import Service
from andon_events import topics

from review_router.adapters.postgres import PostgresCases
from review_router.api import make_app
from review_router.domain.case import Case
from review_router.handlers import Router
from review_router.ports import Ruling
from review_router.reference import TOPICS as REFERENCE_TOPICS
from review_router.reference import Rulebook
from review_router.settings import Settings

MIGRATIONS = Path(__file__).parent / "migrations"
TOPICS = (topics.CAPTURE_AUDITED.name, topics.INFERENCE_COMPLETED.name, topics.REVIEW_COMPLETED.name)


class DatabaseArchive:
    """Looks decided cases up, a transaction for each."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, capture_id: str) -> tuple[Case, list[Ruling]] | None:
        with self._database.transaction() as tx:
            cases = PostgresCases(tx.connection)
            case = cases.load([capture_id]).get(capture_id)
            return None if case is None else (case, cases.rulings(capture_id))


def main() -> int:
    """Run until SIGTERM; gives the exit status."""
    settings = Settings()
    service = Service(settings)
    database = service.database(MIGRATIONS)
    rulebook = Rulebook()
    router = Router(rulebook, service.clock, quiet_s=settings.deadline_quiet_s)

    def decide(events: Sequence[Event[Any]], tx: Transaction) -> Sequence[Outcome]:
        return router.handle(events, PostgresCases(tx.connection))

    def enforce_deadlines(tx: Transaction) -> None:
        tx.emit(router.sweep(PostgresCases(tx.connection)))

    service.reference(REFERENCE_TOPICS, rulebook.apply)
    service.state_step(TOPICS, decide, database)
    service.every(settings.deadline_sweep_s, enforce_deadlines, database)
    return service.run(make_app(DatabaseArchive(database)))

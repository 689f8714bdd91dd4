"""Puts the registry together and runs it."""

from __future__ import annotations

from pathlib import Path

from andon_chassis.database import Transaction
from andon_chassis.objects import CachedObjectStore
from andon_chassis.service import Service

from dataset_registry.adapters.labeling_novelty import Novelty
from dataset_registry.adapters.looking import Looking
from dataset_registry.adapters.pictures import Pictures
from dataset_registry.adapters.session import sessions
from dataset_registry.adapters.store import Store, forget
from dataset_registry.api import create_app
from dataset_registry.api.context import Context
from dataset_registry.api.imports import importer
from dataset_registry.handlers.facts import TOPICS, StateStep
from dataset_registry.settings import Settings

PRUNE_EVERY_S = 600.0
LOOK_EVERY_S = 5.0


def main() -> int:
    """Run until told to stop; gives the exit status."""
    settings = Settings()
    service = Service(settings)
    database = service.database(Path(__file__).parent / "migrations")
    objects = service.objects()
    pictures = Pictures(CachedObjectStore(objects, settings.image_cache_bytes), settings.image_cache_bytes)
    looking, novelty = Looking(objects), Novelty(objects)
    step = StateStep(service.clock, lambda tx: Store(tx.connection), settings.owners)

    def prune(tx: Transaction) -> None:
        forget(tx.connection, service.clock.now())

    def look(tx: Transaction) -> None:
        looking.look(tx.connection)
        novelty.look(tx.connection)

    service.state_step(TOPICS, step, database)
    service.every(PRUNE_EVERY_S, prune, database)
    service.every(LOOK_EVERY_S, look, database)
    context = Context(
        sessions(database), objects, pictures, service.clock, settings.people, settings.claim_minutes
    )
    service.component("imports", importer(context).watch)
    return service.run(create_app(context))

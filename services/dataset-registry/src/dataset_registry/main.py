"""Puts the registry together and runs it."""

from __future__ import annotations

from pathlib import Path

import structlog
from andon_chassis.database import Transaction
from andon_chassis.objects import CachedObjectStore
from andon_chassis.service import Service
from andon_vision.decode import DecodeLimits

from dataset_registry.adapters.accounts_store import forget_sessions
from dataset_registry.adapters.labeling_novelty import Novelty
from dataset_registry.adapters.looking import Looking
from dataset_registry.adapters.noting import note_holdouts
from dataset_registry.adapters.passwords import Argon2Passwords
from dataset_registry.adapters.pictures import Pictures
from dataset_registry.adapters.pyramids import Pyramids
from dataset_registry.adapters.session import sessions
from dataset_registry.adapters.store import Store, forget
from dataset_registry.api import create_app
from dataset_registry.api.context import Context
from dataset_registry.api.imports import importer
from dataset_registry.handlers.facts import TOPICS, StateStep
from dataset_registry.handlers.sign_in import LocalAccounts
from dataset_registry.settings import Settings

log = structlog.get_logger()

PRUNE_EVERY_S = 600.0
LOOK_EVERY_S = 5.0


def main() -> int:
    """Run until told to stop; gives the exit status."""
    settings = Settings()
    service = Service(settings)
    database = service.database(Path(__file__).parent / "migrations")
    objects = service.objects()
    limits = DecodeLimits(settings.max_image_bytes, settings.max_image_pixels)
    pyramids = Pyramids(database.transaction, objects, service.clock, limits)
    kept = CachedObjectStore(objects, settings.image_cache_bytes)
    pictures = Pictures(kept, settings.image_cache_bytes, pyramids)
    looking, novelty = Looking(objects), Novelty(objects)
    step = StateStep(service.clock, lambda tx: Store(tx.connection), settings.owners)

    def prune(tx: Transaction) -> None:
        forget(tx.connection, service.clock.now())
        forget_sessions(tx.connection, service.clock.now())

    def look(tx: Transaction) -> None:
        looking.look(tx.connection)
        novelty.look(tx.connection)
        note_holdouts(tx.connection, objects)

    service.state_step(TOPICS, step, database)
    service.every(PRUNE_EVERY_S, prune, database)
    service.every(LOOK_EVERY_S, look, database)
    opened = sessions(database)
    identity = LocalAccounts(opened, Argon2Passwords(), service.clock)
    if settings.sign_in == "on-trust":
        log.warning("sign-in.on-trust", advice="everybody is believed: let nobody else reach this registry")
    context = Context(
        opened,
        objects,
        pictures,
        service.clock,
        settings.people,
        settings.claim_minutes,
        identity if settings.sign_in == "required" else None,
    )
    service.component("imports", importer(context).watch)
    service.component("tiles", pyramids.watch)
    return service.run(create_app(context))

"""Puts the mes-bridge together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog
from andon_chassis.database import Database, Transaction
from andon_chassis.events import Event, Outcome
from andon_chassis.service import Service
from andon_events import topics

from mes_bridge.adapters.http import HttpSender
from mes_bridge.adapters.office import Office
from mes_bridge.adapters.postgres import PostgresLedger, PostgresOutbound
from mes_bridge.adapters.signature import Keyring
from mes_bridge.api import make_app
from mes_bridge.courier import Courier
from mes_bridge.domain.delivery import Patience
from mes_bridge.handlers import Dispatch
from mes_bridge.settings import Settings

log = structlog.get_logger()

MIGRATIONS = Path(__file__).parent / "migrations"


def couriers(settings: Settings, service: Service, database: Database) -> list[Courier]:
    """One for each endpoint. Raises ValueError for an endpoint without a usable secret."""
    patience = Patience(settings.mes_retry_first_s, settings.mes_retry_most_s, settings.mes_give_up_after_s)
    made = []
    for name, endpoint in settings.mes_endpoints.items():
        secrets = settings.secrets_of(endpoint)
        if not secrets:
            raise ValueError(
                f"endpoint {name} has no secret: set it in ANDON_MES_ENDPOINTS or ANDON_WEBHOOK_SECRET"
            )
        timeout_s = endpoint.timeout_s or settings.mes_timeout_s
        sender = HttpSender(
            endpoint.url, Keyring(secrets), connections=endpoint.concurrency, timeout_s=timeout_s
        )
        made.append(
            Courier(
                name,
                PostgresLedger(database, settings.instance_id),
                sender,
                service.clock,
                patience=patience,
                concurrency=endpoint.concurrency,
                timeout_s=timeout_s,
                poll_s=settings.mes_poll_s,
                beat=service.health.beat,
            )
        )
    return made


def main() -> int:
    """Run until SIGTERM; gives the exit status."""
    settings = Settings()
    service = Service(settings)
    database = service.database(MIGRATIONS)
    lines = {name: endpoint.lines for name, endpoint in settings.mes_endpoints.items()}
    dispatch = Dispatch(lines, service.clock)

    def queue(events: Sequence[Event[Any]], tx: Transaction) -> Sequence[Outcome]:
        return dispatch.handle(events, PostgresOutbound(tx.connection))

    service.state_step([topics.DISPOSITION_DECIDED.name], queue, database)
    for courier in couriers(settings, service, database):
        service.component(courier.name, courier.run)
    if not settings.mes_endpoints:
        log.warning(
            "no-endpoints", advice="Set ANDON_MES_ENDPOINTS; until then dispositions are only in the feed."
        )
    office = Office(database, service.clock, settings.mes_endpoints)
    return service.run(make_app(office, Keyring(settings.inbound_secrets()), service.clock))

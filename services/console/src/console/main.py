"""Puts the console together and runs it. It has no bus and no database: it talks to the registry's API only."""

from __future__ import annotations

import signal
import threading

import httpx
import uvicorn
from andon_chassis import telemetry
from andon_chassis.clock import SystemClock
from andon_chassis.errors import Unavailable
from andon_chassis.health import Health

from console.adapters.registry import HttpRegistry
from console.api import create_app
from console.settings import Settings


def main() -> int:
    """Run until told to stop; gives the exit status."""
    settings = Settings()
    telemetry.configure(settings.service, settings.instance_id, settings.log_level, settings.trace_file)
    clock = SystemClock()
    health = Health(clock)

    def ask_registry() -> None:
        try:
            httpx.get(f"{settings.registry_api_url}/healthz", timeout=2.0)
        except httpx.TransportError as error:
            raise Unavailable("dataset-registry", str(error)) from error

    health.depends_on("dataset-registry", ask_registry)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(
                HttpRegistry(settings.registry_api_url),
                clock,
                health,
                sign_in=settings.sign_in,
                https=settings.https,
            ),
            settings.http_host,
            settings.http_port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=int(settings.shutdown_grace_s),
        )
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    serving = threading.Thread(
        target=server.run, name="http"
    )  # off the main thread it leaves the signals to us
    serving.start()
    serving.join()
    return 0 if server.started else 1

"""Puts capture-ingest together."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from andon_chassis.consuming import Batching
from andon_chassis.reference import ReferenceTable
from andon_chassis.service import Loop, Service
from andon_chassis.settings import ServiceSettings
from andon_events import topics
from andon_vision import DecodeLimits

from capture_ingest.adapters.folder import FolderSettings, WatchedFolder
from capture_ingest.adapters.ledger import PostgresLedger
from capture_ingest.adapters.mqtt import MqttIntake, MqttSettings
from capture_ingest.adapters.stations import Stations
from capture_ingest.api import UploadLimits, create_app
from capture_ingest.handlers import Admission, AdmissionSettings

STATIONS_WAIT_S = 10.0
"""How long a start waits for the registered stations."""


class Settings(ServiceSettings):
    """Settings of capture-ingest, beside those of every service; README.md explains each."""

    service: str = "capture-ingest"
    max_image_bytes: int = 64 * 1024 * 1024
    max_image_pixels: int = 50_000_000
    max_batch_bytes: int = 128 * 1024 * 1024
    max_batch_images: int = 100
    max_held_bytes: int = 384 * 1024 * 1024
    upload_timeout_s: float = 60.0
    admission_max: int = 200
    admission_linger_ms: float = 10.0
    upload_threads: int = 12
    folder: Path | None = None
    folder_settle_s: float = 1.0
    folder_sidecar_required: bool = True
    folder_keep_days: float = 7.0
    mqtt_url: str = ""
    mqtt_client_id: str = "capture-ingest"
    mqtt_topic: str = "$share/capture-ingest/andon/+/+/capture"
    mqtt_unacknowledged: int = 50


def once_known(loaded: threading.Event, most_s: float, run: Loop) -> Loop:
    """Run once the stations are known, or after a while without them.

    Usually they are there in a moment, and then no capture lacks what its station would fill in. While Kafka is
    away images are worth more: they are durable without it, and what is missing is named in them.
    """

    def wait_and_run(stop: threading.Event) -> None:
        deadline = time.monotonic() + most_s
        while not loaded.wait(0.05) and not stop.is_set() and time.monotonic() < deadline:
            pass
        run(stop)

    return wait_and_run


def main() -> int:
    """Run until SIGTERM; gives the exit status."""
    settings = Settings()
    service = Service(settings)
    database = service.database(Path(__file__).parent / "migrations")
    stations = Stations()
    # While Kafka is away images are durable in the outbox. So it does not count for readiness, and this is no
    # `service.reference`: every part would wait for it, and uploads with them.
    service.health.goes_on_without("kafka")
    reference = ReferenceTable(
        service.bus,
        service.codec,
        [topics.STATION_PUBLISHED.name],
        stations.apply,
        service.health,
        vital=False,
    )
    service.component(reference.name, reference.run)
    admission = Admission(
        source=settings.service,
        objects=service.objects(),
        ledger=PostgresLedger(database),
        station_of=stations.station_of,
        clock=service.clock,
        health=service.health,
        limits=DecodeLimits(settings.max_image_bytes, settings.max_image_pixels),
        settings=AdmissionSettings(
            Batching(settings.admission_max, settings.admission_linger_ms / 1000), settings.upload_threads
        ),
    )
    service.component("admission", once_known(reference.loaded, STATIONS_WAIT_S, admission.run))
    if settings.folder is not None:
        folder = FolderSettings(
            root=settings.folder,
            instance=settings.instance_id,
            settle_s=settings.folder_settle_s,
            sidecar_required=settings.folder_sidecar_required,
            largest=settings.max_image_bytes,
            keep_days=settings.folder_keep_days,
        )
        service.component("folder", WatchedFolder(folder, admission, service.health).run)
    if settings.mqtt_url:
        mqtt = MqttSettings(
            settings.mqtt_url,
            settings.mqtt_client_id,
            settings.mqtt_topic,
            settings.mqtt_unacknowledged,
            settings.max_image_bytes,
        )
        service.component("mqtt", MqttIntake(mqtt, admission, service.health).run)
    uploads = UploadLimits(
        image_bytes=settings.max_image_bytes,
        batch_bytes=settings.max_batch_bytes,
        batch_images=settings.max_batch_images,
        held_bytes=settings.max_held_bytes,
        seconds=settings.upload_timeout_s,
    )
    return service.run(create_app(admission, uploads))

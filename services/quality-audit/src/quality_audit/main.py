"""Puts the audit together."""

from __future__ import annotations

from andon_chassis.service import Service
from andon_chassis.settings import ServiceSettings
from andon_events import topics
from andon_vision import DecodeLimits

from quality_audit.adapters.images import StoredImages
from quality_audit.adapters.stations import Stations
from quality_audit.adapters.vision import looker
from quality_audit.domain.limits import LearningSettings
from quality_audit.handlers import Auditor, MemorySettings


class Settings(ServiceSettings):
    """Settings of the audit, beside those of every service.

    Attributes:
        audit_window: Accepted images of a station and variant from which its limits are learned.
        audit_warm_up: Accepted images before which only absolute limits apply.
        audit_recent: Images of a station among which duplicates are looked for.
        audit_memory_events: Events of a partition read back to rebuild the memory.
        audit_fetches: Images fetched side by side.
    """

    service: str = "quality-audit"
    audit_window: int = 300
    audit_warm_up: int = 40
    audit_recent: int = 400
    audit_memory_events: int = 2500
    audit_fetches: int = 8
    max_image_bytes: int = 64 * 1024 * 1024
    max_image_pixels: int = 50_000_000


def main() -> int:
    """Run until SIGTERM; gives the exit status."""
    settings = Settings()
    service = Service(settings)
    stations = Stations()
    learning = LearningSettings(window=settings.audit_window, warm_up=settings.audit_warm_up)
    auditor = Auditor(
        source=settings.service,
        clock=service.clock,
        images=StoredImages(service.objects(), settings.audit_fetches),
        look=looker(DecodeLimits(settings.max_image_bytes, settings.max_image_pixels)),
        standard_of=stations.standard_of,
        settings=MemorySettings(learning, settings.audit_recent, settings.audit_memory_events),
    )
    service.reference([topics.STATION_PUBLISHED.name], stations.apply)
    service.stream_step([topics.CAPTURE_RECORDED.name], auditor, memory=auditor)
    return service.run()

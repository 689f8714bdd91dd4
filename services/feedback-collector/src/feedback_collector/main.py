"""Settings, wiring, run."""

from __future__ import annotations

from andon_chassis.clock import Clock
from andon_chassis.deadletter import DeadLetterBudget
from andon_chassis.service import Service
from andon_chassis.settings import ServiceSettings
from andon_chassis.windows import States, Windows, WindowSettings
from andon_events import topics
from pydantic import Field

from feedback_collector.collector import Collector, KnownStations
from feedback_collector.domain.thresholds import Thresholds
from feedback_collector.handlers import SERVICE

SOURCES = (
    topics.CAPTURE_AUDITED.name,
    topics.INFERENCE_COMPLETED.name,
    topics.DISPOSITION_DECIDED.name,
    topics.REVIEW_COMPLETED.name,
    topics.MES_FINDING_RECEIVED.name,
)

PARTITIONS = topics.CAPTURE_AUDITED.partitions
"""Of all sources, and so of the table."""


class Settings(ServiceSettings):
    """Settings of feedback-collector; those of the rules are explained in `domain/thresholds.py`.

    Attributes:
        group: Consumer group and prefix of the changelog topic.
        flush_s: A change is durable after so many seconds at the latest; a signal at once.
        session_s: A member of the group that is silent for so many seconds has died.
        replication: Copies of the changelog topic when it has to be created.
        invalid_run: So many invalid messages in a row stop the collector: the deploy is bad, not the data.
    """

    service: str = SERVICE
    group: str = SERVICE
    flush_s: float = 1.0
    session_s: float = 10.0
    replication: int = 1
    invalid_run: int = 50

    window_s: float = 3600.0
    keep_windows: int = 3
    confidence: float = 0.99
    false_reject_share: float = 0.10
    override_share: float = 0.02
    disagreement_share: float = 0.15
    exception_share: float = 0.05
    share_hits: int = 3
    share_samples: int = 10
    missed_defects: int = 1
    variant_captures: int = 1
    slow_ms: float | None = None
    slow_samples: int = 50
    drift_reference: int = 100
    drift_recent: int = 40
    drift_deviations: float = 1.5
    drift_change: dict[str, float] = Field(default={"brightness": 0.2, "sharpness": 1.0})
    score_reference: int = 200
    score_recent: int = 100
    score_psi: float = 0.25
    unknown_increase: float = 0.10
    release_fresh_windows: int = 2

    def thresholds(self) -> Thresholds:
        """The rules' part. Raises ValueError when a value makes no sense."""
        return Thresholds(**self.model_dump(include=set(Thresholds.__dataclass_fields__)))

    def windows(self) -> WindowSettings:
        """The windows' part."""
        return WindowSettings(
            bootstrap=self.kafka_bootstrap,
            login=self.kafka_login(),
            static_id=self.instance_id if self.static_member else None,
            service=self.service,
            group=self.group,
            sources=SOURCES,
            partitions=PARTITIONS,
            table="stations",
            state_dir=self.state_dir,
            flush_s=self.flush_s,
            session_s=self.session_s,
            replication=self.replication,
        )


def build(settings: Settings) -> Service:
    """Put the service together."""
    limits = settings.thresholds()
    service = Service(settings)
    stations = KnownStations()
    clock: Clock = service.clock

    def collector(states: States) -> Collector:
        return Collector(limits, stations, states, clock)

    budget = DeadLetterBudget(run=settings.invalid_run)
    windows = Windows(settings.windows(), service.codec, service.health, clock, collector, budget)
    service.reference([topics.STATION_PUBLISHED.name], stations.apply)
    service.component("windows", windows.run)
    return service


def main() -> int:
    """Run until SIGTERM; gives the exit status."""
    return build(Settings()).run()

"""A world for the router: events as its neighbours make them, rules, a clock that stands still."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import review_router
from andon_chassis.clock import FakeClock
from andon_chassis.codec import Codec, MemorySchemaRegistry
from andon_chassis.database import Database
from andon_chassis.events import Event, deterministic_id, event, station_key
from andon_chassis.testing import CRACK, context, image_ref
from andon_events import records
from review_router.handlers import Router
from review_router.reference import Rulebook


class World:
    """Makes events for captures by their number, and keeps the rules they meet."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.rulebook = Rulebook()
        self.router = Router(self.rulebook, self.clock)
        self.publish_station()
        self.publish_policy()

    def capture(self, number: int) -> str:
        return deterministic_id("capture", "line-a", "cell-1", str(number))

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def publish_station(
        self, line: str = "line-a", station: str = "cell-1", variants: list[str] | None = None
    ) -> None:
        self.rulebook.apply(
            self.event(
                records.StationPublished(
                    line=line,
                    station=station,
                    capture_standard_version="1",
                    validated_variants=variants or [],
                    published_at=self.now,
                ),
                cause=f"{line}/{station}",
            )
        )

    def publish_policy(self, version: str = "p1", scope: records.Scope | None = None, **changes: Any) -> None:
        policy = records.PolicyPublished(
            policy_version=version,
            scope=scope or records.Scope(),
            bands=[
                records.ConfidenceBand(severity="major", pass_below=0.3, reject_from=0.7, reject_as="reject")
            ],
            on_audit_reject="hold",
            on_unvalidated_variant="route-to-reviewer",
            model_timeout_ms=30_000,
            on_model_timeout="hold",
            on_late_result="correct",
            review_due_s=600,
            on_review_overdue="escalate-to-engineering",
            second_answer_share=0.0,
            published_at=self.now,
        )
        self.rulebook.apply(self.event(replace(policy, **changes), cause=version))

    def event(self, data: Any, cause: str, kind: str = "") -> Event[Any]:
        return event(
            data,
            source="a neighbour",
            key=station_key("line-a", "cell-1"),
            time=self.now,
            cause=cause,
            kind=kind,
        )

    def audited(
        self, number: int, verdict: str = "accepted", *reasons: str, kind: str = "", **known: Any
    ) -> Event[Any]:
        data = records.CaptureAudited(
            capture_id=self.capture(number),
            context=context(**known),
            image=image_ref(),
            verdict=verdict,
            reasons=list(reasons),
            audited_at=self.now,
            captured_at=self.now - timedelta(milliseconds=40),
            received_at=self.now,
        )
        return self.event(data, cause=f"audit {number}", kind=kind)

    def scored(
        self,
        number: int,
        score: float | None = 0.1,
        *,
        shadow: bool = False,
        kind: str = "",
        station: str = "cell-1",
        **changes: Any,
    ) -> Event[Any]:
        data = records.InferenceCompleted(
            capture_id=self.capture(number),
            context=context(station=station),
            image=image_ref(),
            status="scored",
            release="release-1",
            shadow=shadow,
            predicted_class="crack",
            defect_score=score,
            scores={"crack": score or 0.0},
            heat_map=image_ref(b"heat").object,
            regions=[CRACK],
            completed_at=self.now,
            captured_at=self.now - timedelta(milliseconds=40),
            received_at=self.now,
        )
        return self.event(replace(data, **changes), cause=f"inference {number} {shadow}", kind=kind)

    def reviewed(
        self, number: int, verdict: str = "good", class_name: str | None = None, kind: str = ""
    ) -> Event[Any]:
        data = records.ReviewCompleted(
            review_id=deterministic_id("review", self.capture(number)),
            capture_id=self.capture(number),
            context=context(),
            verdict=verdict,
            class_name=class_name,
            answers=[],
            agreed=True,
            decided_by="ada",
            completed_at=self.now,
            captured_at=self.now,
        )
        return self.event(data, cause=f"review {number}", kind=kind)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(scope="session")
def new_world() -> Callable[[], World]:
    """For a test that needs many."""
    return World


@pytest.fixture(scope="module")
def postgres(infra: Any) -> Iterator[Database]:
    """A database of its own with the service's schema."""
    name = f"review_router_{uuid4().hex[:8]}"
    with psycopg.connect(infra.postgres_admin_url, autocommit=True) as admin:
        admin.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
    url = infra.postgres_admin_url.rsplit("/", 1)[0] + f"/{name}"
    database = Database(
        url, Path(review_router.__file__).parent / "migrations", Codec(MemorySchemaRegistry())
    )
    database.open()
    yield database
    database.close()
    with psycopg.connect(infra.postgres_admin_url, autocommit=True) as admin:
        admin.execute(psycopg.sql.SQL("DROP DATABASE {} WITH (FORCE)").format(psycopg.sql.Identifier(name)))


@pytest.fixture
def database(postgres: Database) -> Database:
    with postgres.transaction() as tx:
        tx.connection.execute("TRUNCATE cases, rulings, rules, remarks, inbox, outbox")
    return postgres

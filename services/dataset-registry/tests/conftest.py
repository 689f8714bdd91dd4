"""A registry on real PostgreSQL, with an object store in memory and a clock that stands still."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import dataset_registry
import psycopg
import pytest
from andon_chassis import http
from andon_chassis.bus.ports import Message
from andon_chassis.clock import FakeClock
from andon_chassis.codec import Codec, MemorySchemaRegistry
from andon_chassis.database import Database
from andon_chassis.events import Event, Outcome, deterministic_id, event, station_key
from andon_chassis.health import Health
from andon_chassis.objects import MemoryObjectStore
from andon_chassis.testing import CRACK, capture_recorded, context, image_ref
from andon_events import records as r
from andon_vision.decode import DEFAULT_LIMITS
from dataset_registry.adapters.pictures import Pictures
from dataset_registry.adapters.pyramids import Pyramids
from dataset_registry.adapters.session import sessions
from dataset_registry.adapters.store import Store
from dataset_registry.api import create_app
from dataset_registry.api.context import Context
from dataset_registry.handlers.facts import StateStep
from fastapi.testclient import TestClient

PEOPLE = {"olga": ["qa-owner"], "ben": ["reviewer"]}
PIXELS = b"\x89PNG not really"


class Registry:
    """What a test does with a registry: events in, HTTP in, events out."""

    def __init__(self, database: Database, codec: Codec) -> None:
        self.database = database
        self.codec = codec
        self.clock = FakeClock()
        self.objects = MemoryObjectStore()
        self.image = replace(image_ref(PIXELS), object=self.objects.put("images", PIXELS, "image/png"))
        self.heat_map = self.objects.put("derived", b"\x89PNG heat", "image/png")
        self.step = StateStep(self.clock, lambda tx: Store(tx.connection), {"data-lead": "dana"})
        self.pyramids = Pyramids(database.transaction, self.objects, self.clock, DEFAULT_LIMITS)
        pictures = Pictures(self.objects, 1_000_000, self.pyramids)
        app = create_app(Context(sessions(database), self.objects, pictures, self.clock, PEOPLE))
        http.install(app, Health(self.clock))
        self.http = TestClient(app, raise_server_exceptions=True)

    # --- events as the neighbours make them

    def captured(self, trigger: str, station: str = "cell-1", **known: Any) -> Event[r.CaptureRecorded]:
        made = capture_recorded(trigger, station=station, image=self.image, **known)
        now = self.clock.now()
        return replace(made, data=replace(made.data, captured_at=now, received_at=now))

    def decided(
        self, trigger: str, kind: str = "pass", revision: int = 1, station: str = "cell-1", **changes: Any
    ) -> Event[r.DispositionDecided]:
        capture_id = capture(trigger, station)
        now = self.clock.now()
        data = r.DispositionDecided(
            disposition_id=deterministic_id("disposition", capture_id, str(revision)),
            revision=revision,
            corrects=deterministic_id("disposition", capture_id, "1") if revision > 1 else None,
            capture_id=capture_id,
            context=context(station=station),
            image=self.image,
            kind=kind,
            reasons=["confident"],
            decided_by="policy" if revision == 1 else "person:ada",
            evidence=r.Evidence(
                audit_verdict="accepted",
                model_release="r1" if revision == 1 else None,
                predicted_class="crack" if revision == 1 else None,
                defect_score=0.7 if revision == 1 else None,
                scores={"crack": 0.7, "good": 0.3} if revision == 1 else {},
                heat_map=self.heat_map if revision == 1 else None,
                regions=[CRACK] if revision == 1 else [],
                policy_version="p1",
            ),
            decided_at=now + timedelta(milliseconds=80),
            captured_at=now,
            received_at=now + timedelta(milliseconds=10),
        )
        return self._event(replace(data, **changes), f"{capture_id} {revision}")

    def requested(self, trigger: str, answers: int = 1, station: str = "cell-1") -> Event[r.ReviewRequested]:
        capture_id = capture(trigger, station)
        now = self.clock.now()
        data = r.ReviewRequested(
            review_id=review(trigger, station),
            disposition_id=deterministic_id("disposition", capture_id, "1"),
            capture_id=capture_id,
            context=context(station=station),
            image=self.image,
            heat_map=self.heat_map,
            regions=[CRACK],
            reasons=["uncertain"],
            proposed_class="crack",
            defect_score=0.55,
            answers_wanted=answers,
            due_at=now + timedelta(minutes=10),
            requested_at=now,
            captured_at=now,
            received_at=now,
        )
        return self._event(data, f"review {capture_id}")

    def signal(self, name: str, kind: str = "false-reject-spike", **changes: Any) -> Event[r.SignalRaised]:
        now = self.clock.now()
        data = r.SignalRaised(
            signal_id=deterministic_id("signal", name),
            kind=kind,
            scope=r.Scope(line="line-a", station="cell-1", class_name="crack"),
            window_start=now - timedelta(minutes=5),
            window_end=now,
            measured=0.2,
            expected=0.03,
            threshold=0.1,
            unit="share",
            sample_size=60,
            evidence=[capture("1"), capture("2")],
            suspected_cause="threshold",
            explanation="20 % of the rejects were good parts, 3 % is usual",
            raised_at=now,
        )
        return self._event(replace(data, **changes), f"signal {name}")

    def found(self, trigger: str, kind: str = "escape") -> Event[r.MesFindingReceived]:
        data = r.MesFindingReceived(
            finding_id=deterministic_id("finding", trigger),
            kind=kind,
            capture_id=capture(trigger),
            context=context(),
            class_name="crack",
            reported_by="final test",
            found_at=self.clock.now(),
            received_at=self.clock.now(),
        )
        return self._event(data, f"finding {trigger}")

    def trained(self, release: str, **more: Any) -> Event[r.ModelTrained]:
        data = r.ModelTrained(
            release=release,
            bundle=self.objects.put("models", release.encode(), "application/x-tar"),
            task="classification",
            classes=["good", "crack"],
            dataset_hash="0" * 64,
            metrics={"auroc": 0.9},
            pass_below=0.3,
            reject_from=0.7,
            trained_at=self.clock.now(),
        )
        return self._event(replace(data, **more), f"{release} {more}")

    def _event(self, data: Any, cause: str) -> Event[Any]:
        scope: Any = getattr(data, "context", None) or getattr(data, "scope", r.Scope())
        key = station_key(scope.line, scope.station)
        return event(data, source="a neighbour", key=key, time=self.clock.now(), cause=cause)

    # --- in and out

    def take(self, *happened: Event[Any]) -> list[Outcome]:
        """Handle these events as one batch; events that follow are in `published`."""
        with self.database.transaction() as tx:
            outcomes = list(self.step(happened, tx))
            for outcome in outcomes:
                if isinstance(outcome, tuple):
                    tx.emit(outcome)
        return outcomes

    def published(self, topic: str) -> list[Any]:
        """The records in the outbox, in order."""
        with self.database.transaction() as tx:
            rows = tx.connection.execute(
                "SELECT * FROM outbox WHERE topic = %s ORDER BY id", (topic,)
            ).fetchall()
        return [self.codec.decode(_message(row)).data for row in rows]

    def keys(self, topic: str) -> list[str]:
        with self.database.transaction() as tx:
            rows = tx.connection.execute("SELECT key FROM outbox WHERE topic = %s ORDER BY id", (topic,))
            return [bytes(row["key"]).decode() for row in rows]

    def headers(self, topic: str) -> list[dict[str, str]]:
        with self.database.transaction() as tx:
            rows = tx.connection.execute("SELECT headers FROM outbox WHERE topic = %s ORDER BY id", (topic,))
            return [row["headers"] for row in rows]

    def get(self, path: str, **query: Any) -> Any:
        answer = self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def line(self) -> Any:
        (line,) = self.get("/v1/lines")["items"]
        return line

    def answer(self, trigger: str, reviewer: str, verdict: str = "good", **more: Any) -> Any:
        body = {"reviewer": reviewer, "verdict": verdict, **more}
        return self.http.post(f"/v1/reviews/{review(trigger)}/answers", json=body)

    def publish_taxonomy(self, version: str = "t1") -> None:
        classes = [
            {"name": "good", "severity": "minor", "is_defect": False},
            {"name": "crack", "severity": "major", "is_defect": True},
            {"name": "scratch", "severity": "minor", "is_defect": True},
        ]
        answer = self.http.put(f"/v1/taxonomies/{version}", json={"classes": classes, "published_by": "olga"})
        assert answer.status_code == 201, answer.text


def capture(trigger: str, station: str = "cell-1") -> str:
    return deterministic_id("capture", "line-a", station, trigger)


def review(trigger: str, station: str = "cell-1") -> str:
    return deterministic_id("review", capture(trigger, station))


def _message(row: dict[str, Any]) -> Message:
    headers = {name: value.encode("latin-1") for name, value in row["headers"].items()}
    return Message(row["topic"], 0, row["id"], bytes(row["key"]), bytes(row["value"]), headers, 0)


@contextmanager
def own_database(infra: Any, codec: Codec) -> Iterator[Database]:
    """A database of its own with the registry's schema, gone afterwards."""
    name = psycopg.sql.Identifier(f"dataset_registry_{uuid4().hex[:8]}")
    with psycopg.connect(infra.postgres_admin_url, autocommit=True) as admin:
        admin.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(name))
    url = f"{infra.postgres_admin_url.rsplit('/', 1)[0]}/{name.as_string(None).strip(chr(34))}"
    database = Database(url, Path(dataset_registry.__file__).parent / "migrations", codec)
    try:
        database.open()
        yield database
    finally:
        database.close()
        with psycopg.connect(infra.postgres_admin_url, autocommit=True) as admin:
            admin.execute(psycopg.sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.fixture(scope="session")
def codec() -> Codec:
    return Codec(MemorySchemaRegistry())


@pytest.fixture(scope="session")
def registry_database(infra: Any, codec: Codec) -> Iterator[Database]:
    with own_database(infra, codec) as database:
        yield database


@pytest.fixture
def registry(registry_database: Database, codec: Codec) -> Registry:
    """An empty registry."""
    with registry_database.transaction() as tx:
        tables = tx.connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
            " AND tablename NOT LIKE '%%yoyo%%'"
        ).fetchall()
        # Emptying a table that is empty costs as much as emptying a full one.
        has_rows = psycopg.sql.SQL("SELECT {0} AS name WHERE EXISTS (SELECT FROM {1})")
        names = [row["tablename"] for row in tables]
        used = tx.connection.execute(
            psycopg.sql.SQL(" UNION ALL ").join(
                has_rows.format(psycopg.sql.Literal(name), psycopg.sql.Identifier(name)) for name in names
            )
        ).fetchall()
        if used:
            full = psycopg.sql.SQL(", ").join(psycopg.sql.Identifier(row["name"]) for row in used)
            tx.connection.execute(psycopg.sql.SQL("TRUNCATE {} CASCADE").format(full))
    return Registry(registry_database, codec)

"""The router on real PostgreSQL: exactly one first decision, whoever races, and each can be taken again."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from andon_chassis.bus.memory import MemoryBus
from andon_chassis.codec import Codec, MemorySchemaRegistry
from andon_chassis.database import Database, Transaction
from andon_chassis.events import Event, Outcome
from andon_chassis.testing import drain, publish, state_step
from andon_events.records import Deviation, SeverityRule, TaxonomyClass, TaxonomyPublished
from fastapi.testclient import TestClient
from review_router.adapters.postgres import PostgresCases
from review_router.api import make_app
from review_router.main import TOPICS, DatabaseArchive
from review_router.ports import Ruling
from review_router.replay import replay


def decide(world: Any, database: Database, *events: Event[Any]) -> list[Any]:
    with database.transaction() as tx:
        outcomes = world.router.handle(events, PostgresCases(tx.connection))
        return [made.data for outcome in outcomes for made in outcome]


def sweep(world: Any, database: Database) -> list[Any]:
    with database.transaction() as tx:
        return [made.data for made in world.router.sweep(PostgresCases(tx.connection))]


def chain(database: Database, capture_id: str) -> list[Ruling]:
    with database.transaction() as tx:
        return PostgresCases(tx.connection).rulings(capture_id)


def count(database: Database, table: str) -> int:
    with database.transaction() as tx:
        rows = tx.connection.execute(
            psycopg.sql.SQL("SELECT count(*) AS n FROM {}").format(psycopg.sql.Identifier(table))
        )
        return int(rows.fetchone()["n"])  # type: ignore[index]


def test_a_case_survives_storage_at_every_step(world: Any, database: Database) -> None:
    assert decide(world, database, world.scored(1, 0.5)) == []
    decided, request = decide(world, database, world.audited(1, product_variant="poly", operator="Zoë"))
    assert (decided.revision, decided.kind) == (1, "route-to-reviewer")
    world.clock.advance(600)
    (overdue,) = sweep(world, database)
    (corrected,) = decide(world, database, world.reviewed(1, "defect", "crack"))
    assert [d.revision for d in (decided, overdue, corrected)] == [1, 2, 3]
    assert corrected.context == decided.context
    assert corrected.image == decided.image
    assert corrected.evidence.heat_map == request.heat_map
    assert corrected.evidence.regions == request.regions == world.scored(1).data.regions
    assert corrected.received_at == decided.received_at
    assert (corrected.kind, corrected.corrects) == ("reject", overdue.disposition_id)
    assert sweep(world, database) == []


def test_every_decision_comes_out_the_same_when_it_is_taken_again(world: Any, database: Database) -> None:
    for number, score in enumerate([0.1, 0.5, 0.9]):
        decide(world, database, world.audited(number), world.scored(number, score))
    decide(world, database, world.audited(3, "rejected", "blurred"), world.audited(4), world.audited(5))
    world.clock.advance(30)
    sweep(world, database)
    world.publish_policy(
        "p2", model_timeout_ms=1, on_audit_reject="route-to-reviewer", on_late_result="ignore"
    )
    decide(world, database, world.reviewed(1, "good"), world.scored(5, 0.4))
    world.publish_policy("p3", bands=[])
    decide(world, database, world.audited(6), world.scored(6, 0.1), world.scored(4, 0.1))
    archive = DatabaseArchive(database)
    seen = []
    for number in range(7):
        case, rulings = archive.find(world.capture(number))  # type: ignore[misc]
        for ruling in rulings:
            again = replay(case, ruling)
            assert again.same, again
            seen.append((number, ruling.revision, ruling.decision.kind, ruling.rules.policy.version))
    assert seen == [
        (0, 1, "pass", "p1"),
        (1, 1, "route-to-reviewer", "p1"),
        (1, 2, "pass", "p2"),
        (2, 1, "reject", "p1"),
        (3, 1, "hold", "p1"),
        (4, 1, "hold", "p1"),
        (4, 2, "route-to-reviewer", "p3"),
        (5, 1, "hold", "p1"),
        (6, 1, "route-to-reviewer", "p3"),
    ]
    assert count(database, "rules") == 3
    assert count(database, "remarks") == 1


def test_the_database_refuses_a_second_first_decision(world: Any, database: Database) -> None:
    decide(world, database, world.audited(1), world.scored(1))
    (ruling,) = chain(database, world.capture(1))
    with pytest.raises(psycopg.errors.UniqueViolation), database.transaction() as tx:
        tx.connection.execute(
            "INSERT INTO rulings SELECT gen_random_uuid(), capture_id, revision, kind, reasons, severity, "
            "class_name, basis, decided_by, saw_audit, saw_model, rules_digest, decided_at FROM rulings"
        )
    assert chain(database, world.capture(1)) == [ruling]


def test_two_instances_that_hold_both_halves_of_the_evidence_decide_once(
    world: Any, database: Database
) -> None:
    """The audits come to one instance and the results to the other, at the same moment, in opposite order."""
    numbers = list(range(40))
    halves = [[world.audited(n) for n in numbers], [world.scored(n, 0.9) for n in reversed(numbers)]]
    made: list[Any] = []
    barrier = threading.Barrier(2)

    def instance(events: Sequence[Event[Any]]) -> None:
        barrier.wait()
        made.extend(decide(world, database, *events))

    threads = [threading.Thread(target=instance, args=(half,)) for half in halves]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(d.capture_id for d in made) == sorted(world.capture(n) for n in numbers)
    assert {(d.revision, d.kind) for d in made} == {(1, "reject")}
    assert count(database, "rulings") == len(numbers)


def test_two_sweeps_at_once_share_the_work(world: Any, database: Database) -> None:
    decide(world, database, *[world.audited(n) for n in range(30)])
    world.clock.advance(30)
    with database.transaction() as one:
        first = world.router.sweep(PostgresCases(one.connection))
        with database.transaction() as two:
            assert world.router.sweep(PostgresCases(two.connection)) == []
    assert len(first) == 30
    assert sweep(world, database) == []


def test_the_step_decides_each_capture_once_whatever_comes_twice(world: Any, database: Database) -> None:
    bus, codec = MemoryBus(), Codec(MemorySchemaRegistry())
    news = [e for n in range(25) for e in (world.audited(n), world.scored(n, 0.9))]
    publish(bus, codec, [*news, *news[::3], *news[::-1]])

    def handler(events: Sequence[Event[Any]], tx: Transaction) -> Sequence[Outcome]:
        outcomes: Sequence[Outcome] = world.router.handle(events, PostgresCases(tx.connection))
        return outcomes

    drain(state_step(bus, codec, "review-router", TOPICS, handler, database, batch_most=7))
    assert count(database, "rulings") == 25
    assert count(database, "outbox") == 25
    assert count(database, "remarks") == 0


def test_the_api_shows_the_chain_and_takes_each_decision_again(world: Any, database: Database) -> None:
    from andon_chassis.clock import SystemClock
    from andon_chassis.health import Health
    from andon_chassis.http import install

    app = make_app(DatabaseArchive(database))
    install(app, Health(SystemClock()))
    client = TestClient(app)
    decide(world, database, world.audited(1), world.scored(1, 0.5), world.reviewed(1, "good"))
    shown = client.get(f"/v1/captures/{world.capture(1)}/decisions").json()
    assert (shown["state"], shown["review"]) == ("decided", "completed")
    assert [(d["revision"], d["kind"], d["decided_by"], d["replay"]["same"]) for d in shown["decisions"]] == [
        (1, "route-to-reviewer", "policy", True),
        (2, "pass", "person:ada", True),
    ]
    unknown = client.get(f"/v1/captures/{world.capture(99)}/decisions")
    assert (unknown.status_code, unknown.json()["title"]) == (404, "unknown-capture")
    assert client.get("/v1/captures/nonsense/decisions").status_code == 422


def test_what_is_stored_is_plain_json(world: Any, database: Database) -> None:
    decide(world, database, world.audited(1), world.scored(1, 0.5))
    with database.transaction() as tx:
        row = tx.connection.execute("SELECT facts, line, station, state FROM cases").fetchone()
    assert row is not None
    assert (row["line"], row["station"], row["state"]) == ("line-a", "cell-1", "decided")
    assert set(row["facts"]) == {"subject", "audit", "model", "verdict"}
    assert json.loads(json.dumps(row["facts"])) == row["facts"]


def test_rules_of_the_taxonomy_and_deviations_of_the_capture_are_kept(world: Any, database: Database) -> None:
    rule = SeverityRule(customer="ACME", class_name="crack", severity="major", disposition="hold")
    crack = TaxonomyClass(name="crack", severity="minor", definition="", is_defect=True)
    published = TaxonomyPublished(
        taxonomy_version="t1", classes=[crack], rules=[rule], published_by="q", published_at=world.now
    )
    world.rulebook.apply(world.event(published, cause="t1"))
    deviation = Deviation(
        reason="other-lens",
        field="lens",
        what="lens",
        standard_version="1",
        allowed="25 mm",
        found="35 mm",
        rejects=False,
    )
    audited = world.audited(1, customer="ACME")
    told = replace(audited, data=replace(audited.data, deviations=[deviation], unproven=["gain_db"]))
    (decided,) = decide(world, database, told, world.scored(1, 0.9))
    assert (decided.kind, decided.evidence.severity_rule, decided.evidence.disposition_rule) == (
        "hold",
        rule,
        rule,
    )
    assert (decided.evidence.deviations, decided.evidence.unproven) == ([deviation], ["gain_db"])
    case, (ruling,) = DatabaseArchive(database).find(world.capture(1))  # type: ignore[misc]
    assert ruling.decision.disposition_rule == rule
    assert replay(case, ruling).same
    shown = (
        TestClient(make_app(DatabaseArchive(database)))
        .get(f"/v1/captures/{world.capture(1)}/decisions")
        .json()
    )
    assert shown["decisions"][0]["severity_rule"]["customer"] == "ACME"
    assert shown["decisions"][0]["replay"]["same"]


def test_what_an_earlier_release_stored_is_read(world: Any, database: Database) -> None:
    decide(world, database, world.audited(1), world.scored(1, 0.5))
    with database.transaction() as tx:
        tx.connection.execute(
            "UPDATE cases SET facts = facts #- '{audit,deviations}' #- '{audit,unproven}'"
            " #- '{subject,context,customer}'"
        )
        tx.connection.execute("UPDATE rules SET rules = rules #- '{taxonomy,rules}'")
    case, (ruling,) = DatabaseArchive(database).find(world.capture(1))  # type: ignore[misc]
    assert replay(case, ruling).same
    (corrected,) = decide(world, database, world.reviewed(1, "good"))
    assert (corrected.kind, corrected.context.customer) == ("pass", None)

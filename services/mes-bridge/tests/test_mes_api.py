"""The HTTP side on real PostgreSQL: findings, the feed, what is stuck."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from andon_chassis.clock import SystemClock
from andon_chassis.events import Event
from andon_chassis.health import Health
from andon_chassis.http import install
from andon_events import records
from fastapi.testclient import TestClient
from mes_bridge.adapters.office import Office
from mes_bridge.adapters.postgres import PostgresLedger, PostgresOutbound
from mes_bridge.adapters.signature import Keyring
from mes_bridge.api import FINDING_BYTES, make_app
from mes_bridge.domain.delivery import Answer, Judgement, State
from mes_bridge.handlers import Dispatch
from mes_bridge.ports import Attempt
from mes_bridge.settings import Endpoint

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEYRING = Keyring([SECRET])

Decided = Callable[..., Event[records.DispositionDecided]]


@pytest.fixture
def client(bridge: Any) -> Iterator[TestClient]:
    endpoints = {"mes": Endpoint(url="https://user:password@mes.plant.example:8443/in?token=1")}
    app = make_app(Office(bridge.database, bridge.clock, endpoints), KEYRING, bridge.clock)
    install(app, Health(bridge.clock))
    with TestClient(app) as made:
        yield made


def report(
    client: TestClient, body: dict[str, Any] | bytes, webhook_id: str = "msg-1", *, minutes: float = 0.0
) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    at = SystemClock().now() + timedelta(minutes=minutes)
    headers = KEYRING.sign(webhook_id, at, raw.decode())
    return client.post("/v1/findings", content=raw, headers=headers)


def finding(decided: Event[records.DispositionDecided], kind: str = "escape", **more: Any) -> dict[str, Any]:
    return {"kind": kind, "capture_id": decided.data.capture_id, "reported_by": "final test", **more}


def test_a_finding_is_recorded_with_the_context_of_its_disposition(
    bridge: Any, client: TestClient, disposition: Decided
) -> None:
    bridge.decide(disposition(1, part_id="SN-1", product_variant="mono"))
    bridge.decide(
        corrected := disposition(1, revision=2, kind="reject", part_id="SN-1", product_variant="mono")
    )
    answer = report(client, finding(corrected, "false-reject", note="fine on the bench", class_name="crack"))
    assert answer.status_code == 201
    (received,) = bridge.emitted()
    assert answer.json() == {
        "finding_id": received.finding_id,
        "status": "recorded",
        "capture_id": corrected.data.capture_id,
    }
    assert (received.kind, received.disposition_kind, received.note) == (
        "false-reject",
        "reject",
        "fine on the bench",
    )
    assert received.context == corrected.data.context
    assert (received.reported_by, received.class_name) == ("final test", "crack")


def test_a_finding_that_comes_again_has_the_same_answer_and_no_second_event(
    bridge: Any, client: TestClient, disposition: Decided
) -> None:
    bridge.decide(decided := disposition(1))
    first, again = report(client, finding(decided)), report(client, finding(decided))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert len(bridge.emitted()) == 1
    other = report(client, finding(decided, "customer-return"))
    assert (other.status_code, other.json()["title"]) == (409, "webhook-id-reused")
    assert report(client, finding(decided, "customer-return"), "msg-2").status_code == 201
    assert len(bridge.emitted()) == 2


def test_the_same_finding_at_the_same_moment_makes_one_event(
    bridge: Any, client: TestClient, disposition: Decided
) -> None:
    bridge.decide(decided := disposition(1))
    answers: list[Any] = []
    barrier = threading.Barrier(6)

    def send() -> None:
        barrier.wait()
        answers.append(report(client, finding(decided)))

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(a.status_code for a in answers) == [200, 200, 200, 200, 200, 201]
    assert len({a.text for a in answers}) == 1
    assert len(bridge.emitted()) == 1


def test_what_cannot_be_taken_is_told_what_to_do(
    bridge: Any, client: TestClient, disposition: Decided
) -> None:
    decided = disposition(1)
    unknown = report(client, finding(decided))
    assert (unknown.status_code, unknown.json()["title"]) == (404, "unknown-capture")
    assert "capture_id" in unknown.json()["detail"]
    bridge.decide(decided)
    assert report(client, finding(decided)).status_code == 201, "the refusal was not remembered"

    unsigned = client.post("/v1/findings", json=finding(decided))
    forged = client.post(
        "/v1/findings", json=finding(decided), headers=KEYRING.sign("msg-9", SystemClock().now(), "{}")
    )
    assert [(a.status_code, a.json()["title"]) for a in (unsigned, forged)] == [
        (401, "signature-missing"),
        (401, "signature-wrong"),
    ]
    for minutes in (-6, 6):
        skewed = report(client, finding(decided), minutes=minutes)
        assert (skewed.status_code, skewed.json()["title"]) == (401, "timestamp-outside-tolerance")
    wrong = report(client, finding(decided, "rumour"), "msg-3")
    assert (wrong.status_code, wrong.json()["title"]) == (422, "malformed-finding")
    for raw in (b"[" * 5000, json.dumps(finding(decided, note="\ud800")).encode()):
        wrong = report(client, raw, "msg-5")
        assert (wrong.status_code, wrong.json()["title"]) == (422, "malformed-finding")
    assert report(client, b" " * (FINDING_BYTES + 1), "msg-4").status_code == 413
    assert len(bridge.emitted()) == 1


def read_feed(client: TestClient, after: str = "", **query: Any) -> tuple[list[str], str, bool]:
    page = client.get("/v1/dispositions", params={"after": after, **query}).json()
    return [item["disposition_id"] for item in page["items"]], page["next"], page["more"]


def test_the_feed_gives_everything_once_in_order_and_its_cursor_stays_good(
    bridge: Any, client: TestClient, disposition: Decided
) -> None:
    assert read_feed(client) == ([], read_feed(client)[1], False)
    news = [disposition(n) for n in range(25)]
    bridge.decide(*news[:20])
    read: list[str] = []
    cursor, more = "", True
    while more:
        items, cursor, more = read_feed(client, cursor, limit=8)
        read += items
    bridge.decide(*news[20:])
    items, after, _ = read_feed(client, cursor)
    assert read + items == [e.data.disposition_id for e in news]
    assert read_feed(client, after) == ([], after, False)
    assert read_feed(client, cursor)[0] == items


def test_the_feed_of_a_line(bridge: Any, client: TestClient, disposition: Decided) -> None:
    bridge.decide(disposition(1), wanted := disposition(2, line="line-b"))
    assert read_feed(client, line="line-b")[0] == [wanted.data.disposition_id]
    assert client.get("/v1/dispositions", params={"after": "made up"}).json()["title"] == "invalid-cursor"


def test_a_reader_of_the_feed_never_misses_what_commits_late(
    bridge: Any, client: TestClient, disposition: Decided
) -> None:
    """Another instance takes its position first and commits last: the later one has to wait for it."""
    slow, quick = disposition(1), disposition(2)
    dispatch = Dispatch({}, bridge.clock)
    hurried = threading.Thread(target=bridge.decide, args=(quick,))
    with bridge.database.transaction() as late:
        dispatch.handle([slow], PostgresOutbound(late.connection))
        hurried.start()
        waiting = "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        clock = SystemClock()
        end = clock.monotonic() + 10
        while not bridge.rows(waiting)[0]["n"]:
            assert clock.monotonic() < end, "the second instance did not wait"
        items, cursor, _ = read_feed(client)
        assert items == []
    hurried.join(10)
    assert read_feed(client, cursor)[0] == [slow.data.disposition_id, quick.data.disposition_id]


def make_stuck(bridge: Any) -> None:
    ledger, now = PostgresLedger(bridge.database, "1"), bridge.clock.now()
    jobs = ledger.claim("mes", 100, now, 60.0)
    ledger.settle([Attempt(j, Answer(422), Judgement(State.STUCK, "answered (422)"), now) for j in jobs])


def test_what_is_stuck_is_listed_and_can_be_tried_again(
    bridge: Any, client: TestClient, disposition: Decided
) -> None:
    bridge.decide(first := disposition(1, part_id="SN-1"), disposition(1, revision=2, part_id="SN-1"))
    make_stuck(bridge)
    (stuck,) = client.get("/v1/deliveries").json()["items"]
    assert (stuck["state"], stuck["reason"], stuck["holds_up"]) == ("stuck", "answered (422)", 1)
    assert (stuck["capture_id"], stuck["revision"]) == (first.data.capture_id, 1)
    released = client.post(f"/v1/deliveries/{stuck['delivery_id']}/retry")
    assert (released.status_code, released.json()["state"]) == (200, "pending")
    assert client.get("/v1/deliveries").json()["items"] == []
    ledger = PostgresLedger(bridge.database, "1")
    (job,) = ledger.claim("mes", 10, bridge.clock.now(), 60.0)
    assert (job.delivery_id, job.attempts) == (stuck["delivery_id"], 2)
    ledger.settle([Attempt(job, Answer(200), Judgement(State.DELIVERED), bridge.clock.now())])
    again = client.post(f"/v1/deliveries/{stuck['delivery_id']}/retry")
    assert (again.status_code, again.json()["title"]) == (409, "already-delivered")


def test_all_that_is_stuck_can_be_tried_again_at_once(
    bridge: Any, client: TestClient, disposition: Decided
) -> None:
    bridge.decide(*[disposition(n) for n in range(12)])
    make_stuck(bridge)
    page = client.get("/v1/deliveries", params={"limit": 10}).json()
    rest = client.get("/v1/deliveries", params={"limit": 10, "after": page["next"]}).json()
    assert (len(page["items"]), page["more"], len(rest["items"]), rest["more"]) == (10, True, 2, False)
    assert client.post("/v1/deliveries/retry", json={"endpoint": "erp"}).json() == {"released": 0}
    assert client.post("/v1/deliveries/retry", json={}).json() == {"released": 12}
    assert bridge.states() == {"pending": 12}


def test_a_stuck_delivery_can_be_given_up_by_name_so_that_its_part_goes_on(
    bridge: Any, client: TestClient, disposition: Decided
) -> None:
    bridge.decide(disposition(1, part_id="SN-1"), disposition(1, revision=2, part_id="SN-1"))
    make_stuck(bridge)
    (stuck,) = client.get("/v1/deliveries").json()["items"]
    assert client.post(f"/v1/deliveries/{stuck['delivery_id']}/abandon", json={}).status_code == 422
    given_up = client.post(
        f"/v1/deliveries/{stuck['delivery_id']}/abandon", json={"by": "ada", "note": "entered by hand"}
    )
    assert given_up.json()["state"] == "abandoned"
    (abandoned,) = client.get("/v1/deliveries", params={"state": "abandoned"}).json()["items"]
    assert abandoned["settled_by"] == "ada: entered by hand"
    (job,) = PostgresLedger(bridge.database, "1").claim("mes", 10, bridge.clock.now(), 60.0)
    assert json.loads(job.body)["data"]["revision"] == 2
    pending = client.post(f"/v1/deliveries/{job.delivery_id}/abandon", json={"by": "ada", "note": "no"})
    assert (pending.status_code, pending.json()["title"]) == (409, "not-stuck")
    unknown = client.post(f"/v1/deliveries/{disposition(9).data.disposition_id}/retry")
    assert (unknown.status_code, unknown.json()["title"]) == (404, "unknown-delivery")


def given_up(bridge: Any, client: TestClient, disposition: Decided) -> tuple[str, PostgresLedger]:
    """A part whose original was given up, and whose correction is due."""
    bridge.decide(disposition(1, part_id="SN-1"), disposition(1, revision=2, part_id="SN-1"))
    make_stuck(bridge)
    (stuck,) = client.get("/v1/deliveries").json()["items"]
    way = f"/v1/deliveries/{stuck['delivery_id']}"
    assert client.post(f"{way}/abandon", json={"by": "ada", "note": "by hand"}).status_code == 200
    return f"{way}/retry", PostgresLedger(bridge.database, "1")


def test_what_was_given_up_is_not_tried_again_once_its_correction_is_on_its_way_or_there(
    bridge: Any, client: TestClient, disposition: Decided
) -> None:
    """The old decision would be the last that the plant hears."""
    retry, ledger = given_up(bridge, client, disposition)
    (correction,) = ledger.claim("mes", 10, bridge.clock.now(), 60.0)
    under_way = client.post(retry)
    ledger.settle([Attempt(correction, Answer(200), Judgement(State.DELIVERED), bridge.clock.now())])
    there = client.post(retry)
    for answer in (under_way, there):
        assert (answer.status_code, answer.json()["title"]) == (409, "overtaken")
    assert client.post("/v1/deliveries/retry", json={}).json() == {"released": 0}
    assert bridge.states() == {"abandoned": 1, "delivered": 1}


def test_what_was_given_up_comes_before_its_correction_while_that_waits(
    bridge: Any, client: TestClient, disposition: Decided
) -> None:
    retry, ledger = given_up(bridge, client, disposition)
    bridge.decide(other := disposition(2, part_id="SN-2"))
    jobs = {job.disposition_id: job for job in ledger.claim("mes", 10, bridge.clock.now(), 60.0)}
    ledger.settle(
        [
            Attempt(
                jobs.pop(other.data.disposition_id),
                Answer(200),
                Judgement(State.DELIVERED),
                bridge.clock.now(),
            )
        ]
    )
    ledger.release(list(jobs.values()), bridge.clock.now())
    assert client.post(retry).status_code == 200, "another part's delivery overtakes nothing"
    (job,) = ledger.claim("mes", 10, bridge.clock.now(), 60.0)
    assert json.loads(job.body)["data"]["revision"] == 1


def test_trying_all_again_leaves_what_was_overtaken(
    bridge: Any, client: TestClient, disposition: Decided
) -> None:
    bridge.decide(disposition(1, part_id="SN-1"), disposition(1, revision=2, part_id="SN-1"), disposition(2))
    bridge.rows("UPDATE deliveries SET state = 'stuck' WHERE position <> 2 RETURNING position")
    bridge.rows("UPDATE deliveries SET state = 'delivered' WHERE position = 2 RETURNING position")
    assert client.post("/v1/deliveries/retry", json={}).json() == {"released": 1}
    assert bridge.states() == {"stuck": 1, "delivered": 1, "pending": 1}


def test_endpoints_show_how_they_are_doing_and_none_of_their_secrets(
    bridge: Any, client: TestClient, disposition: Decided
) -> None:
    bridge.decide(*[disposition(n) for n in range(3)])
    ledger, now = PostgresLedger(bridge.database, "1"), bridge.clock.now()
    jobs = ledger.claim("mes", 2, now, 60.0)
    ledger.settle(
        [
            Attempt(jobs[0], Answer(200), Judgement(State.DELIVERED), now),
            Attempt(jobs[1], Answer(None, "timeout"), Judgement(State.PENDING, "timeout", 5.0), now),
        ]
    )
    (mes,) = client.get("/v1/endpoints").json()["items"]
    assert mes["url"] == "https://mes.plant.example:8443/in"
    assert (mes["pending"], mes["stuck"], mes["acknowledged"], mes["failed_attempts"]) == (2, 0, 1, 1)
    assert (mes["failures_in_a_row"], mes["last_failure"]) == (1, "timeout")

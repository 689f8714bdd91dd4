"""Deliveries on real PostgreSQL and over real HTTP: once, in order for each part, whatever happens."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from andon_chassis.bus.memory import MemoryBus
from andon_chassis.clock import SystemClock
from andon_chassis.codec import Codec, MemorySchemaRegistry
from andon_chassis.errors import Unavailable
from andon_chassis.events import Event, Outcome, Rejected
from andon_chassis.testing import drain, publish, state_step
from andon_events import records
from mes_bridge.adapters.http import HttpSender
from mes_bridge.adapters.postgres import PostgresLedger, PostgresOutbound
from mes_bridge.adapters.signature import Keyring
from mes_bridge.courier import Courier
from mes_bridge.domain.delivery import LONGEST_RETRY_AFTER_S, Answer, Judgement, Patience, State
from mes_bridge.handlers import Dispatch
from mes_bridge.ports import Attempt, Job
from standardwebhooks.webhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

Decided = Callable[..., Event[records.DispositionDecided]]


class Round:
    """Couriers that a test turns until a condition holds, in its own thread."""

    def __init__(self, bridge: Any) -> None:
        self.bridge = bridge
        self.made: list[Courier] = []

    def courier(self, url: str, endpoint: str = "mes", **options: Any) -> Courier:
        timeout_s = options.setdefault("timeout_s", 5.0)
        options.setdefault("patience", Patience(0.02, 0.1, 3600))
        options.setdefault("poll_s", 0.005)
        courier = Courier(
            endpoint,
            PostgresLedger(self.bridge.database, "2"),
            HttpSender(url, Keyring([SECRET]), connections=8, timeout_s=timeout_s),
            SystemClock(),
            **options,
        )
        self.made.append(courier)
        return courier

    def until(self, done: Callable[[], bool], *couriers: Courier) -> None:
        clock = SystemClock()
        end = clock.monotonic() + 20
        while not done():
            assert clock.monotonic() < end, "the condition did not come true"
            for courier in couriers or self.made:
                courier.turn()


@pytest.fixture
def turns(bridge: Any) -> Iterator[Round]:
    made = Round(bridge)
    yield made
    for courier in made.made:
        courier._pool.shutdown(wait=True)
        courier._sender.close()


def test_a_disposition_reaches_the_plant_signed_and_is_announced_once(
    bridge: Any, plant: Any, turns: Round, disposition: Decided
) -> None:
    decided = disposition(1, part_id="SN-1", product_variant="mono")
    bridge.decide(decided)
    turns.courier(plant.url)
    turns.until(lambda: bridge.states() == {"delivered": 1})
    ((headers, body),) = plant.seen
    message = Webhook(SECRET).verify(body, headers)
    assert message["type"] == "disposition.decided"
    data = message["data"]
    assert (data["capture_id"], data["kind"], data["revision"]) == (decided.data.capture_id, "pass", 1)
    assert data["context"]["part_id"] == "SN-1"
    assert data["decided_at"] == decided.data.decided_at.isoformat()
    (announced,) = bridge.emitted()
    assert announced.delivery_id == headers["webhook-id"]
    assert (announced.disposition_id, announced.endpoint) == (decided.data.disposition_id, "mes")
    assert (announced.status_code, announced.attempts) == (204, 1)
    assert announced.context == decided.data.context


def test_failures_are_tried_again_with_the_same_id_and_the_same_bytes(
    bridge: Any, plant: Any, turns: Round, disposition: Decided
) -> None:
    plant.answer = lambda n, headers, body: ((500, 429, 503, 200)[min(n, 4) - 1], {})
    bridge.decide(disposition(1))
    turns.courier(plant.url)
    turns.until(lambda: bridge.states() == {"delivered": 1})
    assert len(set(plant.ids)) == 1
    assert len({body for _, body in plant.seen}) == 1
    assert len(plant.seen) == 4
    (announced,) = bridge.emitted()
    assert (announced.attempts, announced.status_code) == (4, 200)


@pytest.mark.parametrize(
    "wish", ["²", "Mon, 01 Jan 2024 00:00:00 +99999999999999999999", "9" * 400, "soon", ""]
)
def test_a_wish_to_wait_that_makes_no_sense_takes_nothing_down(
    plant: Any, disposition: Decided, wish: str
) -> None:
    plant.answer = lambda n, headers, body: (503, {"Retry-After": wish})
    sender = HttpSender(plant.url, Keyring([SECRET]), connections=1, timeout_s=5.0)
    answer = sender.send(
        Job("d", "mes", "x", "{}", None, "lease", 1, SystemClock().now()), SystemClock().now()
    )
    sender.close()
    assert answer.status == 503
    assert answer.retry_after_s is None or answer.retry_after_s == LONGEST_RETRY_AFTER_S


def test_a_silent_plant_times_out_and_is_tried_again(
    bridge: Any, plant: Any, turns: Round, disposition: Decided
) -> None:
    answer_now = threading.Event()

    def slow_at_first(n: int, headers: Any, body: Any) -> tuple[int, dict[str, str]]:
        if n == 1:
            answer_now.wait(10)
        return 200, {}

    plant.answer = slow_at_first
    bridge.decide(disposition(1))
    turns.courier(plant.url, timeout_s=0.1)
    turns.until(lambda: bridge.states() == {"delivered": 1})
    answer_now.set()
    assert len(plant.seen) == 2
    assert bridge.rows("SELECT last_failure FROM endpoints") == [{"last_failure": "timeout"}]


def test_an_endpoint_that_is_away_gets_everything_when_it_is_back(
    bridge: Any, plant: Any, turns: Round, disposition: Decided
) -> None:
    away = turns.courier("http://127.0.0.1:1/dispositions")
    bridge.decide(*[disposition(n) for n in range(30)])
    in_a_row = "SELECT coalesce(max(failures_in_a_row), 0) AS n FROM endpoints"
    turns.until(lambda: bridge.rows(in_a_row)[0]["n"] >= 7, away)
    assert bridge.states() == {"pending": 30}
    back = turns.courier(plant.url)
    turns.until(lambda: bridge.states() == {"delivered": 30}, back)
    assert sorted(plant.ids) == sorted(set(plant.ids))
    assert len(bridge.emitted()) == 30


def test_a_refusal_is_stuck_and_holds_up_its_own_part_only(
    bridge: Any, plant: Any, turns: Round, disposition: Decided
) -> None:
    plant.answer = lambda n, headers, body: (422 if body["data"]["context"]["part_id"] == "bad" else 200, {})
    bridge.decide(disposition(1, part_id="bad"), disposition(2, part_id="good"))
    bridge.decide(disposition(1, revision=2, part_id="bad"), disposition(2, revision=2, part_id="good"))
    turns.courier(plant.url)
    turns.until(lambda: bridge.states() == {"stuck": 1, "pending": 1, "delivered": 2})
    (stuck,) = bridge.rows("SELECT reason, status_code, attempts FROM deliveries WHERE state = 'stuck'")
    assert stuck == {"reason": "answered (422)", "status_code": 422, "attempts": 1}


def test_a_correction_never_overtakes_its_original(
    bridge: Any, plant: Any, turns: Round, disposition: Decided
) -> None:
    """Three revisions of twenty parts, a server that fails half of the time, two couriers that race."""
    fails: dict[str, int] = defaultdict(int)
    lock = threading.Lock()

    def moody(n: int, headers: dict[str, str], body: Any) -> tuple[int, dict[str, str]]:
        with lock:
            fails[headers["webhook-id"]] += 1
            return (500 if fails[headers["webhook-id"]] == 1 and n % 2 else 200), {}

    plant.answer = moody
    for revision in (1, 2, 3):
        bridge.decide(*[disposition(n, revision=revision, part_id=f"SN-{n}") for n in range(20)])
    one, two = turns.courier(plant.url), turns.courier(plant.url)
    turns.until(lambda: bridge.states() == {"delivered": 60}, one, two)
    order: dict[str, list[int]] = defaultdict(list)
    for data in plant.bodies:
        order[data["context"]["part_id"]].append(data["revision"])
    assert all(revisions == sorted(revisions) for revisions in order.values())
    assert len(bridge.emitted()) == 60
    assert {e.delivery_id for e in bridge.emitted()} == set(plant.ids)


def test_what_a_killed_courier_had_under_way_is_delivered_by_another(
    bridge: Any, plant: Any, turns: Round, disposition: Decided
) -> None:
    bridge.decide(*[disposition(n) for n in range(5)])
    ledger, clock = PostgresLedger(bridge.database, "1"), SystemClock()
    lost = ledger.claim("mes", 10, clock.now(), 0.2)  # and never heard of again
    assert len(lost) == 5
    assert ledger.claim("mes", 10, clock.now(), 0.2) == []
    turns.courier(plant.url)
    turns.until(lambda: bridge.states() == {"delivered": 5})
    assert sorted(plant.ids) == sorted(job.delivery_id for job in lost)
    assert [e.attempts for e in bridge.emitted()] == [2] * 5


def test_a_killed_instance_takes_up_at_once_what_it_had_under_way(
    bridge: Any, plant: Any, turns: Round, disposition: Decided
) -> None:
    bridge.decide(*[disposition(n) for n in range(5)])
    now = SystemClock().now()
    PostgresLedger(bridge.database, "2").claim("mes", 3, now, 3600.0)
    others = PostgresLedger(bridge.database, "20").claim("mes", 2, now, 3600.0)
    stop = threading.Event()
    courier = turns.courier(plant.url)
    thread = threading.Thread(target=courier.run, args=(stop,))
    thread.start()
    clock = SystemClock()
    end = clock.monotonic() + 20
    while bridge.states() != {"delivered": 3, "pending": 2} and clock.monotonic() < end:
        clock.wait(stop, 0.02)
    stop.set()
    thread.join(20)
    assert bridge.states() == {"delivered": 3, "pending": 2}
    assert {j.delivery_id for j in others}.isdisjoint(plant.ids)


def attempt(job: Job, status: int, state: State, delay_s: float = 0.0) -> Attempt:
    return Attempt(job, Answer(status), Judgement(state, "as told", delay_s), SystemClock().now())


def test_a_late_acknowledgement_counts_and_a_late_failure_does_not(bridge: Any, disposition: Decided) -> None:
    bridge.decide(disposition(1), disposition(2))
    ledger, now = PostgresLedger(bridge.database, "1"), SystemClock().now()
    first = ledger.claim("mes", 2, now, 1.0)
    second = ledger.claim("mes", 2, now + timedelta(seconds=2), 60.0)
    assert [j.delivery_id for j in first] == [j.delivery_id for j in second]
    ledger.settle([attempt(first[0], 200, State.DELIVERED), attempt(first[1], 422, State.STUCK)])
    assert bridge.states() == {"delivered": 1, "pending": 1}
    ledger.settle([attempt(second[0], 200, State.DELIVERED), attempt(second[1], 200, State.DELIVERED)])
    assert bridge.states() == {"delivered": 2}
    assert sorted(e.delivery_id for e in bridge.emitted()) == sorted(j.delivery_id for j in first)


def test_couriers_that_claim_at_once_never_get_the_same(bridge: Any, disposition: Decided) -> None:
    bridge.decide(*[disposition(n) for n in range(60)])
    ledger, now = PostgresLedger(bridge.database, "1"), SystemClock().now()
    claimed: list[Job] = []
    barrier = threading.Barrier(4)

    def claim() -> None:
        barrier.wait()
        while jobs := ledger.claim("mes", 7, now, 60.0):
            claimed.extend(jobs)

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(claimed) == 60
    assert len({job.delivery_id for job in claimed}) == 60


def test_each_endpoint_gets_its_lines_and_a_slow_one_holds_up_no_other(
    bridge: Any, plant: Any, turns: Round, disposition: Decided
) -> None:
    bridge.lines = {"mes": (), "line-b only": ("line-b",), "away": ()}
    bridge.decide(disposition(1), disposition(2, line="line-b"))
    turns.courier("http://127.0.0.1:1/", "away")
    turns.courier(plant.url, "mes")
    turns.courier(plant.url, "line-b only")
    turns.until(lambda: bridge.states() == {"delivered": 3, "pending": 2})
    rows = bridge.rows(
        "SELECT endpoint, count(*) AS n FROM deliveries WHERE state = 'delivered' GROUP BY 1 ORDER BY 1"
    )
    assert rows == [{"endpoint": "line-b only", "n": 1}, {"endpoint": "mes", "n": 2}]


def test_the_step_queues_each_disposition_once_whatever_comes_twice(
    bridge: Any, disposition: Decided
) -> None:
    bus, codec = MemoryBus(), Codec(MemorySchemaRegistry())
    news = [disposition(n, revision=r) for n in range(10) for r in (1, 2)]
    publish(bus, codec, [*news, *news[::2], *news])
    dispatch = Dispatch({"mes": (), "erp": ()}, SystemClock())

    def handler(events: Any, tx: Any) -> Any:
        return dispatch.handle(events, PostgresOutbound(tx.connection))

    drain(
        state_step(bus, codec, "mes-bridge", ["disposition.decided"], handler, bridge.database, batch_most=7)
    )
    assert bridge.states() == {"pending": 40}
    kept = bridge.rows("SELECT disposition_id::text AS id FROM dispositions ORDER BY position")
    assert [row["id"] for row in kept] == [e.data.disposition_id for e in news]


def test_what_can_never_be_delivered_is_rejected_alone(bridge: Any, disposition: Decided) -> None:
    good, nul = disposition(1), disposition(2, operator="a\0b")
    strange = replace(disposition(3), data=replace(disposition(3).data, capture_id="17"))
    nan = disposition(4)
    nan.data.evidence.scores["crack"] = float("nan")
    outcomes: list[Outcome] = []
    with bridge.database.transaction() as tx:
        dispatch = Dispatch({"mes": ()}, SystemClock())
        outcomes += dispatch.handle([nul, good, strange, nan], PostgresOutbound(tx.connection))
    assert [o.reason if isinstance(o, Rejected) else o for o in outcomes] == [
        "nul-character",
        [],
        "malformed-capture-id",
        "not-a-number",
    ]
    assert bridge.states() == {"pending": 1}


class ForgetfulLedger:
    """A ledger whose database goes away between an acknowledgement and its settlement."""

    def __init__(self, jobs: list[Job], failures: int) -> None:
        self.jobs = jobs
        self.failures = failures
        self.settled: list[Attempt] = []

    def claim(self, endpoint: str, most: int, now: Any, lease_s: float) -> list[Job]:
        claimed, self.jobs = self.jobs[:most], self.jobs[most:]
        return claimed

    def reclaim(self, endpoint: str, now: Any) -> None:
        """Nothing to reclaim."""

    def release(self, jobs: Any, now: Any) -> None:
        self.jobs += jobs

    def settle(self, attempts: Any) -> None:
        if self.failures:
            self.failures -= 1
            raise Unavailable("postgresql", "away")
        self.settled += attempts


class GoodSender:
    def send(self, job: Job, now: Any) -> Answer:
        return Answer(200)

    def close(self) -> None:
        """Nothing to close."""


def test_an_acknowledgement_is_not_forgotten_while_the_database_is_away() -> None:
    now = SystemClock().now()
    ledger = ForgetfulLedger(
        [Job(str(n), "mes", str(n), "{}", None, "l", 1, now) for n in range(3)], failures=3
    )
    courier = Courier("mes", ledger, GoodSender(), SystemClock(), patience=Patience(), poll_s=0.001)
    stop = threading.Event()
    thread = threading.Thread(target=courier.run, args=(stop,))
    thread.start()
    clock = SystemClock()
    end = clock.monotonic() + 20
    while len(ledger.settled) < 3 and clock.monotonic() < end:
        clock.wait(stop, 0.01)
    stop.set()
    thread.join(20)
    assert sorted(a.job.delivery_id for a in ledger.settled) == ["0", "1", "2"]
    assert not thread.is_alive()


def test_stopping_lets_what_is_under_way_end(
    bridge: Any, plant: Any, turns: Round, disposition: Decided
) -> None:
    stop, go_on = threading.Event(), threading.Event()

    def answers_after_the_stop(n: int, headers: Any, body: Any) -> tuple[int, dict[str, str]]:
        stop.set()
        go_on.wait(10)
        return 200, {}

    plant.answer = answers_after_the_stop
    bridge.decide(*[disposition(n) for n in range(4)])
    courier = turns.courier(plant.url, concurrency=1)
    thread = threading.Thread(target=courier.run, args=(stop,))
    thread.start()
    assert stop.wait(10)
    clock = SystemClock()
    end = clock.monotonic() + 10
    while not courier._stopping and clock.monotonic() < end:
        clock.wait(threading.Event(), 0.01)
    go_on.set()
    thread.join(20)
    assert bridge.states() == {"delivered": 1, "pending": 3}
    untouched = bridge.rows("SELECT DISTINCT attempts, lease FROM deliveries WHERE state = 'pending'")
    assert untouched == [{"attempts": 0, "lease": None}]

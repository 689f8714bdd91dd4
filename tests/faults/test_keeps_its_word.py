"""A bad day: everything dies at least once while 600 images stream in. Counted from outside, the books balance."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import psycopg
from andon_demo.books import Books, balance
from andon_demo.cameras import Cameras
from andon_demo.crew import Crew
from andon_demo.drain import Pending, pending
from andon_demo.ledger import Ledger
from andon_demo.main import truth_of
from andon_demo.observer import Observer
from andon_demo.run import facts_of

from .conftest import IMAGES, SEED, Faulty
from .monkey import Monkey

RATE = 6.0
DRAIN_S = 240.0
QUIET_S = 5.0
OWNERS = ("capture_ingest", "review_router", "dataset_registry", "mes_bridge")


def test_whatever_dies_every_capture_is_decided_and_delivered_once(faulty: Faulty) -> None:
    plant, plan = faulty.plant, faulty.plan
    endpoints = plant.instance.endpoints
    staff = plant.staff()
    crew = Crew(staff.api, truth_of(plan), faulty.split.defects, SEED, lambda: True)
    cameras = Cameras(endpoints.http("capture-ingest"), parallel=8, rate=RATE, may_send=lambda: None)
    monkey = Monkey(plant.instance, SEED, images=len(plan.shots))

    crew.start()
    monkey.start()
    with ThreadPoolExecutor(1, thread_name_prefix="cameras") as pool:
        sending = pool.submit(cameras.replay, plan, lambda shot: monkey.watch(shot.number))
        sending.add_done_callback(lambda _: monkey.nothing_more_comes())
        monkey.finish()
        sending.result()

    answers = cameras.answers.snapshot()
    accepted = set(cameras.answers.accepted())
    observer = Observer(endpoints.kafka, endpoints.registry)
    observer.start()
    left = _drain(faulty, accepted, crew, observer)
    book = plant.mes_book()
    ledger = observer.look(lambda ledger: ledger)
    observer.stop()
    crew.stop()
    facts = facts_of(plan, answers, ledger, book, frozenset(), crew.left_open)
    facts = replace(
        facts,
        # A bridge that dies between the MES's answer and its own commit asks again under the same idempotency key, and
        # the MES acknowledges again. What must happen once is the delivery: `kept` counts keys, and stays as it is.
        acknowledged=dict.fromkeys(facts.acknowledged, 1),
    )
    story = _story(monkey, left, balance(facts), crew)

    assert len(answers) == len(plan.shots) >= IMAGES, story
    assert cameras.answers.unanswered() == 0, story
    assert not left, story
    assert balance(facts).balanced, story
    assert _unsent(faulty) == dict.fromkeys(OWNERS, 0), story
    assert _stuck(faulty) == [], story


def _drain(faulty: Faulty, accepted: set[str], crew: Crew, observer: Observer) -> list[Pending]:
    """Wait until everything is finished and stays so; gives what is left when it does not end."""
    end = time.monotonic() + DRAIN_S
    quiet_since, events = time.monotonic(), -1
    while True:
        book = faulty.plant.mes_book()

        def look(ledger: Ledger) -> tuple[list[Pending], int]:
            return pending(accepted, ledger, book, tuple(crew.left_open)), ledger.events  # noqa: B023  (asked at once)

        left, seen = observer.look(look)
        now = time.monotonic()
        if left or seen != events:
            quiet_since, events = now, seen
        if now - quiet_since >= QUIET_S:
            return []
        if now > end:
            return left
        observer.wait_until(lambda ledger: ledger.events != seen, 0.5)  # noqa: B023


def _unsent(faulty: Faulty) -> dict[str, int]:
    """Rows that wait in each service's outbox, as the administrator sees them."""
    waiting = {}
    with psycopg.connect(faulty.plant.instance.database_url()) as connection:
        for owner in OWNERS:
            query = psycopg.sql.SQL("SELECT count(*) FROM {}.outbox").format(psycopg.sql.Identifier(owner))
            row = connection.execute(query).fetchone()
            waiting[owner] = row[0] if row else -1
    return waiting


def _stuck(faulty: Faulty) -> list[object]:
    """Deliveries that mes-bridge has given up on."""
    answer = httpx.get(
        f"{faulty.plant.instance.endpoints.http('mes-bridge')}/v1/deliveries", params={"state": "stuck"}
    )
    items: list[object] = answer.raise_for_status().json()["items"]
    return items


def _story(monkey: Monkey, left: list[Pending], books: Books, crew: Crew) -> str:
    """What a person needs to find the culprit."""
    lines = ["", f"with ANDON_FAULTS_SEED={monkey.seed} was broken: " + ", ".join(monkey.done)]
    lines += [f"not finished: {item}" for item in left]
    lines += [
        f"{line.title}: {line.left} != {line.right}; lost {line.lost[:5]}, twice {line.duplicated[:5]}, "
        f"unexpected {line.unexpected[:5]} {line.note}"
        for line in books.lines
        if not line.balanced
    ]
    lines += [f"people: {trouble}" for trouble in crew.trouble[-5:]]
    return "\n".join(lines)

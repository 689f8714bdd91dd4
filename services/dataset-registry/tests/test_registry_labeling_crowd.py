"""Many people at once: nothing is given out twice, nothing is lost, and who comes second is told so."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from .conftest import Registry
from .labeling_room import GOOD, Room, box, marked
from .test_registry_api import problem

CROWD = [f"person-{number}" for number in range(8)]


@pytest.fixture
def room(registry: Registry) -> Room:
    return Room(registry)


def all_at_once(work: Callable[[str], Any], people: list[str]) -> list[Any]:
    """What each person's work gives; they start together."""
    start = threading.Barrier(len(people))

    def begin(person: str) -> Any:
        start.wait(timeout=30)
        return work(person)

    with ThreadPoolExecutor(len(people)) as pool:
        return list(pool.map(begin, people))


def test_a_crowd_drains_a_queue(room: Room) -> None:
    images = room.captured(40)
    room.batch(images, review={"plan": "fraction", "fraction": 0.0})

    def drain(person: str) -> list[str]:
        done = []
        while (task := room.next(person)) is not None:
            room.said(task, person, GOOD)
            done.append(task["image"]["image_id"])
        return done

    done = [image for part in all_at_once(drain, CROWD) for image in part]
    assert sorted(done) == sorted(images)
    assert len(room.registry.published("label.approved")) == 40


def test_nobody_is_given_what_another_holds(room: Room) -> None:
    room.batch(room.captured(8))
    taken = all_at_once(lambda person: room.next(person)["task_id"], CROWD)
    assert len(set(taken)) == 8
    assert room.next("late") is None


def test_a_consensus_queue_gives_each_image_to_as_many_as_are_wanted(room: Room) -> None:
    images = room.captured(12)
    batch = room.batch(images, mode="consensus", answers_wanted=3)

    def drain(person: str) -> list[str]:
        done = []
        while (task := room.next(person)) is not None:
            room.said(task, person, GOOD)
            done.append(task["image"]["image_id"])
        return done

    by_person = all_at_once(drain, CROWD)
    assert all(len(set(done)) == len(done) for done in by_person)
    given = Counter(image for done in by_person for image in done)
    assert set(given.values()) == {3}
    assert (len(given), room.progress(batch)) == (12, {"done": 12})


def test_two_people_who_save_the_same_image(room: Room) -> None:
    """One claim ran out, so both have it before them: one wins, the other is told and keeps the draft."""
    room.batch(room.captured(1))
    task = room.next("ada")
    room.draft(task, "ada", marked(box()))
    room.registry.clock.advance(3600)
    assert room.next("ben")["task_id"] == task["task_id"]
    room.draft(task, "ben", GOOD)
    answers = dict(
        zip(
            ["ada", "ben"],
            all_at_once(lambda person: room.say(task, person, GOOD), ["ada", "ben"]),
            strict=True,
        )
    )
    assert answers["ben"].status_code == 201, "who holds the claim wins"
    assert answers["ada"].status_code in (409, 412)
    assert room.task(task["task_id"], "ada")["draft"]["annotation"]["shapes"][0]["class_name"] == "crack"
    assert room.task(task["task_id"], "ben")["draft"] is None


def test_a_review_queue_is_drained_without_anybody_reviewing_own_work(room: Room) -> None:
    batch = room.batch(room.captured(16))
    for person in CROWD[:2]:
        for _ in range(8):
            room.said(room.next(person), person, GOOD)

    def drain(person: str) -> int:
        done = 0
        while (task := room.next(person, "review")) is not None:
            assert task["answers"][0]["author"] != person
            room.reviewed(task, person, "approve")
            done += 1
        return done

    assert sum(all_at_once(drain, CROWD)) == 16
    assert room.progress(batch) == {"done": 16}
    assert len(room.registry.published("label.approved")) == 16


def test_a_lot_is_judged_once_whoever_looks_at_its_sample(room: Room) -> None:
    """While its sample is reviewed, the last of the lot is labeled: nothing waits for ever."""
    plan = {"plan": "iso2859", "aql": 4.0, "level": "III"}
    batch = room.batch(room.captured(30), review=plan)

    def label(person: str) -> None:
        while (task := room.next(person)) is not None:
            room.said(task, person, GOOD)

    def look(person: str) -> None:
        while room.progress(batch).get("done", 0) < 30:
            task = room.next(person, "review")
            if task is not None:
                room.reviewed(task, person, "approve")

    def work(person: str) -> None:
        (label if person.startswith("person") else look)(person)

    all_at_once(work, [*CROWD[:4], "rita", "rob"])
    (lot,) = room.registry.get(f"/v1/batches/{batch}")["lots"]
    assert (lot["size"], lot["sample_size"], lot["accept"], lot["reviewed"], lot["state"]) == (
        30,
        13,
        1,
        13,
        "accepted",
    )
    assert room.progress(batch) == {"done": 30}


def test_two_tabs_that_begin_a_draft_together(room: Room) -> None:
    room.batch(room.captured(1))
    task = room.next("ada")
    said = {"one": marked(box("crack")), "two": marked(box("scratch"))}
    answers = all_at_once(lambda tab: room.draft(task, "ada", said[tab]), ["one", "two"])
    assert sorted(answer.status_code for answer in answers) == [200, 412]
    (second,) = [answer for answer in answers if answer.status_code == 412]
    problem(second, 412, "draft-changed")
    kept = room.task(task["task_id"], "ada")["draft"]
    assert second.json()["current"] == kept

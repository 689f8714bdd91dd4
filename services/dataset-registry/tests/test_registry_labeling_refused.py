"""What the labeling room refuses, on real PostgreSQL: with a reason, advice, and the draft kept."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from .conftest import Registry
from .labeling_room import GOOD, Room, box, marked, reasons
from .test_registry_api import problem


@pytest.fixture
def room(registry: Registry) -> Room:
    return Room(registry)


def shape(kind: str, **fields: Any) -> dict[str, Any]:
    return {"shape_id": "x", "class_name": "crack", "kind": kind, **fields}


WRONG: list[tuple[dict[str, Any], tuple[str, str | None]]] = [
    (marked(box(at=(290, 10, 40, 20))), ("outside-image", "s1")),
    (marked(box("dent")), ("unknown-class", "s1")),
    (marked(box(), taxonomy_version="t0"), ("other-taxonomy-version", None)),
    (marked(box(origin="model", confirmed=False)), ("proposal-not-confirmed", "s1")),
    (marked(shape("polygon", rings=[[[0, 0], [9, 9], [9, 0], [0, 9]]])), ("polygon-crosses-itself", "x")),
    (marked(shape("polygon", rings=[[[0, 0], [9, 9]]])), ("too-few-points", "x")),
    (marked(shape("polygon", rings=[[[0, 0], [5, 5], [9, 9]]])), ("no-area", "x")),
    (marked(shape("mask", size=[30, 30], counts="T1")), ("mask-of-another-size", "x")),
    (marked(shape("mask", size=[300, 300], counts="!!")), ("broken-mask", "x")),
    (marked(shape("key-points", points={"a": [400, 2]})), ("outside-image", "x")),
    ({"verdict": "labeled"}, ("nothing-said", None)),
]


def test_one_at_a_time(room: Room) -> None:
    room.batch(room.captured(1))
    task = room.next("ada")
    for version, (said, reason) in enumerate(WRONG, 1):
        assert room.draft(task, "ada", said, version - 1).status_code == 200, "a draft need not be sound"
        assert reasons(room.say(task, "ada", said)) == [reason]
        kept = room.task(task["task_id"], "ada")
        assert (kept["state"], kept["version"], kept["draft"]["version"]) == ("to-label", 1, version)


def test_all_together(room: Room) -> None:
    room.batch(room.captured(1))
    wrong = marked(box("dent", shape_id="a"), box(at=(299, 299, 9, 9), shape_id="b"))
    answer = room.say(room.next("ada"), "ada", wrong)
    assert reasons(answer) == [("unknown-class", "a"), ("outside-image", "b")]
    assert answer.json()["detail"].endswith("And 1 more; see problems.")


def test_what_is_no_shape_at_all(room: Room) -> None:
    room.batch(room.captured(1))
    task = room.next("ada")
    for wrong in (
        shape("box"),
        shape("mask", counts="x"),
        shape("circle"),
        shape("box", box=[1, 2, 3]),
        shape("box", box=[1, 2, "x", 4]),
        shape("polygon", rings=[[[0, 0]] * 5001]),
    ):
        problem(room.say(task, "ada", marked(wrong)), 422, "invalid-request")


def test_without_a_version_or_an_unreadable_one(room: Room) -> None:
    room.batch(room.captured(1))
    task = room.next("ada")
    path, body = f"/v1/tasks/{task['task_id']}/annotations", {"person": "ada", "annotation": GOOD}
    problem(room.http.post(path, json=body), 422, "invalid-request")
    problem(room.http.post(path, json=body, headers={"If-Match": "new"}), 422, "unreadable-version")


def test_a_repeat_with_its_key_gets_the_first_answer(room: Room) -> None:
    room.batch(room.captured(1))
    task = room.next("ada")
    path, body = f"/v1/tasks/{task['task_id']}/annotations", {"person": "ada", "annotation": GOOD}
    headers = {"If-Match": '"1"', "Idempotency-Key": "one"}
    first = room.http.post(path, json=body, headers=headers)
    second = room.http.post(path, json=body, headers=headers)
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.json() == first.json()


def test_unknown_tasks_batches_and_images(room: Room) -> None:
    nothing = {"task_id": str(uuid4()), "version": 1}
    problem(room.say(nothing, "ada", GOOD), 404, "unknown-task")
    problem(room.review(nothing, "ada", "approve"), 404, "unknown-task")
    problem(room.draft(nothing, "ada", GOOD), 404, "unknown-task")
    problem(room.http.get(f"/v1/tasks/{uuid4()}?person=ada"), 404, "unknown-task")
    problem(room.http.get(f"/v1/batches/{uuid4()}"), 404, "unknown-batch")
    problem(room.http.get(f"/v1/images/{uuid4()}"), 404, "unknown-image")
    problem(room.http.get(f"/v1/images/{uuid4()}/picture"), 404, "unknown-image")

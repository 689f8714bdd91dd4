"""Batches, the queue, claims and drafts on real PostgreSQL."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import cv2
import numpy as np
import pytest
from dataset_registry.adapters.labeling_novelty import Novelty
from psycopg.types.json import Jsonb

from .conftest import PIXELS, Registry
from .labeling_room import GOOD, Room, box, marked
from .test_registry_api import problem


@pytest.fixture
def room(registry: Registry) -> Room:
    return Room(registry)


def clouds(seed: int) -> Any:
    """Soft light and dark, other ones for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 200, (6, 6), np.uint8)
    return cv2.resize(coarse, (240, 240), interpolation=cv2.INTER_CUBIC)


def put_picture(registry: Registry, capture_id: str, pixels: Any) -> None:
    ref = registry.objects.put("images", bytes(cv2.imencode(".png", pixels)[1]), "image/png")
    with registry.database.transaction() as tx:
        tx.connection.execute(
            "UPDATE captures SET image = jsonb_set(image, '{object}', %s) WHERE capture_id = %s",
            (Jsonb(ref.to_avro()), capture_id),
        )


class TestBatches:
    def test_a_batch_says_what_was_asked_and_how_far_it_is(self, room: Room) -> None:
        images = room.captured(3)
        batch = room.batch(images, "night shift", people=["ada", "ben"], purpose="more cracks")
        found = room.registry.get(f"/v1/batches/{batch}")
        assert (found["name"], found["people"], found["taxonomy_version"]) == (
            "night shift",
            ["ada", "ben"],
            "t1",
        )
        assert (found["review"], found["progress"]) == ({"plan": "full"}, {"to-label": 3})
        room.said(room.next("ada"), "ada", GOOD)
        assert room.registry.get(f"/v1/batches/{batch}")["answers_by_person"] == {"ada": 1}
        assert [b["name"] for b in room.registry.get("/v1/batches", person="ada")["items"]] == ["night shift"]
        assert room.registry.get("/v1/batches", person="zoe")["items"] == []

    def test_images_enter_a_batch_once(self, room: Room) -> None:
        images = room.captured(3)
        batch = room.batch(images[:2])
        assert room.add(batch, images) == {"added": 1, "known": 2}
        assert room.add(batch, images) == {"added": 0, "known": 3}
        assert room.progress(batch) == {"to-label": 3}

    def test_an_unknown_image_refuses_all_of_them(self, room: Room) -> None:
        batch = room.batch([])
        body = {"images": [*room.captured(1), str(uuid4())], "added_by": "dana"}
        problem(room.http.post(f"/v1/batches/{batch}/images", json=body), 404, "unknown-image")
        assert room.progress(batch) == {}
        assert room.registry.get("/v1/images")["items"] == []

    def test_what_cannot_be_asked(self, room: Room) -> None:
        wrong: list[tuple[dict[str, Any], int, str]] = [
            ({"mode": "consensus"}, 422, "answers-too-few"),
            ({"mode": "single", "answers_wanted": 2}, 422, "answers-too-many"),
            ({"mode": "consensus", "answers_wanted": 3, "people": ["ada", "ben"]}, 422, "people-too-few"),
            ({"review": {"plan": "fraction"}}, 422, "unknown-review-plan"),
            ({"review": {"plan": "iso2859", "aql": 3.0, "level": "II"}}, 422, "unknown-review-plan"),
            ({"taxonomy_version": "t9"}, 404, "unknown-taxonomy"),
            ({"mode": "many"}, 422, "invalid-request"),
        ]
        for asked, status, reason in wrong:
            body = {"name": "b", "created_by": "dana", **asked}
            problem(room.http.post("/v1/batches", json=body), status, reason)

    def test_a_name_is_taken_once(self, room: Room) -> None:
        room.batch([], "same")
        problem(
            room.http.post("/v1/batches", json={"name": "same", "created_by": "dana"}),
            409,
            "batch-name-taken",
        )

    def test_a_closed_batch_gives_out_nothing_but_what_was_begun(self, room: Room) -> None:
        batch = room.batch(room.captured(2))
        room.said(room.next("ada"), "ada", GOOD)
        held = room.next("ada")
        closed = room.http.post(f"/v1/batches/{batch}/close", json={"closed_by": "dana"})
        assert closed.json()["closed_at"] is not None
        assert room.next("ben") is None
        problem(room.say(held, "ada", GOOD), 409, "batch-closed")
        problem(
            room.http.post(f"/v1/batches/{batch}/images", json={"images": [str(uuid4())], "added_by": "d"}),
            409,
            "batch-closed",
        )
        seen = room.next("ben", "review")
        room.reviewed(seen, "ben", "send-back", note="look again")
        assert room.said(room.next("ada"), "ada", GOOD)["state"] == "to-review"
        assert [b["batch_id"] for b in room.registry.get("/v1/batches", open=False)["items"]] == [batch]

    def test_lists_are_pages(self, room: Room) -> None:
        images = room.captured(5)
        room.batch(images)
        first = room.registry.get("/v1/images", limit=3, line="line-a", station="cell-1")
        second = room.registry.get("/v1/images", limit=3, cursor=first["next_cursor"])
        assert sorted(i["image_id"] for i in first["items"] + second["items"]) == sorted(images)
        assert second["next_cursor"] is None

    def test_the_images_behind_a_figure(self, room: Room) -> None:
        images = room.captured(3, part_number="8-114")
        one, _ = room.batch(images[:2], "one"), room.batch(images[2:], "two")
        said = room.said(room.next("ada", batch_id=one), "ada", GOOD)["image"]["image_id"]
        (left,) = {*images[:2]} - {said}

        def found(**wanted: Any) -> set[str]:
            return {image["image_id"] for image in room.registry.get("/v1/images", **wanted)["items"]}

        assert found(batch_id=one) == {*images[:2]}
        assert found(batch_id=one, state="to-review") == {said}
        assert found(state="to-label") == {left, images[2]}
        assert found(state="disputed") == set()
        assert found(part_number="8-114") == {*images}
        assert found(part_number="8-115") == set()

    def test_the_picture_of_an_image_and_of_a_capture_that_is_none_yet(self, room: Room) -> None:
        images = room.captured(2)
        room.batch(images[:1])
        for image in images:
            answer = room.http.get(f"/v1/images/{image}/picture", params={"view": "original"})
            assert answer.content == PIXELS
            again = room.http.get(
                f"/v1/images/{image}/picture",
                params={"view": "original"},
                headers={"If-None-Match": answer.headers["ETag"]},
            )
            assert again.status_code == 304


class TestOrder:
    def test_the_image_from_which_most_can_be_learned_comes_first(self, room: Room) -> None:
        images = room.captured(3)
        registry = room.registry
        registry.take(registry.trained("r1"))
        for number, score in (("1", 0.02), ("2", 0.5), ("3", 0.9)):
            decided = registry.decided(number)
            evidence = decided.data.evidence
            object.__setattr__(evidence, "defect_score", score)
            object.__setattr__(evidence, "predicted_class", None)
            registry.take(decided)
        room.batch(images)
        order = []
        for _ in images:
            task = room.next("ada")
            order.append((task["image"]["image_id"], task["priority_reason"]))
            room.said(task, "ada", GOOD)
        assert [image for image, _ in order] == [images[1], images[2], images[0]]
        assert order[0][1] == "uncertain 1.00"

    def test_images_about_which_people_differ_come_first(self, room: Room) -> None:
        images = room.captured(2)
        room.registry.take(room.registry.requested("2", answers=2))
        room.registry.answer("2", "ada", "good")
        room.registry.answer("2", "ben", "defect", class_name="crack")
        room.batch(images)
        task = room.next("cleo")
        assert (task["image"]["image_id"], task["priority_reason"]) == (images[1], "disagreement 1.00")

    def test_what_looks_like_nothing_labeled_comes_forward_once_it_was_looked_at(self, room: Room) -> None:
        registry = room.registry
        known, alike, new = room.captured(3)
        for image, pixels in ((known, clouds(1)), (alike, clouds(1) // 2), (new, clouds(2))):
            put_picture(registry, image, pixels)
        room.batch([known], "known", review={"plan": "fraction", "fraction": 0})
        room.said(room.next("ada"), "ada", GOOD)
        with registry.database.transaction() as tx:
            assert Novelty(registry.objects).look(tx.connection) == 1
        room.batch([alike, new], "next")
        with registry.database.transaction() as tx:
            assert Novelty(registry.objects).look(tx.connection) == 2
            assert Novelty(registry.objects).look(tx.connection) == 0
        first = room.next("ada")
        assert first["image"]["image_id"] == new
        assert first["priority_reason"].startswith("novel")

    def test_a_picture_that_is_gone_is_looked_at_once(self, room: Room) -> None:
        room.batch(room.captured(1))
        for expected in (1, 0):
            with room.registry.database.transaction() as tx:
                assert Novelty(room.registry.objects).look(tx.connection) == expected

    def test_equals_go_by_age(self, room: Room) -> None:
        images = room.captured(3)
        batch = room.batch([images[2]])
        for image in (images[0], images[1]):
            room.registry.clock.advance(1)
            room.add(batch, [image])
        taken = [room.next(person)["image"]["image_id"] for person in ("ada", "ben", "cleo")]
        assert taken == [images[2], images[0], images[1]]

    def test_what_follows_is_named_so_that_it_can_be_fetched_ahead(self, room: Room) -> None:
        room.batch(room.captured(6))
        given = room.http.post("/v1/work/next", json={"person": "ada"}).json()
        following = [task["task_id"] for task in given["following"]]
        assert len(following) == 3
        room.said(given["task"], "ada", GOOD)
        assert room.next("ada")["task_id"] == following[0]

    def test_only_the_batch_that_was_asked_for(self, room: Room) -> None:
        images = room.captured(2)
        room.batch(images[:1], "one")
        two = room.batch(images[1:], "two")
        assert room.next("ada", batch_id=two)["batch_name"] == "two"
        assert room.next("ben", batch_id=two) is None


class TestClaims:
    def test_who_comes_back_gets_the_task_that_they_hold(self, room: Room) -> None:
        room.batch(room.captured(2))
        task = room.next("ada")
        assert room.next("ada")["task_id"] == task["task_id"]
        assert task["claim_expires_at"] == "2026-01-01T00:15:00Z"

    def test_who_skips_a_task_gets_another_one(self, room: Room) -> None:
        room.batch(room.captured(2))
        first = room.next("ada")
        second = room.next("ada", after=first["task_id"])
        assert second["task_id"] != first["task_id"]
        assert room.next("ben")["task_id"] == first["task_id"]

    def test_a_claim_runs_out_unless_a_draft_renews_it(self, room: Room) -> None:
        room.batch(room.captured(1))
        task = room.next("ada")
        room.registry.clock.advance(14 * 60)
        assert room.draft(task, "ada", GOOD).json()["claim_expires_at"] == "2026-01-01T00:29:00Z"
        room.registry.clock.advance(14 * 60)
        assert room.next("ben") is None
        room.registry.clock.advance(2 * 60)
        assert room.next("ben")["task_id"] == task["task_id"]

    def test_who_lost_a_claim_keeps_the_draft_but_cannot_answer(self, room: Room) -> None:
        room.batch(room.captured(1))
        task = room.next("ada")
        room.registry.clock.advance(3600)
        room.next("ben")
        saved = room.draft(task, "ada", marked(box()))
        assert (saved.status_code, saved.json()["claim_expires_at"]) == (200, None)
        problem(room.say(task, "ada", GOOD), 409, "held-by-another")
        assert room.task(task["task_id"], "ada")["draft"]["version"] == 1

    def test_a_claim_that_nobody_took_over_is_good_still(self, room: Room) -> None:
        room.batch(room.captured(1))
        task = room.next("ada")
        room.registry.clock.advance(3600)
        assert room.draft(task, "ada", GOOD).json()["claim_expires_at"] == "2026-01-01T01:15:00Z"
        room.registry.clock.advance(3600)
        assert room.said(task, "ada", GOOD)["state"] == "to-review"

    def test_a_task_that_is_given_back_is_for_the_next(self, room: Room) -> None:
        room.batch(room.captured(1))
        task = room.next("ada")
        assert room.next("ben") is None
        for _ in range(2):
            answer = room.http.delete(f"/v1/tasks/{task['task_id']}/claim", params={"person": "ada"})
            assert answer.status_code == 204
        assert room.next("ben")["task_id"] == task["task_id"]

    def test_two_people_do_not_review_the_same(self, room: Room) -> None:
        room.batch(room.captured(1))
        room.said(room.next("ada"), "ada", GOOD)
        assert room.next("ben", "review") is not None
        assert room.next("cleo", "review") is None


class TestDrafts:
    def test_a_draft_goes_from_version_to_version(self, room: Room) -> None:
        room.batch(room.captured(1))
        task = room.next("ada")
        first = room.draft(task, "ada", marked(box(at=(1, 1, 0, 0))))
        assert (first.status_code, first.headers["ETag"]) == (200, '"1"')
        second = room.draft(task, "ada", marked(box()), version=1)
        assert (second.json()["version"], second.headers["ETag"]) == (2, '"2"')
        assert room.next("ada")["draft"]["annotation"]["shapes"][0]["box"] == [10, 10, 40, 20]

    def test_the_second_tab_is_told_and_given_the_first_ones_version(self, room: Room) -> None:
        room.batch(room.captured(1))
        task = room.next("ada")
        room.draft(task, "ada", GOOD)
        room.draft(task, "ada", marked(box("crack")), version=1)
        late = room.draft(task, "ada", marked(box("scratch")), version=1)
        problem(late, 412, "draft-changed")
        assert late.json()["current"]["version"] == 2
        assert late.json()["current"]["annotation"]["shapes"][0]["class_name"] == "crack"
        assert room.draft(task, "ada", marked(box("scratch")), version=2).json()["version"] == 3

    def test_the_same_again_is_no_conflict(self, room: Room) -> None:
        """The answer was lost on its way, so the browser sends it once more."""
        room.batch(room.captured(1))
        task = room.next("ada")
        for _ in range(2):
            assert room.draft(task, "ada", GOOD).json()["version"] == 1
        for _ in range(2):
            assert room.draft(task, "ada", marked(box()), version=1).json()["version"] == 2

    def test_drafts_are_private_and_gone_with_the_answer(self, room: Room) -> None:
        room.batch(room.captured(1), mode="consensus", answers_wanted=2)
        task = room.next("ada")
        room.draft(task, "ada", marked(box()))
        assert room.next("ben")["draft"] is None
        assert room.said(task, "ada", GOOD)["draft"] is None
        late = room.draft(task, "ada", marked(box()), version=1)
        problem(late, 412, "draft-gone")
        assert late.json()["current"] is None

    def test_an_answer_to_what_has_changed_is_refused_and_the_draft_kept(self, room: Room) -> None:
        room.batch(room.captured(1))
        task = room.next("ada")
        room.registry.clock.advance(3600)
        other = room.next("ben")
        room.draft(task, "ada", marked(box()))
        room.said(other, "ben", GOOD)
        late = room.say(task, "ada", marked(box()))
        problem(late, 412, "task-changed")
        assert late.json()["version"] == 2
        assert room.task(task["task_id"], "ada")["draft"]["version"] == 1

    def test_the_etag_of_a_task_is_its_version(self, room: Room) -> None:
        room.batch(room.captured(1))
        task = room.next("ada")
        answer = room.http.get(f"/v1/tasks/{task['task_id']}", params={"person": "ada"})
        assert answer.headers["ETag"] == '"1"'

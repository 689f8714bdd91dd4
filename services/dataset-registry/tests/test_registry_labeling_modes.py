"""Consensus, gold checks and sampling by lot on real PostgreSQL."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Registry
from .labeling_room import GOOD, Room, box, marked
from .test_registry_api import problem

ISO = {"plan": "iso2859", "aql": 4.0, "level": "II"}


@pytest.fixture
def room(registry: Registry) -> Room:
    return Room(registry)


class TestConsensus:
    def test_nobody_sees_anything_before_all_have_answered(self, room: Room) -> None:
        (image,) = room.captured(1)
        room.batch([image], mode="consensus", answers_wanted=3)
        tasks = {person: room.next(person) for person in ("ada", "ben", "cleo")}
        assert room.next("dora") is None
        for person in ("ada", "ben"):
            said = room.said(tasks[person], person, marked(box()))
            assert (said["state"], said["version"], said["answers"]) == ("to-label", 1, [])
            for other in ("cleo", "olga"):
                assert room.task(said["task_id"], other)["answers"] == []
            seen = room.image(image)
            assert (seen["blind"], seen["label"], seen["history"]) == (True, None, [])
        problem(room.say(tasks["ada"], "ada", GOOD), 409, "already-answered")
        done = room.said(tasks["cleo"], "cleo", marked(box(at=(11, 10, 40, 20))))
        assert (done["state"], [a["author"] for a in done["answers"]]) == ("done", ["ada", "ben", "cleo"])

    def test_those_who_agree_make_the_label_and_none_approves_their_own(self, room: Room) -> None:
        (image,) = room.captured(1)
        room.batch([image], mode="consensus", answers_wanted=2)
        for person in ("ada", "ben"):
            room.said(room.next(person), person, marked(box("scratch")))
        (label,) = room.registry.published("label.approved")
        assert (label.class_name, label.approved_by) == ("scratch", "ben")
        found = room.image(image)
        assert (found["label"]["author"], found["label"]["approved_by"]) == ("ada", "ben")
        assert [[d["decision"] for d in said["decisions"]] for said in found["history"]] == [
            ["approved"],
            ["superseded"],
        ]

    @pytest.mark.parametrize("other", [GOOD, marked(box("scratch")), marked(box(at=(200, 200, 40, 20)))])
    def test_those_who_differ_go_to_the_qa_owner(self, room: Room, other: dict[str, Any]) -> None:
        batch = room.batch(room.captured(1), mode="consensus", answers_wanted=2)
        room.said(room.next("ada"), "ada", marked(box("crack")))
        task = room.said(room.next("ben"), "ben", other)
        assert (task["state"], room.progress(batch)) == ("disputed", {"disputed": 1})
        assert room.registry.published("label.approved") == []
        assert room.next("ben", "adjudicate") is None
        problem(room.review(task, "ben", "decide", annotation=GOOD), 403, "not-a-qa-owner")
        problem(room.review(task, "ben", "approve"), 409, "not-to-be-reviewed")
        seen = room.next("olga", "adjudicate")
        assert [a["author"] for a in seen["answers"]] == ["ada", "ben"]
        chosen = seen["answers"][0]["annotation_id"]
        decided = room.reviewed(seen, "olga", "decide", annotation_id=chosen, note="clear")
        assert decided["state"] == "done"
        (label,) = room.registry.published("label.approved")
        assert (label.class_name, label.approved_by) == ("crack", "olga")

    def test_the_qa_owner_may_give_an_own_annotation(self, room: Room) -> None:
        (image,) = room.captured(1)
        room.batch([image], mode="consensus", answers_wanted=2)
        room.said(room.next("ada"), "ada", marked(box("crack")))
        room.said(room.next("ben"), "ben", GOOD)
        task = room.next("olga", "adjudicate")
        bad = room.review(task, "olga", "decide", annotation=marked(box("dent")))
        problem(bad, 422, "unknown-class")
        room.reviewed(task, "olga", "decide", annotation=marked(box("scratch")), note="neither")
        assert room.image(image)["label"]["author"] == "olga"
        states = [said["decisions"][-1]["decision"] for said in room.image(image)["history"]]
        assert states == ["superseded", "superseded", "approved"]

    def test_a_qa_owner_who_answered_does_not_decide(self, room: Room) -> None:
        room.batch(room.captured(1), mode="consensus", answers_wanted=2)
        room.said(room.next("ada"), "ada", marked(box("crack")))
        task = room.said(room.next("olga"), "olga", GOOD)
        assert task["state"] == "disputed"
        assert room.next("olga", "adjudicate") is None
        problem(room.review(task, "olga", "decide", annotation=GOOD), 403, "own-work")

    def test_an_answer_of_another_task_cannot_be_chosen(self, room: Room) -> None:
        room.batch(room.captured(1), mode="consensus", answers_wanted=2)
        room.said(room.next("ada"), "ada", marked(box("crack")))
        task = room.said(room.next("ben"), "ben", GOOD)
        problem(room.review(task, "olga", "decide", annotation_id=task["task_id"]), 404, "unknown-annotation")


class TestGold:
    @pytest.fixture
    def gold(self, room: Room) -> tuple[Room, str, str]:
        """Two images, the first of which is known to have a crack; a gold batch with both."""
        images = room.captured(2)
        room.batch(images[:1], "known", review={"plan": "fraction", "fraction": 0})
        room.said(room.next("dana"), "dana", marked(box("crack")))
        return room, room.batch(images, "check", mode="gold", answers_wanted=2), images[0]

    def test_who_answers_a_known_image_is_scored_and_cannot_tell(self, gold: tuple[Room, str, str]) -> None:
        room, batch, known = gold
        looks = {}
        for person, class_name in (("ada", "crack"), ("ben", "scratch")):
            for _ in range(2):
                task = room.next(person, batch_id=batch)
                if task is None:
                    continue
                said = room.said(task, person, marked(box(class_name)))
                is_gold = task["image"]["image_id"] == known
                shown = {name: task[name] for name in ("state", "wanted", "version", "proposal", "answers")}
                after = {name: said[name] for name in ("state", "wanted", "version", "answers")}
                looks[is_gold] = (shown, after)
        assert looks[True] == looks[False]
        assert room.image(known)["label"]["annotation"]["shapes"][0]["class_name"] == "crack"
        scores = room.registry.get(f"/v1/batches/{batch}/gold")["items"]
        assert [(s["person"], s["answers"], s["agreed"], s["score"]) for s in scores] == [
            ("ada", 1, 1, 1.0),
            ("ben", 1, 0, 0.0),
        ]

    def test_while_it_is_out_its_label_is_hidden(self, gold: tuple[Room, str, str]) -> None:
        room, batch, known = gold
        assert (room.image(known)["label"], room.image(known)["history"]) == (None, [])
        for person in ("ada", "ben"):
            while (task := room.next(person, batch_id=batch)) is not None:
                room.said(task, person, GOOD)
        assert room.image(known)["label"]["annotation"]["shapes"][0]["class_name"] == "crack"
        assert len(room.registry.published("label.approved")) == 1, "answers on known images make no labels"


class TestLots:
    def labeled(self, room: Room, count: int, plan: dict[str, Any] | None = None) -> str:
        batch = room.batch(room.captured(count), review=plan or ISO)
        while (task := room.next("ada")) is not None:
            room.said(task, "ada", GOOD)
        return batch

    def test_a_sample_is_reviewed_and_the_rest_waits(self, room: Room) -> None:
        batch = self.labeled(room, 20)
        (lot,) = room.registry.get(f"/v1/batches/{batch}")["lots"]
        assert (lot["size"], lot["sample_size"], lot["accept"], lot["state"]) == (20, 3, 0, "open")
        assert room.progress(batch) == {"to-review": 3, "waiting": 17}
        assert room.registry.published("label.approved") == []

    def test_an_accepted_lot_is_approved_as_a_whole(self, room: Room) -> None:
        batch = self.labeled(room, 20)
        for _ in range(3):
            room.reviewed(room.next("ben", "review"), "ben", "approve")
        assert room.progress(batch) == {"done": 20}
        by = [label.approved_by for label in room.registry.published("label.approved")]
        assert sorted(set(by)) == ["ISO 2859-1, AQL 4.0, level II", "ben"]
        assert (by.count("ben"), len(by)) == (3, 20)
        assert room.registry.line()["labelled"] == 20

    def test_a_rejected_lot_is_reviewed_as_a_whole(self, room: Room) -> None:
        batch = self.labeled(room, 20)
        room.reviewed(room.next("ben", "review"), "ben", "send-back", note="look again")
        (lot,) = room.registry.get(f"/v1/batches/{batch}")["lots"]
        assert (lot["nonconforming"], lot["state"]) == (1, "rejected")
        assert room.progress(batch) == {"sent-back": 1, "to-review": 19}

    def test_a_fault_counts_once_however_often_it_comes_back(self, room: Room) -> None:
        plan = ISO | {"level": "III"}
        batch = self.labeled(room, 30, plan)
        task = room.next("ben", "review")
        for _ in range(2):
            room.reviewed(task, "ben", "send-back", note="look again")
            task = room.said(room.next("ada"), "ada", GOOD)
        (lot,) = room.registry.get(f"/v1/batches/{batch}")["lots"]
        assert (lot["accept"], lot["reviewed"], lot["nonconforming"], lot["state"]) == (1, 1, 1, "open")

    def test_what_is_labeled_after_the_verdict_follows_it(self, room: Room) -> None:
        batch = room.batch(room.captured(20), review=ISO)
        held = room.next("late")
        while held["task_id"] in self.sampled(room):
            held = room.next("late", after=held["task_id"])
        while (task := room.next("ada")) is not None:
            room.said(task, "ada", GOOD)
        while (task := room.next("ben", "review")) is not None:
            room.reviewed(task, "ben", "approve")
        assert room.said(held, "late", GOOD)["state"] == "done"
        assert room.progress(batch) == {"done": 20}

    def sampled(self, room: Room) -> set[str]:
        with room.registry.database.transaction() as tx:
            rows = tx.connection.execute("SELECT task_id::text FROM tasks WHERE sampled").fetchall()
        return {row["task_id"] for row in rows}

    def test_each_addition_is_a_lot_of_its_own(self, room: Room) -> None:
        images = room.captured(12)
        batch = room.batch(images[:8], review=ISO)
        room.add(batch, images[8:])
        lots = room.registry.get(f"/v1/batches/{batch}")["lots"]
        assert [(lot["lot"], lot["size"], lot["sample_size"]) for lot in lots] == [(1, 8, 3), (2, 4, 3)]

    def test_a_fraction_is_reviewed_and_the_rest_is_done(self, room: Room) -> None:
        batch = self.labeled(room, 30, {"plan": "fraction", "fraction": 0.5})
        counts = room.progress(batch)
        assert counts["to-review"] + counts["done"] == 30
        assert 5 < counts["to-review"] < 25

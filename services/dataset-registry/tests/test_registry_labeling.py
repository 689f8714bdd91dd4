"""The labeling room on real PostgreSQL: from a batch to labels in force."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest
from andon_chassis.testing import CRACK

from .conftest import Registry
from .labeling_room import GOOD, Room, box, marked, reasons
from .test_registry_api import problem


@pytest.fixture
def room(registry: Registry) -> Room:
    return Room(registry)


class TestThread:
    def test_a_label_is_said_by_one_and_approved_by_another(self, room: Room) -> None:
        (image,) = room.captured(1)
        batch = room.batch([image])
        task = room.next("ada")
        assert (task["kind"], task["state"], task["version"]) == ("label", "to-label", 1)
        assert task["image"]["image_id"] == image
        assert (task["image"]["width"], task["image"]["height"]) == (300, 300)
        said = room.said(task, "ada", marked(box("crack")))
        assert (said["state"], said["version"], room.progress(batch)) == ("to-review", 2, {"to-review": 1})
        seen = room.next("ben", "review")
        (answer,) = seen["answers"]
        assert (seen["kind"], answer["author"]) == ("review", "ada")
        assert answer["annotation"]["shapes"][0]["measurements"]["width_px"] == 40.0
        assert room.reviewed(seen, "ben", "approve")["state"] == "done"
        (label,) = room.registry.published("label.approved")
        assert (label.capture_id, label.class_name, label.is_defect, label.approved_by) == (
            image,
            "crack",
            True,
            "ben",
        )
        assert (label.taxonomy_version, label.review_id, label.image) == ("t1", None, room.registry.image)
        assert room.registry.keys("label.approved") == ["line-a/cell-1"]
        (row,) = room.registry.get("/v1/labels")["items"]
        assert (row["label_id"], row["source"]) == (label.label_id, "annotation")
        assert room.registry.line()["labelled"] == 1

    def test_a_second_label_supersedes_the_first_and_nothing_is_lost(self, room: Room) -> None:
        (image,) = room.captured(1)
        for name, said in (("first", marked(box("scratch"))), ("second", marked(box("crack")))):
            room.batch([image], name)
            room.said(room.next("ada"), "ada", said)
            room.reviewed(room.next("ben", "review"), "ben", "approve", note=name)
        found = room.image(image)
        assert found["label"]["annotation"]["shapes"][0]["class_name"] == "crack"
        decided = [[d["decision"] for d in said["decisions"]] for said in found["history"]]
        assert decided == [["approved", "superseded"], ["approved"]]
        assert [label.class_name for label in room.registry.published("label.approved")] == [
            "scratch",
            "crack",
        ]

    def test_the_most_severe_class_is_that_of_the_capture(self, room: Room) -> None:
        room.batch(room.captured(1), review={"plan": "fraction", "fraction": 0})
        said = marked(box("scratch", shape_id="a"), box("crack", shape_id="b"))
        assert room.said(room.next("ada"), "ada", said)["state"] == "done"
        (label,) = room.registry.published("label.approved")
        assert (label.class_name, label.approved_by) == ("crack", "review of 0%")

    def test_an_imported_image_gets_a_label_but_no_capture_event(self, room: Room) -> None:
        image = str(uuid4())
        with room.registry.database.transaction() as tx:
            tx.connection.execute(
                "INSERT INTO images (image_id, origin, name, object, width, height, context, captured_at, added_at,"
                " added_by) VALUES (%s, 'import', 'a.png', '{}', 300, 300, '{}', now(), now(), 'dana')",
                (image,),
            )
        room.batch([image], review={"plan": "fraction", "fraction": 0})
        room.said(room.next("ada"), "ada", marked(box()))
        assert room.image(image)["label"]["annotation"]["shapes"][0]["class_name"] == "crack"
        assert room.registry.published("label.approved") == []

    def test_millimetres_come_with_the_scale_of_the_station(self, room: Room) -> None:
        standard = {"capture_standard_version": "c1", "mm_per_pixel": 0.25, "published_by": "olga"}
        assert room.http.put("/v1/stations/line-a/cell-1", json=standard).status_code == 201
        room.batch(room.captured(1))
        points = {"start": [10, 10], "end": [50, 40]}
        crack = {"shape_id": "k", "class_name": "crack", "kind": "key-points", "points": points}
        said = room.said(room.next("ada"), "ada", marked(crack | {"joins": [["start", "end"]]}))
        assert said["image"]["mm_per_pixel"] == 0.25
        shown = room.next("ben", "review")["answers"][0]["annotation"]["shapes"][0]
        assert (shown["measurements"]["length_px"], shown["measurements"]["length_mm"]) == (50.0, 12.5)

    def test_annotations_cannot_be_changed_even_by_hand(self, room: Room) -> None:
        room.batch(room.captured(1))
        room.said(room.next("ada"), "ada", GOOD)
        for statement in ("UPDATE annotations SET author = 'eve'", "DELETE FROM annotations"):
            with pytest.raises(psycopg.errors.RaiseException), room.registry.database.transaction() as tx:
                tx.connection.execute(statement.encode())


class TestReview:
    def test_nobody_reviews_their_own_work(self, room: Room) -> None:
        room.batch(room.captured(1))
        task = room.said(room.next("ada"), "ada", GOOD)
        assert room.next("ada", "review") is None
        problem(room.review(task, "ada", "approve"), 403, "own-work")
        assert room.registry.published("label.approved") == []

    def test_what_is_sent_back_returns_to_its_author_with_the_note(self, room: Room) -> None:
        batch = room.batch(room.captured(2))
        task = room.said(room.next("ada"), "ada", marked(box("crack")))
        problem(room.review(task, "ben", "send-back"), 422, "note-missing")
        assert room.reviewed(task, "ben", "send-back", note="it is a scratch")["state"] == "sent-back"
        other = room.next("cleo")
        assert other["task_id"] != task["task_id"], "it waits for nobody but its author"
        again = room.next("ada")
        assert (again["task_id"], again["note"], again["state"]) == (
            task["task_id"],
            "it is a scratch",
            "sent-back",
        )
        assert again["proposal"]["shapes"][0]["class_name"] == "crack", "the author goes on from there"
        problem(room.say(again, "cleo", GOOD), 409, "sent-back-to-another")
        room.said(again, "ada", marked(box("scratch")))
        seen = room.next("ben", "review")
        assert [said["author"] for said in seen["answers"]] == ["ada"]
        room.reviewed(seen, "ben", "approve")
        first, second = room.image(task["image"]["image_id"])["history"]
        assert second["supersedes"] == first["annotation_id"]
        assert [d["decision"] for d in first["decisions"]] == ["sent-back"]
        assert room.progress(batch) == {"to-label": 1, "done": 1}

    def test_an_author_who_does_not_come_back_holds_nothing_up(self, room: Room) -> None:
        room.batch(room.captured(1))
        task = room.said(room.next("ada"), "ada", marked(box("crack")))
        room.reviewed(task, "ben", "send-back", note="it is a scratch")
        assert room.next("cleo") is None
        room.registry.clock.advance(25 * 3600)
        again = room.next("cleo")
        assert [shape["confirmed"] for shape in again["proposal"]["shapes"]] == [False]
        assert room.next("dora") is None, "cleo has it now"
        problem(room.say(again, "ada", GOOD), 409, "held-by-another")
        room.said(again, "cleo", marked(box("scratch")))
        seen = room.next("ben", "review")
        assert [said["author"] for said in seen["answers"]] == ["cleo"]
        problem(room.review(seen, "cleo", "approve"), 403, "own-work")
        room.reviewed(seen, "ben", "approve")
        assert room.image(task["image"]["image_id"])["label"]["author"] == "cleo"

    def test_sent_back_too_often_it_is_for_the_qa_owner(self, room: Room) -> None:
        room.batch(room.captured(1))
        for _ in range(3):
            task = room.said(room.next("ada"), "ada", marked(box("crack")))
            task = room.reviewed(task, "ben", "send-back", note="no crack")
        assert task["state"] == "disputed"
        assert room.next("ada") is None
        seen = room.next("olga", "adjudicate")
        room.reviewed(seen, "olga", "decide", annotation=GOOD, note="a reflection")
        (label,) = room.registry.published("label.approved")
        assert (label.class_name, label.approved_by) == ("good", "olga")

    def test_the_annotation_that_was_looked_at_is_the_one_that_is_approved(self, room: Room) -> None:
        room.batch(room.captured(1))
        task = room.said(room.next("ada"), "ada", marked(box("crack")))
        seen = room.task(task["task_id"], "ben")
        room.reviewed(seen, "cleo", "send-back", note="smaller")
        room.said(room.next("ada"), "ada", marked(box("crack", (10, 10, 20, 20))))
        old = seen["answers"][0]["annotation_id"]
        problem(room.review(task, "ben", "approve", annotation_id=old), 412, "annotation-superseded")

    def test_a_batch_for_some_people_is_reviewed_by_them_and_by_reviewers(self, room: Room) -> None:
        room.batch(room.captured(1), people=["ada", "cleo"])
        assert room.next("dora") is None
        task = room.said(room.next("ada"), "ada", GOOD)
        problem(room.review(task, "dora", "approve"), 403, "not-assigned")
        assert room.next("dora", "review") is None
        assert room.next("cleo", "review") is not None
        room.registry.clock.advance(3600)
        assert room.next("ben", "review") is not None, "ben has the role reviewer"

    def test_only_a_dispute_is_decided(self, room: Room) -> None:
        room.batch(room.captured(1))
        task = room.said(room.next("ada"), "ada", GOOD)
        problem(room.review(task, "olga", "decide", annotation=GOOD), 409, "not-disputed")
        problem(room.review(task, "olga", "decide"), 422, "invalid-request")
        problem(room.review(task, "ben", "approve", annotation=GOOD), 422, "invalid-request")


class TestDoubts:
    def test_a_doubt_goes_to_the_bucket_and_makes_no_label(self, room: Room) -> None:
        room.batch(room.captured(3), review={"plan": "fraction", "fraction": 0})
        doubt = {"reason": "between-classes", "note": "crack or scratch", "proposed_class": "crack"}
        room.said(room.next("ada"), "ada", {"verdict": "ambiguous", "ambiguity": doubt})
        unclear = {"verdict": "ambiguous", "ambiguity": {"reason": "image-quality"}}
        room.said(room.next("ada"), "ada", unclear)
        room.said(room.next("ada"), "ada", {"verdict": "unusable"})
        assert room.registry.published("label.approved") == []
        bucket = room.registry.get("/v1/ambiguous")
        assert bucket["by_reason"] == {"between-classes": 1, "image-quality": 1}
        (found,) = room.registry.get("/v1/ambiguous", reason="between-classes")["items"]
        assert (found["author"], found["ambiguity"]) == ("ada", doubt)

    def test_a_doubt_that_was_resolved_leaves_the_bucket(self, room: Room) -> None:
        (image,) = room.captured(1)
        plan = {"plan": "fraction", "fraction": 0}
        room.batch([image], "first", review=plan)
        room.said(room.next("ada"), "ada", {"verdict": "ambiguous", "ambiguity": {"reason": "boundary"}})
        room.batch([image], "second", review=plan)
        room.said(room.next("ben"), "ben", GOOD)
        assert room.registry.get("/v1/ambiguous") == {"items": [], "next_cursor": None, "by_reason": {}}


class TestProposals:
    def test_a_model_proposes_and_a_person_confirms(self, room: Room) -> None:
        images = room.captured(1)
        room.registry.take(room.registry.decided("1"))
        room.batch(images)
        task = room.next("ada")
        (shape,) = task["proposal"]["shapes"]
        assert (shape["class_name"], shape["origin"], shape["confirmed"]) == (
            CRACK.class_name,
            "model",
            False,
        )
        proposal = task["proposal"] | {"shapes": [shape]}
        assert reasons(room.say(task, "ada", proposal)) == [("proposal-not-confirmed", shape["shape_id"])]
        room.said(task, "ada", task["proposal"] | {"shapes": [shape | {"confirmed": True}]})
        (answer,) = room.next("ben", "review")["answers"]
        assert (answer["author"], answer["annotation"]["shapes"][0]["origin"]) == ("ada", "model")

    def test_who_labels_an_image_again_begins_with_its_label(self, room: Room) -> None:
        images = room.captured(1)
        room.batch(images, "first", review={"plan": "fraction", "fraction": 0})
        room.said(room.next("ada"), "ada", marked(box("scratch")))
        room.batch(images, "relabel")
        (shape,) = room.next("ben")["proposal"]["shapes"]
        assert (shape["class_name"], shape["origin"], shape["confirmed"]) == ("scratch", "person", False)

    def test_in_blind_work_nothing_is_proposed(self, room: Room) -> None:
        images = room.captured(1)
        room.registry.take(room.registry.decided("1"))
        room.batch(images, mode="consensus", answers_wanted=2)
        assert room.next("ada")["proposal"] is None

    def test_earlier_images_of_the_part_are_shown_with_their_labels(self, room: Room) -> None:
        first, second = room.captured(1, part_id="p7"), list[str]()
        room.batch(first, "first", review={"plan": "fraction", "fraction": 0})
        room.said(room.next("ada"), "ada", marked(box("scratch")))
        room.registry.clock.advance(60)
        room.registry.take(room.registry.captured("later", part_id="p7"))
        second = [item["capture_id"] for item in room.registry.get("/v1/captures", part_id="p7")["items"]]
        room.batch([second[0]], "second")
        (before,) = room.next("ada")["previous_of_part"]
        assert before["image_id"] == first[0]
        assert before["annotation"]["shapes"][0]["class_name"] == "scratch"

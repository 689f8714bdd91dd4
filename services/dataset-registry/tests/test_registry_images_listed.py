"""Images by class and by segment; what nobody may know of an image, no filter tells."""

from __future__ import annotations

import pytest

from .conftest import Registry
from .labeling_room import GOOD, Room, box, marked

APPROVED = {"plan": "fraction", "fraction": 0.0}


@pytest.fixture
def room(registry: Registry) -> Room:
    return Room(registry)


def found(room: Room, class_name: str, **more: str) -> set[str]:
    rows = room.registry.get("/v1/images", class_name=class_name, **more)["items"]
    return {row["image_id"] for row in rows}


def test_a_class_is_that_of_the_whole_image_or_of_a_mark(room: Room) -> None:
    room.batch(room.captured(3), review=APPROVED)
    said = [GOOD, marked(box("crack")), marked(box("scratch"), box("crack", shape_id="s2"))]
    images = []
    for annotation in said:
        task = room.next("ada")
        images.append(task["image"]["image_id"])
        room.said(task, "ada", annotation)
    assert found(room, "good") == {images[0]}
    assert found(room, "crack") == {images[1], images[2]}
    assert found(room, "scratch", line="line-a") == {images[2]}
    assert found(room, "scratch", line="line-b") == set()
    assert found(room, "no' class") == set()


def test_what_is_in_blind_work_is_not_found_by_its_class(room: Room) -> None:
    (image,) = room.captured(1)
    room.batch([image], review=APPROVED)
    room.said(room.next("ada"), "ada", GOOD)
    assert found(room, "good") == {image}
    room.batch([image], "again", mode="consensus", answers_wanted=2)
    assert found(room, "good") == set()


def test_what_an_image_was_marked_for_is_shown_and_found(room: Room) -> None:
    images = room.captured(2)
    room.batch(images)

    def mark(segment: str | None, **more: str) -> None:
        marks = [{"image_id": images[0], "segment": segment, **more}]
        body = {"marked_by": "dana", "marks": marks}
        assert room.http.post("/v1/datasets/segment-marks", json=body).status_code == 201

    def marked_so(segment: str) -> list[str]:
        return [row["image_id"] for row in room.registry.get("/v1/images", segment=segment)["items"]]

    mark("normal")
    mark("edge-case", kind="lighting")
    assert room.image(images[0])["segment"] == "edge-case"
    assert (marked_so("edge-case"), marked_so("normal")) == ([images[0]], [])
    mark(None)
    assert room.image(images[0])["segment"] is None

"""A holdout goes out in no list: every route that gives many images at once is walked."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from dataset_registry.adapters.noting import note_holdouts
from dataset_registry.domain.accounts import Account, Role

from .conftest import Registry, capture
from .dataset_room import PART_KEYS, cut, evaluate, items, label
from .labeling_room import Room, box, marked
from .test_registry_api import problem
from .test_registry_exports import exported
from .test_registry_sign_in import HASHED, Guarded, reason

ONE = "{"
"""Routes with a parameter in their path give one thing, to somebody who knows its name."""

READING = {"include_holdout": True, "by": "mo", "release": "r1", "purpose": "audit"}

Names = Callable[[Any], set[str]]


def of(field: str, labelled: str | None = None) -> Names:
    """The ids of a page's items; with `labelled`, of those that say something there."""
    return lambda page: {item[field] for item in page["items"] if labelled is None or item[labelled]}


LISTS: dict[str, tuple[dict[str, Any], Names] | str] = {
    "/v1/labels": ({}, of("capture_id")),
    "/v1/images": ({}, of("image_id", "label")),
    "/v1/reviews": ({"state": "completed"}, of("capture_id")),
    "/v1/ambiguous": ({}, of("image_id")),
    "/v1/captures": "what the line took and decided, and no word of a person who labels",
    "/v1/taxonomies": "examples that a person chose for the guide",
    "/v1/taxonomies/in-force": "the same",
}
"""Lists of images, each with how to ask it for labels and the ids that it gives; or why it needs no check."""

FILES = {"/v1/exports"}
"""Lists as files; tested below."""


@pytest.fixture
def room(registry: Registry) -> Room:
    """Twelve captures, each reviewed, and then marked with a box that is approved."""
    room = Room(registry)
    ids = room.captured(12)
    for number in range(1, 13):
        registry.take(registry.requested(str(number)))
        assert registry.answer(str(number), "ben").status_code == 200
    room.batch(ids)
    for _ in ids:
        task = room.next("ada")
        room.said(task, "ada", marked(box("crack")))
    for _ in ids:
        room.reviewed(room.next("olga", "review"), "olga", "approve")
    return room


@pytest.fixture
def held(room: Room, registry: Registry) -> set[str]:
    """The images of a holdout."""
    return hold(registry)


def hold(registry: Registry) -> set[str]:
    """Cut a version of which three images are the holdout."""
    found = {capture(str(number)) for number in (2, 3, 5)}
    marks = [{"image_id": image, "segment": "holdout"} for image in sorted(found)]
    said = registry.http.post("/v1/datasets/segment-marks", json={"marked_by": "dana", "marks": marks})
    assert said.status_code == 201, said.text
    made = cut(registry, shapes=True)
    assert {item["capture_id"] for item in evaluate(registry, made).json()["items"]} == found
    return found


def test_no_list_gives_the_label_of_a_held_image(registry: Registry, held: set[str]) -> None:
    for path, how in LISTS.items():
        if isinstance(how, str):
            continue
        query, names = how
        given = names(registry.get(path, limit=200, **query))
        assert not given & held, path
        if path != "/v1/ambiguous":
            assert len(given) == 12 - len(held), path
    everything = registry.get("/v1/images", limit=200)["items"]
    assert held <= {image["image_id"] for image in everything}, "it is work like any other"
    image = registry.get(f"/v1/images/{min(held)}")
    assert image["label"]["annotation"]["shapes"], "who opens one image sees what is known of it"


def test_every_list_of_images_is_accounted_for(registry: Registry) -> None:
    document = registry.get("/openapi.json")
    found = {
        path
        for path, ways in document["paths"].items()
        if "get" in ways and ONE not in path and names_images(document, ways["get"]["responses"]["200"])
    }
    assert found == LISTS.keys() | FILES, "say in this test whether it gives labels of a holdout"


def names_images(document: Any, said: Any) -> bool:
    """Whether an answer names images, as its schema says, or is a file."""
    seen: set[str] = set()
    texts = [json.dumps(said)]
    for text in texts:  # grows by the schemas that are named
        for name in set(re.findall(r"#/components/schemas/([\w-]+)", text)) - seen:
            seen.add(name)
            texts.append(json.dumps(document["components"]["schemas"][name]))
    return any(f'"{word}"' in text for word in ("capture_id", "image_id", "binary") for text in texts)


def test_exports_leave_the_holdout_out_and_count_it(registry: Registry, held: set[str]) -> None:
    files = exported(registry)
    document = json.loads(files["annotations.json"])
    assert len(document["images"]) == 12 - len(held)
    losses = {loss["what"]: loss["count"] for loss in json.loads(files["losses.json"])}
    assert losses["holdout"] == len(held)
    assert registry.get("/v1/exports/losses", format="coco")["items"] == json.loads(files["losses.json"])
    assert not any(id_ in str(document) for id_ in held)
    pictures = exported(registry, pictures=True)
    assert len([name for name in pictures if name.startswith("images/")]) == 12 - len(held)


def test_a_version_goes_out_without_its_holdout_and_that_of_others(
    registry: Registry, held: set[str]
) -> None:
    (parted,) = registry.get("/v1/datasets/snapshots")["items"]
    assert parted["warnings"] == []
    flat = cut(registry)
    assert flat["items"] == 12, "a version is what its labels are"
    (warned,) = flat["warnings"]
    assert (warned["code"], warned["about"]) == ("held-elsewhere", parted["hash"])
    assert warned["text"].startswith(f"{len(held)} images")
    for version in (flat, parted):
        files = exported(registry, dataset=version["hash"])
        assert len(json.loads(files["annotations.json"])["images"]) == 12 - len(held)
        losses = {loss["what"]: loss["count"] for loss in json.loads(files["losses.json"])}
        assert losses["holdout"] == len(held)


def test_an_export_with_the_holdout_is_a_reading_of_it(registry: Registry, held: set[str]) -> None:
    version = registry.get("/v1/datasets/snapshots")["items"][0]
    before = version["holdout"]["readings"]
    for missing in ("by", "release", "purpose"):
        query = {"format": "coco"} | {name: said for name, said in READING.items() if name != missing}
        problem(registry.http.get("/v1/exports", params=query), 422, "reading-unnamed")
    query = {"format": "coco"} | READING | {"purpose": "training"}
    problem(registry.http.get("/v1/exports", params=query), 403, "holdout-closed")
    assert registry.get(f"/v1/datasets/snapshots/{version['hash']}")["holdout"]["readings"] == before
    for number, choice in enumerate(({}, {"dataset": version["hash"]}, {"line": "line-a"}), 1):
        files = exported(registry, **choice, **READING)
        assert len(json.loads(files["annotations.json"])["images"]) == 12
        assert "holdout" not in {loss["what"] for loss in json.loads(files["losses.json"])}
        url = f"/v1/datasets/snapshots/{version['hash']}/holdout/readings"
        newest = registry.get(url)["items"][0]
        assert (newest["number"], newest["by"], newest["purpose"]) == (before + number, "mo", "audit")
    assert registry.get("/v1/audit", action="read-holdout")["items"][0]["actor"] == "mo"
    exported(registry, line="another", **READING)
    assert registry.get(url)["items"][0]["number"] == before + 3, "nothing of it went out"


def test_an_export_of_a_past_moment_leaves_out_what_is_held_today(registry: Registry, room: Room) -> None:
    moment = registry.clock.now()
    everything = exported(registry)
    registry.clock.advance(60)
    held = hold(registry)
    then = exported(registry, as_of=moment.isoformat())
    assert len(json.loads(everything["annotations.json"])["images"]) == 12
    assert len(json.loads(then["annotations.json"])["images"]) == 12 - len(held)


def test_labels_of_a_laboratory_are_held_as_well(registry: Registry) -> None:
    label(registry, 0, 40)
    made = cut(registry, split=PART_KEYS)
    listed = {row["capture_id"] for row in registry.get("/v1/labels", limit=200)["items"]}
    assert listed == items(registry, made).keys()
    assert len(listed) == 40 - made["holdout"]["items"] < 40


def test_holdouts_of_before_are_noted(registry: Registry, held: set[str]) -> None:
    with registry.database.transaction() as tx:
        tx.connection.execute("TRUNCATE holdout_images")
        assert note_holdouts(tx.connection, registry.objects) == 1
        assert note_holdouts(tx.connection, registry.objects) == 0
        rows = tx.connection.execute("SELECT image_id::text FROM holdout_images").fetchall()
    assert {row["image_id"] for row in rows} == held
    with zipfile.ZipFile(io.BytesIO(registry.http.get("/v1/exports?format=coco").content)) as made:
        assert len(json.loads(made.read("annotations.json"))["images"]) == 12 - len(held)


def test_only_who_labels_sees_what_is_known_of_a_held_image(registry: Registry, held: set[str]) -> None:
    guarded, image = Guarded(registry), min(held)
    for name, sees in (("lea", True), ("olga", True), ("max", False), ("otto", False)):
        token = guarded.token(name)
        read = guarded.ask("GET", f"/v1/images/{image}", token).json()
        assert (bool(read["label"]), bool(read["history"])) == (sees, sees), name
        capture_read = guarded.ask("GET", f"/v1/captures/{image}", token).json()
        assert (bool(capture_read["labels"]), bool(capture_read["reviews"])) == (sees, sees), name
        assert guarded.ask("GET", f"/v1/images/{image}/picture?view=original", token).status_code == 200
    other = next(one["image_id"] for one in registry.get("/v1/images")["items"] if one["label"])
    assert guarded.ask("GET", f"/v1/images/{other}", guarded.token("max")).json()["label"]


def test_an_export_with_the_holdout_needs_the_right_to_read_it(registry: Registry, held: set[str]) -> None:
    guarded = Guarded(registry)
    query = {"format": "coco"} | READING
    assert (
        guarded.ask("GET", "/v1/exports", guarded.token("max"), params={"format": "coco"}).status_code == 200
    )
    lea = guarded.ask("GET", "/v1/exports", guarded.token("lea"), params=query | {"by": "lea"})
    assert reason(lea) == (403, "role-missing")
    somebody = guarded.ask("GET", "/v1/exports", guarded.token("max"), params=query)
    assert reason(somebody) == (403, "not-your-name")
    with guarded.opened() as session:
        dana = Account("dana", "", HASHED, frozenset([Role.DATA_LEAD]), machine=False, disabled=False)
        session.accounts.add_account(dana, "test", registry.clock.now())
    token = guarded.token("dana")
    assert guarded.ask("GET", "/v1/exports", token, params={"format": "coco"}).status_code == 200
    refused = guarded.ask("GET", "/v1/exports", token, params=query | {"by": "dana"})
    assert reason(refused) == (403, "role-missing")
    max_ = guarded.ask("GET", "/v1/exports", guarded.token("max"), params=query | {"by": "max"})
    assert max_.status_code == 200

"""One image after the other in a real Chromium: kept, sent and fetched ahead, with and without a network."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from .annotate_page import Opener, begin, click, drag, marks, only, saved, shown
from .annotate_registry import LabelingRoom, annotation, shape
from .conftest import identity, until


@pytest.fixture
def registry() -> LabelingRoom:
    return LabelingRoom()


@pytest.fixture
def room(registry: LabelingRoom) -> LabelingRoom:
    """Three images to label."""
    for name in ("1", "2", "3"):
        registry.add_task(name)
    return registry


# --- keeping


def test_what_was_drawn_without_a_network_arrives_after_a_reload(
    open_page: Opener, room: LabelingRoom
) -> None:
    page = begin(open_page)
    page.keyboard.press("2")
    page.context.set_offline(True)
    drag(page, (100, 60), (200, 150))
    expect(page.locator("#save")).to_have_text("Offline: kept here")
    page.context.set_offline(False)
    page.reload()  # before anything was sent, as after a crash
    shown(page, "1")
    assert len(marks(page)) == 1
    saved(page)
    draft = room.draft_of(identity("task 1"))
    assert draft is not None and len(draft["shapes"]) == 1


def test_a_registry_that_is_away_loses_nothing(open_page: Opener, room: LabelingRoom) -> None:
    page = begin(open_page)
    page.keyboard.press("2")
    room.away = True
    drag(page, (100, 60), (200, 150))
    expect(page.locator("#save")).to_have_text("Offline: kept here")
    room.away = False
    saved(page)
    assert room.draft_of(identity("task 1")) is not None


def test_a_shape_that_was_begun_outlives_a_reload(open_page: Opener, room: LabelingRoom) -> None:
    page = begin(open_page)
    page.keyboard.press("1")
    page.keyboard.press("p")
    for point in ((50, 50), (150, 50), (150, 120)):
        click(page, *point)
    page.reload()
    shown(page, "1")
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    assert len(only(page)["rings"][0]) == 3


def test_an_answer_without_a_network_is_sent_once_on_return(open_page: Opener, room: LabelingRoom) -> None:
    page = begin(open_page)
    until(page, "() => Boolean(andon.queue.ready())")
    page.context.set_offline(True)
    page.keyboard.press("Shift+g")
    shown(page, "2")  # the work goes on
    assert room.sent == []
    page.context.set_offline(False)
    until(page, "() => !Object.keys(localStorage).some(name => name.startsWith('andon outbox'))")
    ((_, task, body),) = room.sent
    assert task == identity("task 1")
    assert body["annotation"]["classes"] == ["good"]


@pytest.mark.parametrize(("choice", "left"), [("Keep mine", 1), ("Take the other", 2), ("Take both", 3)])
def test_two_versions_are_both_shown(open_page: Opener, room: LabelingRoom, choice: str, left: int) -> None:
    page = begin(open_page)
    theirs = annotation(shape(box=[5.0, 5.0, 9.0, 9.0]), shape(shape_id="s2", box=[250.0, 5.0, 9.0, 9.0]))
    room.drafts[identity("task 1"), "ada"] = {"version": 7, "saved_at": room._time(1), "annotation": theirs}
    page.keyboard.press("2")
    drag(page, (100, 60), (200, 150))
    dialog = page.get_by_role("dialog", name="This image was saved elsewhere meanwhile")
    expect(dialog).to_contain_text("Kept in this browser – Marks: 1")
    expect(dialog).to_contain_text("Marks: 2")
    dialog.get_by_role("button", name=choice).click()
    saved(page)
    draft = room.draft_of(identity("task 1"))
    assert draft is not None and len({one["shape_id"] for one in draft["shapes"]}) == left


# --- one image after the other


def test_the_next_image_is_there_before_it_is_asked_for(open_page: Opener, room: LabelingRoom) -> None:
    page = begin(open_page)
    until(page, "() => Boolean(andon.queue.ready())")
    fetched = list[str]()
    page.on(
        "request", lambda request: fetched.append(request.url) if identity("image 2") in request.url else None
    )
    page.route("**/annotate/api/**", lambda route: None)  # nothing answers: what comes now comes from memory
    page.keyboard.press("Shift+g")
    shown(page, "2")
    assert fetched == []


def test_images_are_answered_one_after_the_other_by_keys(open_page: Opener, room: LabelingRoom) -> None:
    page = begin(open_page)
    page.keyboard.press("n")
    expect(page.locator("#banner")).to_contain_text("Nothing is said yet")
    page.keyboard.press("g")
    page.keyboard.press("Control+Enter")
    shown(page, "2")
    page.keyboard.press("u")
    page.keyboard.press("n")
    shown(page, "3")
    page.keyboard.press("q")
    page.get_by_label("Between two classes").check()
    page.get_by_label("What you would say").select_option("crack")
    page.get_by_label("Note").fill("a grinding mark?")
    page.get_by_role("button", name="Say so").click()
    page.keyboard.press("n")
    expect(page.get_by_role("heading", name="Nothing waits for you")).to_be_visible()
    said = [body["annotation"] for _, _, body in room.sent]
    assert [(one["verdict"], one["classes"]) for one in said] == [
        ("labeled", ["good"]),
        ("unusable", []),
        ("ambiguous", []),
    ]
    assert said[2]["ambiguity"] == {
        "reason": "between-classes",
        "note": "a grinding mark?",
        "proposed_class": "crack",
    }


def test_skipping_keeps_what_was_begun(open_page: Opener, room: LabelingRoom) -> None:
    page = begin(open_page)
    page.keyboard.press("2")
    drag(page, (100, 60), (200, 150))
    page.keyboard.press("s")
    shown(page, "2")
    assert room.sent == []
    draft = room.draft_of(identity("task 1"))
    assert draft is not None and len(draft["shapes"]) == 1


def test_a_refused_answer_leads_back_to_its_image(open_page: Opener, room: LabelingRoom) -> None:
    page = begin(open_page)
    room.next_refusal = {
        "type": "about:blank",
        "title": "nothing-said",
        "status": 422,
        "detail": "Mark it.",
        "problems": [],
    }
    page.keyboard.press("2")
    drag(page, (100, 60), (200, 150))
    page.keyboard.press("n")
    expect(page.locator("#banner")).to_contain_text("An answer was refused: Mark it.")
    page.get_by_role("link", name="Open that image").click()
    shown(page, "1")
    assert len(marks(page)) == 1


def test_single_keys_can_be_switched_off(open_page: Opener, room: LabelingRoom) -> None:
    page = begin(open_page)
    page.get_by_role("button", name="Keys").click()
    expect(page.get_by_role("dialog", name="Keys")).to_contain_text("Fill by colour")
    page.get_by_label("Single keys act").uncheck()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Ruler").focus()
    page.keyboard.press("g")
    assert page.evaluate("andon.store.doc.classes") == []


def test_the_view_changes_nothing_that_is_sent(open_page: Opener, room: LabelingRoom) -> None:
    page = begin(open_page)
    before = page.evaluate("JSON.stringify(andon.store.doc)")
    page.get_by_text("View", exact=True).click()
    page.get_by_label("Contrast").fill("180")
    page.get_by_label("Denoise").check()
    assert "contrast(1.8)" in page.locator("#stage canvas").first.evaluate("e => getComputedStyle(e).filter")
    page.get_by_role("button", name="Zoom in").click()
    page.get_by_role("button", name="Move view left").click()
    assert page.evaluate("JSON.stringify(andon.store.doc)") == before
    assert room.drafts == {}

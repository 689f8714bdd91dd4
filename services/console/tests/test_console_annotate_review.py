"""A second pair of eyes in a real Chromium; and that everybody can use and hit everything."""

from __future__ import annotations

import re
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from .annotate_page import Opener, marks, shown
from .annotate_registry import LabelingRoom, annotation, shape
from .conftest import SIZES, identity


@pytest.fixture
def registry() -> LabelingRoom:
    return LabelingRoom()


# --- a second pair of eyes


def answers(room: LabelingRoom, *said: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"annotation_id": identity(f"by {who}"), "author": who, "made_at": room._time(-60), "annotation": one}
        for who, one in said
    ]


@pytest.fixture
def disputed(registry: LabelingRoom) -> LabelingRoom:
    """Two blind answers: one mark that they share, one that only each of them has."""
    ben = annotation(
        shape(),
        shape(
            "polygon", shape_id="s2", class_name="crack", rings=[[[20.0, 20.0], [60.0, 20.0], [40.0, 60.0]]]
        ),
    )
    zoe = annotation(
        shape(box=[124.0, 82.0, 58.0, 50.0]), shape(shape_id="s7", box=[230.0, 150.0, 40.0, 40.0])
    )
    registry.add_task("d", "adjudicate", answers=answers(registry, ("ben", ben), ("zoe", zoe)))
    registry.add_task("r", "review", answers=answers(registry, ("ben", ben)))
    registry.histories[identity("image r")] = [
        {
            "annotation_id": identity("first"),
            "task_id": None,
            "author": "ben",
            "origin": "person",
            "made_at": registry._time(-600),
            "supersedes": None,
            "annotation": annotation(shape()),
            "decisions": [
                {"decision": "sent-back", "by": "olga", "note": "Closer", "decided_at": registry._time(-300)}
            ],
        }
    ]
    return registry


def test_a_dispute_shows_what_differs_and_ends_by_one_key(open_page: Opener, disputed: LabelingRoom) -> None:
    page = open_page("/annotate/adjudicate", person="olga")
    shown(page, "d")
    expect(page.locator(".pane")).to_have_count(2)
    rows = page.locator("#differences li")
    expect(rows).to_have_text(
        ["≠Only A: Crack", "≠Only B: Blowhole", re.compile("=Blowhole: overlap 8[0-9] %")]
    )
    page.keyboard.press(".")
    expect(rows.first.get_by_role("button")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("o")
    expect(page.locator(".pane")).to_have_count(1)
    page.keyboard.press("2")
    expect(page.get_by_role("button", name="Accept B")).to_be_visible()
    page.keyboard.press("a")
    expect(page.locator("#nothing")).to_be_visible()
    ((command, _, body),) = disputed.sent
    assert command == "reviews"
    assert (body["person"], body["decision"], body["annotation_id"]) == ("olga", "decide", identity("by zoe"))


def test_an_owner_decides_by_an_own_annotation(open_page: Opener, disputed: LabelingRoom) -> None:
    page = open_page("/annotate/adjudicate", person="olga")
    shown(page, "d")
    page.keyboard.press("e")
    page.wait_for_url("**/decide?by=*")
    shown(page, "d")
    assert len(marks(page)) == 2  # it begins with the chosen answer
    page.keyboard.press(".")
    page.keyboard.press("Delete")
    page.keyboard.press("n")
    page.wait_for_url("**/annotate/adjudicate")
    ((_, _, body),) = disputed.sent
    assert body["decision"] == "decide"
    assert [one["class_name"] for one in body["annotation"]["shapes"]] == ["crack"]


def test_an_answer_is_sent_back_with_a_note(open_page: Opener, disputed: LabelingRoom) -> None:
    page = open_page("/annotate/review", person="olga")
    shown(page, "r")
    expect(page.locator("#history")).to_contain_text("Sent back – olga")
    page.keyboard.press("b")
    page.get_by_role("dialog").get_by_role("textbox").fill("To the edge, please")
    page.get_by_role("dialog").get_by_role("button", name="Send back").click()
    expect(page.locator("#nothing")).to_be_visible()
    ((_, _, body),) = disputed.sent
    assert (body["decision"], body["note"]) == ("send-back", "To the edge, please")
    assert body["annotation_id"] == identity("by ben")


# --- for everybody

PATHS = ("/annotate", "/annotate/adjudicate", "/annotate/review")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_page: Opener, disputed: LabelingRoom, console: str, scheme: str) -> None:
    proposed = shape(shape_id="m1", origin="model", confirmed=False)
    disputed.add_task("1", proposal=annotation(proposed), note="Closer, please")
    page = open_page("/annotate", color_scheme=scheme, reduced_motion="reduce")
    for path, name in zip(PATHS, ("1", "d", "r"), strict=True):
        page.goto(console + path)
        shown(page, name)
        for opener in (None, "?", "q"):
            if opener == "q" and path != "/annotate":
                continue
            if opener:
                page.keyboard.press(opener)
                page.wait_for_selector("dialog[open]")
            found = Axe().run(page)
            assert found.violations_count == 0, f"{path} {opener}: {found.generate_report()}"
            if opener:
                page.keyboard.press("Escape")


@pytest.mark.parametrize("size", [*SIZES, "mobile"])
def test_everything_fits_and_can_be_hit(
    open_page: Opener, disputed: LabelingRoom, console: str, size: str
) -> None:
    disputed.add_task("1", proposal=annotation(shape(shape_id="m1", origin="model", confirmed=False)))
    page = open_page("/annotate")
    width, height = SIZES.get(size, (390, 844))
    page.set_viewport_size({"width": width, "height": height})
    for path, name in zip(PATHS, ("1", "d", "r"), strict=True):
        page.goto(console + path)
        shown(page, name)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        small = """[...document.querySelectorAll('.room :is(button, select, a, input, summary)')]
            .filter((e) => e.checkVisibility() && e.type !== 'checkbox' && e.type !== 'radio')
            .map((e) => [e.outerHTML.slice(0, 80), e.getBoundingClientRect()])
            .filter(([, box]) => box.width && (box.width < 24 || box.height < 24)).map(([text]) => text)"""
        assert page.evaluate(small) == [], path

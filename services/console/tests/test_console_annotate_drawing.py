"""Drawing on images in a real Chromium, by mouse and by keyboard, with the guide beside them."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from .annotate_page import Opener, begin, bits, click, drag, marks, only, saved
from .annotate_registry import BLOB, HEIGHT, WIDTH, LabelingRoom, annotation, shape
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


# --- drawing


def test_a_box_is_dragged_or_clicked_and_undone(open_page: Opener, room: LabelingRoom) -> None:
    page = begin(open_page)
    page.keyboard.press("2")  # a blowhole is marked by a box: the tool follows the class
    drag(page, (100, 60), (200, 150))
    assert only(page)["box"] == pytest.approx([100, 60, 100, 90], abs=1.5)
    click(page, 20, 20)  # two clicks do what a drag does
    click(page, 60, 50)
    assert marks(page)[1]["box"] == pytest.approx([20, 20, 40, 30], abs=1.5)
    page.keyboard.press("Control+z")
    assert len(marks(page)) == 1
    page.keyboard.press("Control+Shift+z")
    assert len(marks(page)) == 2
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#said")).to_have_text("Undone: add box")
    saved(page)
    draft = room.draft_of(identity("task 1"))
    assert draft is not None
    assert [one["class_name"] for one in draft["shapes"]] == ["blowhole"]


def test_a_box_is_drawn_moved_and_resized_by_keys(open_page: Opener, room: LabelingRoom) -> None:
    page = begin(open_page)
    page.locator("#canvas").focus()
    for key in ("2", "b", "Shift+ArrowRight", "Space", *["ArrowRight"] * 4, *["ArrowDown"] * 3, "Enter"):
        page.keyboard.press(key)
    x, y, width, height = only(page)["box"]
    assert (x, y) == (WIDTH / 2 + 1, HEIGHT / 2)
    assert width > 4 and height > 3
    page.keyboard.press("v")
    page.keyboard.press("Escape")  # the cross goes; the mark is still chosen
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Alt+ArrowDown")
    assert only(page)["box"] == [x - 1, y, width, height + 1]
    page.keyboard.press("t")  # the upper left corner
    page.keyboard.press("ArrowUp")
    assert only(page)["box"] == [x - 1, y - 1, width, height + 2]
    page.keyboard.press("Escape")
    page.keyboard.press("Delete")
    assert marks(page) == []


def test_a_polygon_takes_back_a_point_and_must_not_cross_itself(
    open_page: Opener, room: LabelingRoom
) -> None:
    page = begin(open_page)
    page.keyboard.press("1")
    page.keyboard.press("p")
    for point in ((50, 50), (150, 150), (150, 50), (50, 150)):
        click(page, *point)
    page.keyboard.press("Enter")
    expect(page.locator("#banner")).to_contain_text("crosses itself")
    page.keyboard.press("Backspace")
    page.keyboard.press("Enter")
    (ring,) = only(page)["rings"]
    assert [axis for point in ring for axis in point] == pytest.approx([50, 50, 150, 150, 150, 50], abs=1)
    page.keyboard.press("v")
    drag(page, (150, 150), (170, 180))  # a vertex is dragged
    assert only(page)["rings"][0][1] == pytest.approx([170, 180], abs=1)


def test_a_polygon_is_drawn_by_keys(open_page: Opener, room: LabelingRoom) -> None:
    page = begin(open_page)
    page.locator("#canvas").focus()
    for key in ("1", "p", "Space", *["ArrowRight"] * 5, "Space", *["ArrowDown"] * 5, "Space", "Enter"):
        page.keyboard.press(key)
    assert len(only(page)["rings"][0]) == 3


def test_a_mask_is_painted_erased_and_one_step_each(open_page: Opener, room: LabelingRoom) -> None:
    page = begin(open_page)
    page.keyboard.press("1")
    page.keyboard.press("m")
    drag(page, (100, 100), (200, 100))
    painted = bits(page, only(page))
    assert painted[100 * WIDTH + 150] == 1 and painted[120 * WIDTH + 150] == 0
    page.keyboard.press("]")
    assert page.evaluate("andon.editor.ui.brush") > 16
    page.keyboard.press("e")
    drag(page, (150, 80), (150, 120))
    assert bits(page, only(page))[100 * WIDTH + 150] == 0
    page.keyboard.press("Control+z")
    assert bits(page, only(page)) == painted


def test_a_mask_is_painted_by_keys(open_page: Opener, room: LabelingRoom) -> None:
    page = begin(open_page)
    page.locator("#canvas").focus()
    for key in ("1", "m", "Space", "ArrowRight", "ArrowRight", "Space"):
        page.keyboard.press(key)
    assert bits(page, only(page))[HEIGHT // 2 * WIDTH + WIDTH // 2] == 1


def test_a_fill_takes_exactly_what_has_one_colour(open_page: Opener, room: LabelingRoom) -> None:
    page = begin(open_page)
    x, y, width, height = BLOB
    page.keyboard.press("1")
    page.keyboard.press("f")
    click(page, x + 10, y + 10)
    until(page, "() => andon.store.doc.shapes.length === 1")
    filled = bits(page, only(page))
    assert sum(filled) == width * height
    assert filled[y * WIDTH + x] == filled[(y + height - 1) * WIDTH + x + width - 1] == 1


def test_a_superpixel_stays_on_its_side_of_an_edge(open_page: Opener, room: LabelingRoom) -> None:
    page = begin(open_page)
    x, y, width, height = BLOB
    page.keyboard.press("1")
    page.keyboard.press("x")
    click(page, x + width / 2, y + height / 2)
    until(page, "() => andon.store.doc.shapes.length === 1")
    taken = [at for at, bit in enumerate(bits(page, only(page))) if bit]
    assert len(taken) > 50
    assert all(x <= at % WIDTH < x + width and y <= at // WIDTH < y + height for at in taken)


def test_key_points_and_the_ruler_measure_in_millimetres(open_page: Opener, room: LabelingRoom) -> None:
    page = begin(open_page)
    page.keyboard.press("2")
    page.keyboard.press("k")
    click(page, 50, 50)
    click(page, 150, 50)
    page.keyboard.press("Enter")
    assert only(page)["joins"] == [["start", "end"]]
    expect(page.locator("#marks")).to_contain_text(re.compile(r"(99|100)\.\d px · (9\.9|10\.0)\d mm"))
    page.keyboard.press("r")
    drag(page, (20, 20), (20, 120))
    expect(page.locator("#said")).to_have_text(re.compile(r"(99|100)\.\d px · (9\.9|10\.0)\d mm"))
    assert len(marks(page)) == 1  # the ruler marks nothing


def test_run_lengths_are_those_of_coco(open_page: Opener, room: LabelingRoom) -> None:
    """Texts that pycocotools writes for these pixels."""
    page = begin(open_page)
    texts = [("<", [3, 4]), ("06", [2, 3]), ("2220O050MON030O0N", [5, 7]), ("XR7n0j20000000P:", [120, 68])]
    script = """async (all) => {
        const here = document.querySelector('[src*="/annotate.js"]').src;
        const { decode, encode } = await import(here.replace("annotate.js", "masks.js"));
        const again = (patch, size) => [encode(patch, size), patch.bits.reduce((sum, bit) => sum + bit, 0)];
        return all.map(([counts, size]) => again(decode(counts, size), size));
    }"""
    again = page.evaluate(script, texts)
    assert [text for text, _ in again] == [text for text, _ in texts]
    assert [count for _, count in again] == [0, 6, 12, 150]


def test_things_are_numbered_by_class(open_page: Opener, room: LabelingRoom) -> None:
    page = begin(open_page)
    page.keyboard.press("2")
    page.keyboard.press("i")
    drag(page, (10, 10), (40, 40))
    drag(page, (60, 10), (90, 40))
    assert [one["instance"] for one in marks(page)] == [1, 2]
    page.keyboard.press("v")
    page.keyboard.press("3")  # the chosen mark becomes of another class
    assert [one["class_name"] for one in marks(page)] == ["blowhole", "fray"]


# --- the guide


def test_the_guide_stands_beside_the_image_and_is_searched(open_page: Opener, room: LabelingRoom) -> None:
    page = begin(open_page)
    page.keyboard.press("1")
    expect(page.locator("#guide")).to_contain_text("To the last pixel that is darker")
    expect(page.locator("#guide img")).to_have_count(2)
    page.keyboard.press("/")
    page.keyboard.type("round hole")
    page.locator("#found button").click()
    expect(page.locator("#guide")).to_contain_text("A round hole.")
    assert marks(page) == []  # letters in a search are letters


def test_a_tool_that_a_class_forbids_says_so(open_page: Opener, room: LabelingRoom) -> None:
    page = begin(open_page)
    page.keyboard.press("2")
    page.keyboard.press("m")
    expect(page.locator("#banner")).to_contain_text("Blowhole is not marked this way")
    page.keyboard.press("4")  # said of the whole image
    assert page.evaluate("andon.store.doc.classes") == ["uneven"]


def test_proposals_are_taken_over_or_put_away_and_never_sent_undecided(
    open_page: Opener, registry: LabelingRoom
) -> None:
    proposed = [
        shape(shape_id=f"m{n}", origin="model", confirmed=False, box=[n * 50.0, 30.0, 30.0, 30.0])
        for n in range(4)
    ]
    task = registry.add_task("1", proposal=annotation(*proposed))
    page = begin(open_page)
    page.keyboard.press("a")
    page.keyboard.press("d")
    page.keyboard.press("n")
    expect(page.locator("#banner")).to_contain_text("Undecided proposals: 2")
    page.keyboard.press("a")
    page.keyboard.press("n")
    expect(page.locator("#banner")).to_contain_text("Undecided proposals: 1")
    page.keyboard.press("n")
    expect(page.locator("#nothing")).to_be_visible()
    ((command, sent_for, body),) = registry.sent
    assert (command, sent_for) == ("annotations", task)
    assert [(one["shape_id"], one["origin"], one["confirmed"]) for one in body["annotation"]["shapes"]] == [
        ("m0", "model", True),
        ("m2", "model", True),
    ]


def test_a_class_that_the_guide_no_longer_knows_needs_another_one(
    open_page: Opener, registry: LabelingRoom
) -> None:
    old = [
        shape(shape_id=f"s{n}", class_name=name, confirmed=False) for n, name in enumerate(("gap", "fray"))
    ]
    registry.add_task("1", proposal=annotation(*old, classes=["uneven"]), note="Closer, please")
    page = begin(open_page)
    assert page.evaluate("andon.store.doc.classes") == ["uneven"]  # it is the person's own answer
    page.keyboard.press("Shift+a")
    assert [one["confirmed"] for one in marks(page)] == [False, True]
    page.keyboard.press("a")
    expect(page.locator("#banner")).to_contain_text("Gap is no class of this guide")
    page.keyboard.press("v")
    page.keyboard.press("2")
    assert [(one["class_name"], one["confirmed"]) for one in marks(page)] == [
        ("blowhole", True),
        ("fray", True),
    ]

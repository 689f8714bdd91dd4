"""The console in a real Chromium: what people see, click, type, and what assistive technology finds."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, expect

from .conftest import CARD, CRACK, SIZES, StandIn, identity, region

EVALUATION = """<h1>Measured</h1><p id="proof">no script ran</p>
<script>document.getElementById("proof").textContent = "a script ran"</script>"""


@pytest.fixture
def plant(registry: StandIn) -> StandIn:
    """Something of everything."""
    registry.add_capture("first", place=("line-b", "cell-1"))
    registry.add_capture("unscored", "hold", None)
    registry.add_capture("rejected", "reject", 0.93)
    registry.add_capture(
        "cracked",
        "hold",
        0.7,
        regions=[CRACK, region(class_name="dead-cell", x=32.0, y=40.0, width=16.0, height=8.0)],
    )
    for number in range(3):
        registry.add_review(f"open {number}", regions=[] if number else [region()])
    registry.add_review("dispute", "disputed")
    registry.add_action("spike")
    registry.add_release("older")
    registry.add_release("release-7", CARD, evaluation=EVALUATION)
    registry.deploy("release-7")
    return registry


def test_the_board_shows_lines_stations_and_images(open_page: Callable[..., Page], plant: StandIn) -> None:
    page = open_page()
    expect(page.get_by_role("heading", name="line-a")).to_be_visible()
    expect(page.get_by_role("region", name="line-a cell-1")).to_contain_text("Disputed")
    expect(page.get_by_role("region", name="line-b cell-1")).to_contain_text("Running")
    images = page.locator(".film .picture img:not(.heat)")
    expect(images).to_have_count(len(plant.captures))
    for number in range(4):
        expect(images.nth(number)).not_to_have_js_property("naturalWidth", 0)


def test_a_new_capture_appears_by_itself(open_page: Callable[..., Page], plant: StandIn) -> None:
    page = open_page()
    before = page.locator(".film .frame").count()
    page.evaluate("window.notReloaded = true")
    plant.add_capture("fresh", "reject", 0.97)
    expect(page.locator(".film .frame")).to_have_count(before + 1)
    expect(page.locator(".film .frame").first).to_contain_text("97 %")
    assert page.evaluate("window.notReloaded") is True


def test_reviewing_with_the_keyboard_alone(open_page: Callable[..., Page], plant: StandIn) -> None:
    page = open_page("/review")
    page.keyboard.press("2")
    expect(page.get_by_role("status").last).to_contain_text("Dead cell")
    page.keyboard.press("g")
    expect(page.get_by_role("status").last).to_contain_text("Good")
    page.keyboard.press("u")
    expect(page.get_by_role("heading", name="All clear")).to_be_visible()
    answers = [(path, body) for path, body, _ in plant.commands]
    assert answers == [
        (
            f"/v1/reviews/{identity('r open 0')}/answers",
            {"reviewer": "ada", "verdict": "defect", "class_name": "dead-cell"},
        ),
        (f"/v1/reviews/{identity('r open 1')}/answers", {"reviewer": "ada", "verdict": "good"}),
        (f"/v1/reviews/{identity('r open 2')}/answers", {"reviewer": "ada", "verdict": "unusable"}),
    ]
    assert len({key for _, _, key in plant.commands}) == 3


def test_a_key_while_an_answer_is_under_way_answers_nothing(
    open_page: Callable[..., Page], plant: StandIn
) -> None:
    page = open_page("/review")
    held = list[Route]()
    page.route("**/answer", lambda route: held.append(route))
    page.keyboard.press("2")
    page.keyboard.press("g")  # a second touch, before the next image is on the screen
    page.keyboard.press("s")
    (answer,) = held
    answer.continue_()
    expect(page.get_by_role("status").last).to_contain_text("Dead cell")
    assert [body["verdict"] for _, body, _ in plant.commands] == ["defect"]
    assert page.url.endswith(identity("r open 1"))


def test_a_lost_connection_loses_no_answer(open_page: Callable[..., Page], plant: StandIn) -> None:
    page = open_page("/review")
    page.get_by_label("Note").fill("a grinding mark")
    page.context.set_offline(True)
    page.get_by_role("button", name="Good").click()
    expect(page.get_by_role("status").last).to_contain_text("Nothing is lost")
    expect(page.get_by_label("Note")).to_have_value("a grinding mark")
    page.context.set_offline(False)
    page.keyboard.press("g")
    expect(page.get_by_role("status").last).to_contain_text("Good – decided")
    ((_, body, _),) = plant.commands
    assert body["note"] == "a grinding mark"


def test_back_goes_to_the_review_before(open_page: Callable[..., Page], plant: StandIn) -> None:
    page = open_page("/review")
    page.keyboard.press("s")
    page.wait_for_url(f"**/review?at={identity('r open 1')}")
    expect(page.locator(f"[data-full][src*='{identity('open 1')}']")).to_be_visible()
    page.go_back()
    expect(page.locator(f"[data-full][src*='{identity('open 0')}']")).to_be_visible()


def test_writing_a_note_presses_no_buttons(open_page: Callable[..., Page], plant: StandIn) -> None:
    page = open_page("/review")
    note = page.get_by_label("Note")
    note.press_sequentially("g u 1 2 h s")
    expect(note).to_have_value("g u 1 2 h s")
    assert plant.commands == []
    page.get_by_role("button", name="Good").click()
    expect(page.get_by_role("status").last).to_contain_text("Good")
    assert plant.commands[0][1]["note"] == "g u 1 2 h s"


def test_later_shows_the_next_one_and_answers_nothing(open_page: Callable[..., Page], plant: StandIn) -> None:
    page = open_page("/review")
    page.keyboard.press("s")
    page.wait_for_url(f"**/review?at={identity('r open 1')}")
    assert plant.commands == []


def test_the_buttons_wake_up_when_somebody_is_there(open_page: Callable[..., Page], plant: StandIn) -> None:
    page = open_page("/review", person=None)
    expect(page.get_by_role("button", name="Good")).to_be_disabled()
    page.keyboard.press("g")
    assert plant.commands == []
    page.get_by_label("You are").fill("Zoë")
    page.get_by_role("button", name="Set").click()
    expect(page.get_by_role("button", name="Good")).to_be_enabled()
    page.keyboard.press("g")
    expect(page.get_by_role("status").last).to_contain_text("Good")
    assert plant.commands[0][1]["reviewer"] == "Zoë"


def test_only_the_qa_owner_ends_a_dispute(open_page: Callable[..., Page], plant: StandIn) -> None:
    page = open_page("/disputes")
    expect(page.get_by_text("ada is no QA owner here. Ask olga.")).to_be_visible()
    expect(page.get_by_role("button", name="Good")).to_be_disabled()
    owner = open_page("/disputes", person="olga")
    expect(owner.locator("blockquote")).to_have_count(2)
    expect(owner.locator("blockquote").first).to_contain_text("A grinding mark")
    owner.keyboard.press("1")
    expect(owner.get_by_role("heading", name="No dispute")).to_be_visible()
    ((path, body, _),) = plant.commands
    assert path == f"/v1/reviews/{identity('r dispute')}/adjudication"
    assert body == {"reviewer": "olga", "verdict": "defect", "class_name": "crack"}


def test_an_empty_desk_fills_by_itself(open_page: Callable[..., Page], registry: StandIn) -> None:
    page = open_page("/review")
    expect(page.get_by_role("heading", name="All clear")).to_be_visible()
    registry.add_review("new")
    expect(page.get_by_role("button", name="Good")).to_be_visible(timeout=15_000)


def test_an_action_is_closed_with_its_proof(open_page: Callable[..., Page], plant: StandIn) -> None:
    page = open_page("/")
    page.get_by_role("link", name="Add good examples").click()
    expect(page.get_by_label("Samples added")).to_be_visible()
    expect(page.locator(".evidence img")).to_have_count(3)
    page.get_by_label("Samples added").fill("40")
    page.get_by_label("Note").fill("Forty good cells of both variants")
    page.get_by_role("button", name="Close action").click()
    expect(page.get_by_role("heading", name="No action is open")).to_be_visible()
    assert plant.commands[0][1] == {
        "outcome": "done",
        "proof": {"samples_added": "40"},
        "note": "Forty good cells of both variants",
        "closed_by": "ada",
    }
    page.get_by_role("link", name="Closed").click()
    expect(page.locator(".action")).to_contain_text("Forty good cells")


def test_no_action_asks_for_no_proof(open_page: Callable[..., Page], plant: StandIn) -> None:
    page = open_page("/actions")
    page.get_by_text("Close this action").click()
    page.get_by_label("No action, with a reason").check()
    expect(page.get_by_label("Samples added")).to_be_hidden()


def test_a_refused_closing_is_explained(open_page: Callable[..., Page], plant: StandIn) -> None:
    plant.refuse = (422, "proof-not-found", "There is no release r9; check the name.")
    page = open_page(f"/actions#action-{identity('a spike')}")
    page.get_by_label("Note").fill("released")
    page.get_by_role("button", name="Close action").click()
    expect(page.get_by_role("status").last).to_contain_text("There is no release r9")


def test_the_heat_map_comes_and_goes_with_h(open_page: Callable[..., Page], plant: StandIn) -> None:
    page = open_page(f"/captures/{identity('rejected')}")
    shown = page.locator("img[data-heat]")
    expect(shown).to_have_css("opacity", "0")
    page.keyboard.press("h")
    expect(shown).to_have_css("opacity", "0.65")
    page.get_by_label("Strength of the heat map").fill("100")
    expect(shown).to_have_css("opacity", "1")
    page.reload()
    expect(page.locator("img[data-heat]")).to_have_css("opacity", "1")
    page.keyboard.press("h")
    expect(page.locator("img[data-heat]")).to_have_css("opacity", "0")


def box(page: Page, selector: str) -> dict[str, float]:
    found = page.locator(selector).first.bounding_box()
    assert found is not None
    return dict(found)


def test_regions_lie_where_the_image_is_and_stay_there(
    open_page: Callable[..., Page], plant: StandIn
) -> None:
    page = open_page(f"/captures/{identity('cracked')}")
    image, square = box(page, "[data-full]"), "[data-region='2'] .outline"
    side = min(image["width"], image["height"])  # the image is square, fitted into the middle
    left, top = image["x"] + (image["width"] - side) / 2, image["y"] + (image["height"] - side) / 2

    def expected(zoom: float) -> list[float]:
        x = left + side / 2 + (32 / 64 - 0.5) * side * zoom
        y = top + side / 2 + (40 / 64 - 0.5) * side * zoom
        return [x, y, 16 / 64 * side * zoom, 8 / 64 * side * zoom]

    for zoom in (1.0, 1.5):
        found = box(page, square)
        assert [found[n] for n in ("x", "y", "width", "height")] == pytest.approx(expected(zoom), abs=4)
        assert box(page, ".label rect")["height"] == pytest.approx(
            18, abs=1
        )  # labels do not grow with the image
        page.get_by_role("button", name="Zoom in").click()


def test_the_list_and_the_image_point_at_each_other(open_page: Callable[..., Page], plant: StandIn) -> None:
    page = open_page(f"/captures/{identity('cracked')}")
    row = page.locator("[data-region-row='1']")
    expect(row).to_contain_text("Length 41.2 px · 8.24 mm")
    row.get_by_role("button", name="Show region 1, Crack").focus()
    expect(page.locator("[data-region='1']")).to_have_class(re.compile("chosen"))
    expect(page.locator(".tip")).to_contain_text("8.24 mm")
    page.get_by_role("button", name="Show region 2, Dead cell").press("Enter")
    assert re.search(r"scale\(2\.\d+\)", page.locator(".sheet").get_attribute("style") or "")
    page.locator("[data-region='2'] .outline").hover()
    expect(page.locator("[data-region-row='2']")).to_have_class(re.compile("chosen"))
    expect(page.locator("[data-region='1']")).not_to_have_class(re.compile("chosen"))


def test_regions_come_and_go_with_r(open_page: Callable[..., Page], plant: StandIn) -> None:
    page = open_page(f"/captures/{identity('cracked')}")
    expect(page.locator(".regions")).to_be_visible()
    page.keyboard.press("r")
    expect(page.locator(".regions")).to_be_hidden()
    expect(page.get_by_label("Regions R")).not_to_be_checked()
    page.goto(page.url.replace(identity("cracked"), identity("open 0")))
    expect(page.locator(".regions")).to_be_hidden()
    page.get_by_label("Regions R").check()
    expect(page.locator(".regions")).to_be_visible()


def test_many_regions_are_numbered_until_one_is_asked_for(
    open_page: Callable[..., Page], registry: StandIn
) -> None:
    registry.add_capture("crowd", "reject", 0.9, regions=[region(x=n * 6.0) for n in range(10)])
    page = open_page(f"/captures/{identity('crowd')}")
    expect(page.locator("[data-label='3'] tspan")).to_be_hidden()
    page.locator("[data-region-row='3']").hover()
    expect(page.locator("[data-label='3'] tspan")).to_be_visible()


def test_the_desk_shows_the_regions_of_each_image(open_page: Callable[..., Page], plant: StandIn) -> None:
    page = open_page("/review")
    expect(page.locator("[data-region]")).to_have_count(1)
    page.keyboard.press("s")
    page.wait_for_url(f"**/review?at={identity('r open 1')}")
    expect(page.locator("[data-region]")).to_have_count(0)


def test_a_published_page_can_do_nothing(open_page: Callable[..., Page], plant: StandIn) -> None:
    page = open_page("/models/release-7")
    page.get_by_role("link", name="Evaluation").click()
    frame = page.frame_locator("iframe.report")
    expect(frame.get_by_role("heading", name="Measured")).to_be_visible()
    expect(frame.locator("#proof")).to_have_text("no script ran")
    alone = open_page("/models/release-7/reports/evaluation")
    expect(alone.locator("#proof")).to_have_text("no script ran")


def test_zoom_and_pan(open_page: Callable[..., Page], plant: StandIn) -> None:
    page = open_page(f"/captures/{identity('rejected')}")
    sheet = page.locator(".sheet")
    page.get_by_role("button", name="Zoom in").click()
    assert "scale(1.5)" in (sheet.get_attribute("style") or "")
    page.locator(".stage").press("ArrowRight")
    assert "translate(-60px" in (sheet.get_attribute("style") or "")
    page.locator(".stage").press("0")
    assert "translate(0px, 0px) scale(1)" in (sheet.get_attribute("style") or "")


def test_filters(open_page: Callable[..., Page], plant: StandIn) -> None:
    page = open_page("/captures")
    page.get_by_label("Disposition").select_option("reject")
    page.wait_for_url("**kind=reject**")
    expect(page.locator(".frame")).to_have_count(4)
    expect(page.locator(".frame").first).to_contain_text("Reject")


def test_earlier_captures_are_a_page_away(open_page: Callable[..., Page], registry: StandIn) -> None:
    for number in range(60):
        registry.add_capture(str(number))
    page = open_page("/captures")
    expect(page.locator(".frame")).to_have_count(48)
    page.get_by_role("link", name="Earlier").click()
    expect(page.locator(".frame")).to_have_count(12)
    page.get_by_role("link", name="Latest").click()
    expect(page.locator(".frame")).to_have_count(48)


def test_the_theme_is_kept(open_page: Callable[..., Page], plant: StandIn) -> None:
    page = open_page(color_scheme="light")
    page.get_by_role("button", name="Switch between light and dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.goto(page.url.rstrip("/") + "/actions")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_a_lost_connection_is_said_and_mends_itself(open_page: Callable[..., Page], plant: StandIn) -> None:
    page = open_page()
    expect(page.locator("#live")).to_have_text("Live")
    plant.away = True
    expect(page.locator("#live")).to_have_text("Connection lost", timeout=10_000)
    expect(page.get_by_role("heading", name="line-a")).to_be_visible()
    plant.away = False
    expect(page.locator("#live")).to_have_text("Live", timeout=10_000)


def test_it_works_without_javascript(open_page: Callable[..., Page], plant: StandIn) -> None:
    page = open_page("/review", java_script_enabled=False)
    page.get_by_role("button", name="Dead cell").click()
    expect(page.get_by_role("status").last).to_contain_text("Dead cell")
    assert plant.commands[0][1]["class_name"] == "dead-cell"


EVERY_PAGE = (
    "/",
    "/review",
    "/disputes",
    "/captures",
    f"/captures/{identity('rejected')}",
    f"/captures/{identity('cracked')}",
    "/actions",
    "/actions?state=closed",
    "/models",
    "/models/release-7",
    "/models/older",
    "/models/release-7?report=evaluation",
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_page: Callable[..., Page], plant: StandIn, console: str, scheme: str) -> None:
    page = open_page(person="olga", color_scheme=scheme, reduced_motion="reduce")
    for path in EVERY_PAGE:
        page.goto(console + path)
        for summary in page.locator("summary").all():
            if summary.is_visible():
                summary.click()
        found = Axe().run(page)
        assert found.violations_count == 0, f"{path}: {found.generate_report()}"


@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_wider_than_the_screen(
    open_page: Callable[..., Page], plant: StandIn, console: str, size: str
) -> None:
    page = open_page(person="olga", size=size)
    for path in EVERY_PAGE:
        page.goto(console + path)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path

"""What people do in the labeling room, by mouse and keyboard."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from playwright.sync_api import Page, expect

from .labeling_story_data import Rectangle

Deed = Callable[[Page], None]
"""What a person says of the image on the screen, but for sending it."""


def enter(page: Page, kind: str, batch: str) -> None:
    """Open the room for a kind of work: "", "/review" or "/adjudicate"."""
    page.goto(f"/annotate{kind}?batch={batch}")
    shown(page)


def shown(page: Page, after: str = "") -> str:
    """Wait until the registry has given another image than this task's, or says that nothing waits; gives the task, ""
    for none."""
    page.wait_for_selector(
        f"#room[data-given]:not([data-given=''], [data-given='{after}']) #work:not([hidden]), #nothing:not([hidden])"
    )
    return page.locator("#room").get_attribute("data-given") or ""


def image_of(page: Page) -> str:
    """The name of the image on the screen."""
    return page.locator("#about").inner_text().split(" · ")[0]


def work_through(page: Page, deeds: Mapping[str, Deed], otherwise: Deed | None = None) -> list[str]:
    """Answer all that waits, each image by the deed of its name; gives the names in their order."""
    done, task = list[str](), shown(page)
    while task:
        name = image_of(page)
        deed = deeds.get(name, otherwise)
        assert deed is not None, name
        deed(page)
        done.append(name)
        task = shown(page, task)
    settled(page)
    return done


def settled(page: Page) -> None:
    """Wait until everything that was said has arrived."""
    expect(page.locator("#nothing")).to_be_visible()
    while page.evaluate("Object.keys(localStorage).some((name) => name.includes(' outbox '))"):
        page.wait_for_timeout(20)


def keys(*pressed: str) -> Deed:
    """Say it by keys alone."""

    def deed(page: Page) -> None:
        for key in pressed:
            page.keyboard.press(key)

    return deed


GOOD = keys("Shift+g")
SEND = keys("n")
ACCEPT = keys("a")


def doing(*deeds: Deed) -> Deed:
    """One after the other."""

    def deed(page: Page) -> None:
        for one in deeds:
            one(page)

    return deed


def whole(digit: str) -> Deed:
    """The class of the image as a whole, and send."""
    return keys(f"Shift+{digit}", "n")


def choose(digit: str, class_name: str) -> Deed:
    """Draw with a class from now on: by its key, or, where it has none, with the mouse."""
    if digit:
        return keys(digit)
    return lambda page: page.locator(f"#classes li[data-class='{class_name}'] button.class").click()


def box(mark: Rectangle) -> Deed:
    """Drag a box."""
    x, y, width, height = mark
    return doing(keys("b"), lambda page: drag(page, (x, y), (x + width, y + height)))


def polygon(*points: tuple[float, float]) -> Deed:
    """Click the corners, Enter closes."""

    def deed(page: Page) -> None:
        page.keyboard.press("p")
        for point in points:
            page.mouse.click(*_place(page, point))
        page.keyboard.press("Enter")

    return deed


def stroke(*points: tuple[float, float]) -> Deed:
    """One stroke of the brush."""
    return doing(keys("m"), lambda page: drag(page, *points))


def ambiguous(reason: str, note: str, proposed: str) -> Deed:
    """The guide does not decide; why, and what one would say if one had to."""

    def deed(page: Page) -> None:
        page.keyboard.press("q")
        dialog = page.locator("#ambiguous-dialog")
        dialog.locator(f"input[value='{reason}']").check()
        dialog.get_by_role("combobox").select_option(proposed)
        dialog.get_by_role("textbox").fill(note)
        dialog.get_by_role("button", name="Say so").click()
        expect(page.locator("#ambiguous")).to_have_attribute("aria-pressed", "true")

    return deed


def proposals(page: Page) -> int:
    """How many marks are proposed and not decided."""
    return page.locator("#marks .proposed").count()


def discard_all(page: Page) -> None:
    """Put away everything that is proposed."""
    for _ in range(proposals(page)):
        page.keyboard.press("d")


def send_back(note: str) -> Deed:
    """A reviewer's note to the author."""

    def deed(page: Page) -> None:
        page.keyboard.press("b")
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("textbox").fill(note)
        dialog.get_by_role("button", name="Send back").click()

    return deed


def drag(page: Page, *points: tuple[float, float]) -> None:
    """Press at the first pixel of the image, go over the others, let go at the last."""
    page.mouse.move(*_place(page, points[0]))
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*_place(page, point), steps=3)
    page.mouse.up()


def _place(page: Page, point: tuple[float, float]) -> tuple[float, float]:
    """Where a pixel of the image is on the screen."""
    x, y = page.evaluate("p => andon.editor.view.toScreen(p)", list(point))
    area = page.locator("#canvas").bounding_box()
    assert area is not None
    return area["x"] + x, area["y"] + y

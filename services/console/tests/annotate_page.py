"""What a person does on the page where images are annotated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from .conftest import identity

Opener = Callable[..., Page]
SHOWN = "#room[data-shown='{}']"


def shown(page: Page, name: str) -> None:
    """Wait until this task's image is there to draw on."""
    page.wait_for_selector(SHOWN.format(identity(f"task {name}")))


def begin(open_page: Opener, name: str = "1", **options: Any) -> Page:
    page = open_page("/annotate", **options)
    shown(page, name)
    return page


def place(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where a pixel of the image is on the screen."""
    at = page.evaluate("p => andon.editor.view.toScreen(p)", [x, y])
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    return box["x"] + at[0], box["y"] + at[1]


def drag(page: Page, *points: tuple[float, float]) -> None:
    page.mouse.move(*place(page, *points[0]))
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*place(page, *point), steps=4)
    page.mouse.up()


def click(page: Page, x: float, y: float) -> None:
    page.mouse.click(*place(page, x, y))


def marks(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate("andon.store.doc.shapes")
    return found


def only(page: Page) -> dict[str, Any]:
    (one,) = marks(page)
    return one


def bits(page: Page, mask: dict[str, Any]) -> list[int]:
    """A mask's pixels, as the page's own module reads them."""
    script = """async ({ counts, size }) => {
        const here = document.querySelector('[src*="/annotate.js"]').src;
        const { decode } = await import(here.replace("annotate.js", "masks.js"));
        const { left, top, width, height, bits } = decode(counts, size), all = new Uint8Array(size[0] * size[1]);
        for (let y = 0; y < height; y++) all.set(bits.subarray(y * width, (y + 1) * width), (top + y) * size[1] + left);
        return [...all];
    }"""
    found: list[int] = page.evaluate(script, mask)
    return found


def saved(page: Page) -> None:
    expect(page.locator("#save")).to_have_attribute("data-state", "saved")

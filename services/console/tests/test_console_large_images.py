"""Images of 108 million pixels in a real Chromium: drawn from tiles, marked to a pixel, within a known memory."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from console.domain.large import MOST_PIXELS, MOST_SIDE, is_large
from console.modules import MODULES
from fastapi import Request, Response
from fastapi.responses import JSONResponse
from playwright.sync_api import Page, expect

from .annotate_page import Opener, begin, drag, marks, only, place, shown
from .annotate_registry import LabelingRoom, annotation, shape
from .conftest import identity, until

SHOTS = Path(__file__).parents[3] / "build" / "console"
WIDTH, HEIGHT, TILE, TOP = 12_000, 9_000, 512, 14
DARK = (7321, 4567, 61, 37)
"""x, y, width, height of the one dark place."""


@cache
def piece(level: int, column: int, row: int) -> bytes:
    """One tile of a picture with lines every 250 pixels and a dark place; made when it is asked for."""
    step = 2 ** (TOP - level)
    width, height = -(-WIDTH // step), -(-HEIGHT // step)
    x = np.arange(column * TILE, min((column + 1) * TILE, width)) * step
    y = np.arange(row * TILE, min((row + 1) * TILE, height)) * step
    shade = (120 + 60 * x[None, :] / WIDTH + 40 * y[:, None] / HEIGHT).astype(np.uint8)
    shade[(y % 250 < 2 * step), :] -= 30
    shade[:, (x % 250 < 2 * step)] -= 30
    left, top, wide, high = DARK
    inside = (y[:, None] >= top) & (y[:, None] < top + high) & (x >= left) & (x < left + wide)
    shade[inside] = 20
    return bytes(cv2.imencode(".png", shade)[1])


class LargeRoom(LabelingRoom):
    """A labeling room whose images are large; nobody may ask for a picture as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self.tiles: list[tuple[str, int, int, int]] = []

    def add_large(self, name: str, kind: str = "label", **more: Any) -> str:
        task = self.add_task(name, kind, **more)
        self.tasks[-1]["image"] |= {"width": WIDTH, "height": HEIGHT}
        return task

    async def _serve(self, request: Request, path: str) -> Response:
        assert "view=screen" not in str(request.url), "the whole picture"
        found = re.fullmatch(r"v1/(?:images|captures)/([^/]+)/tiles(?:/(\d+)/(\d+)_(\d+)\.png)?", path)
        if not found:
            return await super()._serve(request, path)
        if found[2] is None:
            size = {"Width": str(WIDTH), "Height": str(HEIGHT)}
            said = {"xmlns": "", "Url": f"/{path}/", "Format": "png", "Overlap": "0", "TileSize": str(TILE)}
            return JSONResponse({"Image": said | {"Size": size}})
        level, column, row = map(int, found.groups()[1:])
        self.tiles.append((found[1], level, column, row))
        return Response(piece(level, column, row), media_type="image/png")


@pytest.fixture
def registry() -> LargeRoom:
    return LargeRoom()


@pytest.fixture
def room(registry: LargeRoom) -> LargeRoom:
    for name in ("1", "2"):
        registry.add_large(name)
    return registry


def look(page: Page, box: tuple[int, int, int, int]) -> None:
    """Zoom to a part of the image, and wait for its tiles."""
    page.evaluate("box => { andon.editor.view.look(box); andon.editor.draw(); }", list(box))
    drawn(page)


def drawn(page: Page) -> None:
    """Wait until all tiles of the view are on the screen."""
    frames = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    page.evaluate(frames)
    until(page, "() => !andon.editor.picture.busy")
    page.evaluate(frames)


def shot(page: Page, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"large-{name}.png")


def pixel(page: Page, x: float, y: float) -> int:
    """How bright the drawn picture is at a pixel of the image."""
    script = """([x, y]) => {
        const canvas = document.querySelector("#stage canvas"), [left, top] = andon.editor.view.toScreen([x, y]);
        return canvas.getContext("2d").getImageData(left * devicePixelRatio, top * devicePixelRatio, 1, 1).data[0];
    }"""
    found: int = page.evaluate(script, [x, y])
    return found


def test_a_box_is_drawn_to_a_pixel_after_zooming_in(open_page: Opener, room: LargeRoom) -> None:
    page = begin(open_page)
    image = identity("image 1")
    drawn(page)
    first = {level for name, level, _, _ in room.tiles if name == image}
    assert max(first) < TOP - 2, "what a screen cannot show is not fetched"
    shot(page, "fitted")
    look(page, DARK)
    shot(page, "zoomed")
    assert {level for name, level, _, _ in room.tiles if name == image} > {TOP}
    x, y, width, height = DARK
    assert pixel(page, x + 1.5, y + 1.5) == pixel(page, x + width - 1.5, y + height - 1.5) == 20
    for outside in ((x - 1.5, y + 5), (x + 5, y - 1.5), (x + width + 1.5, y + 5), (x + 5, y + height + 1.5)):
        assert pixel(page, *outside) > 80, outside
    page.keyboard.press("2")
    drag(page, (x, y), (x + width, y + height))
    assert only(page)["box"] == pytest.approx([x, y, width, height], abs=0.3)
    shot(page, "marked")


def test_the_next_image_is_there_before_it_is_asked_for(open_page: Opener, room: LargeRoom) -> None:
    page = begin(open_page)
    until(page, "() => andon.queue.ready() !== null")
    page.wait_for_load_state("networkidle")
    before = [tile for tile in room.tiles if tile[0] == identity("image 2")]
    assert before, "its coarse picture"
    assert max(level for _, level, _, _ in before) > min(level for _, level, _, _ in before), (
        "and first tiles"
    )
    page.keyboard.press("Shift+g")
    shown(page, "2")
    page.wait_for_load_state("networkidle")
    after = [tile for tile in room.tiles if tile[0] == identity("image 2")]
    assert len(after) - len(before) <= 6, "the margin of another fit at most"


def test_a_fill_works_on_the_pixels_of_the_image(open_page: Opener, room: LargeRoom) -> None:
    page = begin(open_page)
    look(page, (7000, 4300, 800, 600))
    x, y, width, height = DARK
    page.keyboard.press("1")
    page.keyboard.press("f")
    page.mouse.click(*place(page, x + width / 2, y + height / 2))
    until(page, "() => andon.store.doc.shapes.length === 1")
    assert covered(page) == [x, y, width, height]
    assert only(page)["size"] == [HEIGHT, WIDTH]
    page.keyboard.press("v")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+z")
    page.keyboard.press("x")
    page.mouse.click(*place(page, x + width / 2, y + height / 2))
    until(page, "() => andon.store.doc.shapes.length === 1")
    left, top, wide, high = covered(page)
    assert x <= left and y <= top and left + wide <= x + width and top + high <= y + height


def test_a_fill_that_leaves_its_window_says_so(open_page: Opener, room: LargeRoom) -> None:
    page = begin(open_page)
    look(page, (5000, 4000, 3000, 2000))
    page.keyboard.press("1")
    page.keyboard.press("f")
    page.evaluate("andon.editor.set({ tolerance: 110 })")
    page.mouse.click(*place(page, 6100, 4600))
    until(page, "() => andon.store.doc.shapes.length === 1")
    expect(page.locator("#banner")).to_contain_text("The fill ends 1,024 px from the point")
    assert covered(page)[2:] == [2048, 2048]


def covered(page: Page) -> list[int]:
    """x, y, width, height of the only mask."""
    script = """async ({ counts, size }) => {
        const here = document.querySelector('[src*="/annotate.js"]').src;
        const { decode } = await import(here.replace("annotate.js", "masks.js"));
        const { left, top, width, height } = decode(counts, size);
        return [left, top, width, height];
    }"""
    found: list[int] = page.evaluate(script, only(page))
    return found


def test_a_brush_costs_what_it_touches_and_says_when_a_mask_is_too_large(
    open_page: Opener, room: LargeRoom
) -> None:
    page = begin(open_page)
    look(page, DARK)
    page.keyboard.press("1")
    page.keyboard.press("m")
    x, y, width, _ = DARK
    drag(page, (x, y + 10), (x + width, y + 10))
    left, top, wide, high = covered(page)
    assert (left, top) == pytest.approx((x - 8, y + 2), abs=2)
    assert (wide, high) == pytest.approx((width + 16, 16), abs=2)
    page.keyboard.press("0")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    drag(page, (1000, 1000), (11_000, 8_000))
    expect(page.locator("#banner")).to_contain_text("A mask this large cannot be painted")


def test_a_mask_of_the_whole_image_is_shown_but_not_painted_on(
    open_page: Opener, registry: LargeRoom
) -> None:
    everything = shape("mask", class_name="crack", size=[HEIGHT, WIDTH], counts=runs(0, WIDTH * HEIGHT))
    registry.add_large("1", proposal=annotation(everything | {"confirmed": False}))
    page = begin(open_page)
    patch = """async ({ counts, size }) => {
        const here = document.querySelector('[src*="/annotate.js"]').src;
        const { decode } = await import(here.replace("annotate.js", "masks.js"));
        const { left, top, width, height, bits, step } = decode(counts, size);
        return [left, top, width, height, step, bits.length, bits.indexOf(0)];
    }"""
    left, top, width, height, step, held, hole = page.evaluate(patch, marks(page)[0])
    assert [left, top, width, height] == [0, 0, WIDTH, HEIGHT]
    assert step == 3 and held <= 16_000_000 and hole == -1
    page.keyboard.press("v")
    page.mouse.click(*place(page, 500, 500))
    page.keyboard.press("1")
    page.keyboard.press("m")
    page.mouse.click(*place(page, 500, 500))
    expect(page.locator("#banner")).to_contain_text("A mask this large cannot be painted")
    shot(page, "mask")


def runs(*lengths: int) -> str:
    """COCO's text of at most three runs."""
    text = ""
    for value in lengths:
        more = True
        while more:
            code, value = value & 31, value >> 5
            more = value != (-1 if code & 16 else 0)
            text += chr(code + (32 if more else 0) + 48)
    return text


def test_a_review_draws_from_tiles_too(open_page: Opener, registry: LargeRoom) -> None:
    said = annotation(shape(box=[float(value) for value in DARK]))
    answers = [
        {"annotation_id": identity(f"a{n}"), "author": name, "made_at": registry._time(0), "annotation": said}
        for n, name in enumerate(("ada", "ben"))
    ]
    registry.add_large("1", "adjudicate", answers=answers)
    page = open_page("/annotate/adjudicate", "olga")
    shown(page, "1")
    page.keyboard.press("1")
    page.locator("#differences button").first.click()
    page.wait_for_load_state("networkidle")
    assert any(level == TOP for _, level, _, _ in registry.tiles)
    shot(page, "review")


def test_tiles_in_memory_are_bounded_and_denoising_is_for_small_images(
    open_page: Opener, room: LargeRoom
) -> None:
    page = begin(open_page)
    page.locator("details.view summary").click()
    page.locator("#denoise").click()
    expect(page.locator("#banner")).to_contain_text("without denoising")
    expect(page.locator("#denoise")).not_to_be_checked()
    for part in range(5):
        page.evaluate(f"andon.editor.picture.pixels([{part * 2000}, 2000, 2048, 2048]).then(() => null)")
    script = """async () => {
        const here = document.querySelector('[src*="/annotate.js"]').src;
        return (await import(here.replace("annotate.js", "tiles.js"))).inMemory();
    }"""
    assert len(room.tiles) > 96
    assert page.evaluate(script) <= 96


def test_a_capture_is_looked_at_down_to_its_pixels(open_page: Opener, registry: LargeRoom) -> None:
    registry.add_capture("1")
    registry.captures[0]["image"] |= {"width": WIDTH, "height": HEIGHT}
    page = open_page(f"/captures/{identity('1')}")
    canvas, stage = page.locator("canvas.deep"), page.locator(".stage")
    expect(canvas).to_have_attribute("aria-label", re.compile("^Image of "))
    until(page, "() => document.querySelector('canvas.deep').width > 300")
    page.wait_for_load_state("networkidle")
    shot(page, "capture")
    box = stage.bounding_box()
    assert box is not None
    fitted = min(box["width"] / WIDTH, box["height"] / HEIGHT)
    x, y, width, height = DARK
    at = [
        box["x"] + box["width"] / 2 + (x + width / 2 - WIDTH / 2) * fitted,
        box["y"] + box["height"] / 2 + (y + height / 2 - HEIGHT / 2) * fitted,
    ]
    page.mouse.move(*at)
    for _ in range(14):
        page.mouse.wheel(0, -200)
    page.wait_for_load_state("networkidle")
    assert any(level == TOP for _, level, _, _ in registry.tiles)
    seen = """([left, top]) => {
        const canvas = document.querySelector("canvas.deep"), box = canvas.getBoundingClientRect();
        return canvas.getContext("2d").getImageData(left - box.left, top - box.top, 1, 1).data[0];
    }"""
    assert page.evaluate(seen, at) == 20, "the zoom keeps in place what is under the pointer"
    shot(page, "capture-zoomed")


def test_all_sides_call_the_same_images_large() -> None:
    script = (MODULES / "tiles.js").read_text()
    pixels, side = re.findall(r"MOST_PIXELS = ([\de]+), MOST_SIDE = (\d+)", script)[0]
    assert (float(pixels), int(side)) == (MOST_PIXELS, MOST_SIDE)
    assert is_large(WIDTH, HEIGHT) and not is_large(4000, 3000)

"""Readiness, images, versions, imports: what their pages say, lead to, do and look like."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from console.domain import image_pages, readiness_pages
from playwright.sync_api import Page, expect

from .conftest import SIZES, identity
from .desk_registry import ANSWERS, Desk, figure
from .room_registry import V1, V2

SHOTS = Path(__file__).parents[3] / "build" / "console"
READINESS = f"/quality/datasets/{V2}/readiness"
IMAGE = f"/quality/images/{identity('a')}"
PAGES = {
    "datasets-readiness": READINESS,
    "datasets-new": "/quality/datasets/new",
    "images": "/quality/images?class_name=crack",
    "image": IMAGE,
    "standards-form": "/quality/standards/line-a/cell-1/edit",
    "standards-new": "/quality/standards/new",
    "imports": "/quality/imports",
    "imports-new": "/quality/imports/new",
    "import": f"/quality/imports/{identity('import')}",
    "exports": "/quality/exports?format=yolo&line=line-a",
}
CUT = {
    "key": "k1",
    "purpose": " First cut ",
    "lines": "line-a, line-b,line-a",
    "before": "2026-03-01T12:00",
    "shapes": "yes",
    "divided": "yes",
    "share-train": "70",
    "share-validation": "10",
    "share-test": "",
    "share-holdout": "20",
    "keys": ["part", "neighbour"],
    "distance": "6",
    "block": "30",
    "seed": "s",
    "keep": V1,
}


@pytest.fixture
def registry() -> Desk:
    desk = Desk()
    desk.add_capture("one")
    return desk


class TestReadiness:
    def test_each_question_has_its_verdict_what_is_missing_and_where_to_do_it(
        self, client: httpx.Client
    ) -> None:
        text = client.get(READINESS).text
        assert all(answer["question"] in text for answer in ANSWERS)
        assert text.count("Not ready") == 2 * 2 + 1 and text.count(">Ready<") == 2
        assert "1113 of 1344 images name no station" in text
        assert "PUT /v1/stations" not in text, "people are not told of an API"
        assert '<a href="/quality/standards">Capture standards</a>' in text

    def test_figures_lead_to_the_images_behind_them(self) -> None:
        shown = {one.name: one for one in readiness_pages.figures(ANSWERS[3]["figures"], "/here")}
        assert shown["Independent of class blowhole"].href == "/here/images?class_name=blowhole"
        assert shown["In train"].href == "/here/images?part=train"
        assert shown["In holdout"].href == "", "nobody is led to images of the holdout"

    def test_evidence_leads_to_pages_and_never_to_the_api(self) -> None:
        for one in readiness_pages.questions({"dataset": V2, "answers": ANSWERS}):
            assert all(not href.startswith("/v1/") for _, href in one.evidence)
        assert readiness_pages.evidence("/v1/stations/line%20a/cell-1/deviations") == (
            "/quality/standards/line%20a/cell-1#deviations"
        )
        assert readiness_pages.evidence("/v1/evaluation-batches") == ""

    def test_estimates_are_drawn_with_their_interval_and_counts_as_bars(self) -> None:
        known = [
            figure("a", 0.4, "alpha", low=-0.5, high=1.0, of=9),
            figure("b", 0.25, "share", of=4),
            figure("c", 3, "of 4 defect classes"),
            figure("d", 7),
            figure("e", None, "kappa"),
        ]
        alpha, portion, filled, plain, undefined = readiness_pages.figures(known, "")
        assert (alpha.left, alpha.at, alpha.width, alpha.zero) == (0.0, 60.0, 100.0, 33.33)
        assert (portion.share, portion.at, filled.share) == (25.0, None, 75.0)
        assert (plain.share, plain.at, undefined.text) == (None, None, "undefined")

    @pytest.mark.parametrize("form", ["pdf", "html", "json"])
    def test_it_is_saved_as_a_file(self, client: httpx.Client, form: str) -> None:
        found = client.get(f"{READINESS}.{form}")
        assert found.status_code == 200
        assert found.headers["content-disposition"] == f'attachment; filename="readiness-222222222222.{form}"'
        assert "sandbox" in found.headers["content-security-policy"]
        assert client.get(f"{READINESS}.exe").status_code == 422


@pytest.fixture
def dana(client: httpx.Client) -> httpx.Client:
    """The data lead at the desk."""
    client.cookies.set("andon_reviewer", "dana")
    return client


class TestCut:
    def test_a_version_is_cut_as_the_form_says(self, dana: httpx.Client, registry: Desk) -> None:
        answer = dana.post("/quality/datasets", data=CUT)
        assert answer.headers["location"] == f"/quality/datasets/{V2}"
        ((path, body, key),) = registry.sent
        assert (path, key) == ("/v1/datasets/snapshots", "k1")
        assert (body["purpose"], body["created_by"], body["shapes"]) == ("First cut", "dana", True)
        assert body["filter"]["lines"] == ["line-a", "line-b"]
        assert body["filter"]["approved_before"] == "2026-03-01T12:00:00+00:00"
        assert body["split"] == {
            "shares": {"train": 0.7, "validation": 0.1, "holdout": 0.2},
            "keys": ["part", "neighbour"],
            "distance": 6,
            "block_s": 1800.0,
            "seed": "s",
            "keep": V1,
        }
        assert "1 warnings" in dana.get(answer.headers["location"]).text

    @pytest.mark.parametrize(
        ("typed", "said"),
        [
            ({"purpose": " "}, "Give it a name"),
            ({"share-holdout": "30"}, "these are 110 %"),
            ({"share-holdout": "many"}, "Each share is a number"),
            ({"share-train": "0", "share-test": "70"}, "train needs a share"),
            ({"distance": "6.5"}, "A whole number of bits"),
            ({"block": "nan"}, "A number of minutes"),
            ({"before": "soon"}, "This is no date."),
        ],
    )
    def test_what_cannot_be_meant_is_said_beside_its_field(
        self, dana: httpx.Client, registry: Desk, typed: dict[str, str], said: str
    ) -> None:
        answer = dana.post("/quality/datasets", data=CUT | typed)
        assert answer.status_code == 422
        assert said in answer.text and 'aria-invalid="true"' in answer.text
        assert 'value="line-a, line-b,line-a"' in answer.text, "nothing that was typed is lost"
        assert registry.sent == []

    def test_what_the_registry_refuses_is_shown_above_the_form(
        self, dana: httpx.Client, registry: Desk
    ) -> None:
        registry.refused = "No label passes the filter."
        answer = dana.post("/quality/datasets", data=CUT)
        assert "No label passes the filter." in answer.text and "First cut" in answer.text

    def test_nobody_cuts_nothing(self, client: httpx.Client, registry: Desk) -> None:
        assert "Say who you are first." in client.post("/quality/datasets", data=CUT).text
        assert registry.sent == []


class TestImages:
    def test_filters_and_pages_go_together(self, client: httpx.Client, registry: Desk) -> None:
        query = (
            f"class_name=crack&batch={identity('batch')}&state=done&segment=edge-case&line=line-a&origin=x"
        )
        text = client.get(f"/quality/images?{query}").text
        asked = {"class_name": "crack", "state": "done", "segment": "edge-case", "line": "line-a"}
        assert registry.asked_for == asked | {"batch_id": identity("batch"), "limit": "60"}
        assert all(f"/quality/images/{identity(name)}" in text for name in "abc")

    def test_a_version_lists_its_own_images(self, client: httpx.Client) -> None:
        answer = client.get(f"/quality/images?dataset={V2}&class_name=crack")
        assert answer.headers["location"] == f"/quality/datasets/{V2}/images?class_name=crack&segment="

    def test_a_version_is_looked_through_page_by_page(self, client: httpx.Client) -> None:
        text = client.get(f"/quality/datasets/{V2}/images?class_name=crack&start=0").text
        assert f"/quality/images/{identity('crack')}" in text and identity("blowhole") not in text
        assert "No image to show" in client.get(f"/quality/datasets/{V2}/images?start=60").text

    def test_an_image_tells_who_said_what_when_and_what_it_is_called_now(self, client: httpx.Client) -> None:
        text = client.get(IMAGE).text
        for told in (
            "Look at the edge",
            "Approved by olga",
            "Sent back",
            "A dark line.",
            "edge-crack, thermal-crack",
        ):
            assert told in text
        assert text.index("Approved by olga") < text.index("Look at the edge"), "the last comes first"
        assert "3 marked" in text and "Area" in text and '<g class="region' in text

    def test_a_capture_that_nobody_labeled_here_has_its_own_page(self, client: httpx.Client) -> None:
        other = identity("another")
        assert client.get(f"/quality/images/{other}").headers["location"] == f"/captures/{other}"

    def test_masks_are_drawn_pixel_by_pixel(self) -> None:
        # 4 rows, 3 columns; a run of 5 from the third pixel of the first column on, as pycocotools writes it.
        mask = {"kind": "mask", "size": [4, 3], "counts": "255", "class_name": "crack", "measurements": {}}
        drawn = image_pages.overlay({"shapes": [mask]}, 3, 4)
        assert drawn is not None
        (one,) = drawn.regions
        assert one.path == "M0 2h1v2h-1ZM1 0h1v3h-1Z"
        assert (one.x, one.y, one.width, one.height) == (0, 0, 2, 4)

    @pytest.mark.parametrize("every", [False, True])
    def test_what_images_are_there_for_is_marked(
        self, dana: httpx.Client, registry: Desk, every: bool
    ) -> None:
        form = {
            "image": [identity("a")],
            "shown": [identity("a"), identity("b")],
            "segment": "edge-case",
            "kind": "lighting",
            "note": "",
            "back": "/quality/images?line=line-a",
            "key": "k",
            **({"all": "yes"} if every else {}),
        }
        answer = dana.post("/quality/segment-marks", data=form)
        assert answer.headers["location"] == "/quality/images?line=line-a"
        ((path, body, key),) = registry.sent
        assert (path, key, body["marked_by"]) == ("/v1/datasets/segment-marks", "k", "dana")
        mark = {"segment": "edge-case", "kind": "lighting", "note": None}
        assert body["marks"] == [{"image_id": identity(one), **mark} for one in ("ab" if every else "a")]

    def test_marks_of_nothing_by_nobody_or_to_elsewhere(self, client: httpx.Client, registry: Desk) -> None:
        form = {"image": identity("a"), "segment": "normal", "back": "//elsewhere"}
        assert client.post("/quality/segment-marks", data=form).headers["location"] == "/quality/images"
        client.cookies.set("andon_reviewer", "dana")
        client.post("/quality/segment-marks", data={"segment": "normal"})
        assert registry.sent == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_page: Callable[..., Page], console: str, scheme: str) -> None:
    page = open_page(person="olga", color_scheme=scheme, reduced_motion="reduce")
    for path in PAGES.values():
        page.goto(console + path)
        for summary in page.locator("summary").all():
            summary.click()
        found = Axe().run(page)
        assert found.violations_count == 0, f"{path}: {found.generate_report()}"


@pytest.mark.parametrize("size", [*SIZES, "mobile"])
def test_it_fits_every_screen(
    open_page: Callable[..., Page], console: str, size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SIZES, "mobile", (390, 844))
    SHOTS.mkdir(parents=True, exist_ok=True)
    page = open_page(person="olga", size=size)
    for name, path in PAGES.items():
        page.goto(console + path)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        if size in {"desktop", "mobile"}:
            page.screenshot(path=SHOTS / f"{name}-{size}.png", full_page=True)


def test_a_version_is_cut_with_the_keyboard_and_without_javascript(
    open_page: Callable[..., Page], registry: Desk
) -> None:
    page = open_page("/quality/datasets", person="dana", java_script_enabled=False)
    page.get_by_role("link", name="Cut a version").click()
    page.get_by_label("Name, or what it is for").fill("Third cut")
    page.get_by_label("Holdout").fill("30")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Together the shares are 100 %; these are 115 %.")).to_be_visible()
    expect(page.get_by_label("Name, or what it is for")).to_have_value("Third cut")
    page.get_by_label("Validation").fill("")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Is it ready?")).to_be_visible()
    assert registry.sent[0][1]["split"]["shares"] == {"train": 0.7, "holdout": 0.3}


def test_marks_are_shown_beside_and_on_the_image(open_page: Callable[..., Page]) -> None:
    page = open_page(IMAGE, person="dana")
    page.get_by_role("button", name="Show mark 2, Blowhole").click()
    expect(page.locator('[data-region="2"]')).to_have_class(re.compile("chosen"))
    page.get_by_role("checkbox", name="Marks").uncheck()
    expect(page.locator(".regions")).to_be_hidden()

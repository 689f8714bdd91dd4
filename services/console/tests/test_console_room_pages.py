"""Agreement, dataset versions and batches: what their pages say, do and look like."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from console.domain import agreement_plot, dataset_pages, work_pages
from playwright.sync_api import Page

from .conftest import SIZES, identity
from .room_registry import V1, V2, Room, figure

SHOTS = Path(__file__).parents[3] / "build" / "console"
BATCH = f"/quality/work/{identity('batch')}"
PAGES = {
    "agreement": "/quality/agreement",
    "agreement-images": "/quality/agreement/images?by=class&name=crack",
    "agreement-image": f"/quality/images/{identity('a')}",
    "datasets": "/quality/datasets",
    "datasets-version": f"/quality/datasets/{V2}",
    "datasets-images": f"/quality/datasets/{V2}/images?segment=known-defect",
    "datasets-leakage": f"/quality/datasets/{V2}/leakage",
    "datasets-diff": f"/quality/datasets/compare?before={V1}&after={V2}",
    "work": "/quality/work",
    "work-batch": BATCH,
    "work-new": "/quality/work/new?source=images",
    "work-ambiguous": "/quality/work/ambiguous",
}

FORM = {"name": "Week 13", "mode": "consensus", "answers": "3", "people": "ada, ben,ada", "key": "k1"}


@pytest.fixture
def registry() -> Room:
    room = Room()
    room.add_capture("one")
    return room


class TestAgreement:
    def test_dots_of_all_rows_share_one_scale(self) -> None:
        scale = agreement_plot.scale([figure(0.6, -0.25, 0.9), figure(None)])
        drawn = agreement_plot.dot("Alpha", figure(0.5, -0.25, 1.0), scale)
        assert (drawn.left, drawn.at, drawn.width) == (0.0, 60.0, 100.0)
        assert agreement_plot.dot("Alpha", figure(None), scale).at is None

    @pytest.mark.parametrize(
        ("alpha", "tone"),
        [
            (figure(0.9, 0.85, 0.95), "pass"),
            (figure(0.9, 0.7, 0.95), "rework"),
            (figure(0.4, 0.2, 0.6), "reject"),
            (figure(None), "pending"),
        ],
    )
    def test_the_interval_decides_what_may_be_said(self, alpha: dict[str, float], tone: str) -> None:
        assert agreement_plot.verdict(alpha)[1] == tone

    def test_images_behind_a_class_are_those_where_somebody_named_it(self, client: httpx.Client) -> None:
        text = client.get(PAGES["agreement-images"]).text
        assert "tile a" in text and "tile b" in text and "tile c" not in text
        assert text.index("tile a") < text.index("tile b"), "where people differ comes first"

    @pytest.mark.parametrize(
        ("query", "shown"),
        [("by=camera&name=cam-c", "c"), ("by=reviewer&name=ada+/+eve", ""), ("by=part&name=T-100", "abc")],
    )
    def test_every_slice_leads_to_its_images(self, client: httpx.Client, query: str, shown: str) -> None:
        text = client.get(f"/quality/agreement/images?{query}").text
        assert {name for name in "abc" if f"tile {name}<" in text} == set(shown)

    def test_reviews_of_captures_count_without_the_adjudication(self, registry: Room) -> None:
        registry.add_review("x", "disputed")
        review = registry.reviews[0]
        final = review["answers"][0] | {"reviewer": "olga", "adjudication": True}
        judged = agreement_plot.reviewed(review | {"answers": [*review["answers"], final]})
        assert judged.said == (("ada", "good"), ("ben", "crack")) and judged.differs

    def test_imports_and_adjudicators_are_nobody_who_judged_blind(self, registry: Room) -> None:
        image = registry._image("a") | {"history": registry._history("a")}
        said = agreement_plot.annotated(image).said
        own = [{"decision": "approved", "by": "olga", "note": None, "decided_at": registry._time(9)}]
        last = image["history"][-1]
        more = [
            last | {"author": "import:set", "origin": "import", "task_id": None},
            last | {"author": "olga", "decisions": own},
        ]
        assert agreement_plot.annotated(image | {"history": [*more, *image["history"]]}).said == said
        assert [person for person, _ in said] == ["ada", "ben"]

    def test_without_two_answers_it_says_how_to_get_them(self, client: httpx.Client, registry: Room) -> None:
        registry.report |= {"images": 0, "people": [], "pairs": [], "regions": None, "alpha": figure(None)}
        assert "Nobody can agree yet" in client.get(PAGES["agreement"]).text


class TestDatasets:
    def test_a_version_says_what_is_thin_and_who_read_the_holdout(self, client: httpx.Client) -> None:
        text = client.get(PAGES["datasets-version"]).text
        assert "has 4 independent parts" in text and "Read 1 time;" in text and "release-7" in text
        assert f"/quality/datasets/{V2}/images?class_name=crack" in text
        assert "images?part=holdout" not in text, "nobody is led to images of the holdout"

    def test_images_behind_a_figure_come_from_the_version(self, client: httpx.Client) -> None:
        text = client.get(f"/quality/datasets/{V2}/images?class_name=crack").text
        assert identity("crack") in text and identity("blowhole") not in text

    def test_both_versions_stand_side_by_side(self, client: httpx.Client) -> None:
        text = client.get(PAGES["datasets-diff"]).text
        assert "LEFT THE HOLDOUT" in text and "And 1 in the holdout" in text and "+3" in text

    def test_leaks_are_shown_in_pairs_but_never_an_image_of_the_holdout(
        self, client: httpx.Client, registry: Room
    ) -> None:
        assert client.get(PAGES["datasets-leakage"]).text.count("/thumbnail") == 2
        registry.leaked_parts = ["train", "holdout"]
        text = client.get(PAGES["datasets-leakage"]).text
        assert "/thumbnail" not in text and "counted, not shown" in text

    def test_what_is_no_hash_is_no_version(self, client: httpx.Client) -> None:
        assert client.get("/quality/datasets/..%2Fsnapshots").status_code in {404, 422}

    def test_parts_come_in_the_order_of_learning(self) -> None:
        version = {"parts": {"holdout": 1, "train": 3}, "items": 4}
        assert dataset_pages.parts(version) == [("train", 3, 75.0), ("holdout", 1, 25.0)]
        assert dataset_pages.parts({"parts": {}, "items": 4}) == [("all", 4, 100.0)]


class TestWork:
    def test_captures_without_a_part_are_offered_too(self, client: httpx.Client, registry: Room) -> None:
        registry.captures[0]["context"] = {}
        text = client.get("/quality/work/new?line=line-a").text
        assert f'value="{identity("one")}" checked' in text and "line-a / cell-1" in text

    def test_ticked_images_become_a_batch_once(self, client: httpx.Client, registry: Room) -> None:
        client.cookies.set("andon_reviewer", "dana")
        form = {**FORM, "plan": "fraction", "percent": "25", "image": [identity("a"), identity("c")]}
        answer = client.post("/quality/work", data=form)
        assert answer.headers["location"] == BATCH
        (_, made, key), (_, lot, second) = registry.sent
        assert made["people"] == ["ada", "ben"] and made["answers_wanted"] == 3
        assert made["review"] == {"plan": "fraction", "fraction": 0.25}
        assert lot == {"images": [identity("a"), identity("c")], "added_by": "dana"}
        assert (key, second) == ("k1", "k1-images"), "sent again, nothing is made twice"

    @pytest.mark.parametrize("lacks", ["person", "image"])
    def test_nothing_is_made_by_nobody_or_of_nothing(
        self, client: httpx.Client, registry: Room, lacks: str
    ) -> None:
        if lacks != "person":
            client.cookies.set("andon_reviewer", "dana")
        form = {**FORM, **({"image": identity("a")} if lacks != "image" else {})}
        assert client.post("/quality/work", data=form).headers["location"].startswith("/quality/work/new")
        assert registry.sent == []

    def test_a_batch_is_closed_by_a_person(self, client: httpx.Client, registry: Room) -> None:
        client.cookies.set("andon_reviewer", "dana")
        client.post(f"{BATCH}/close", data={"key": "k2"})
        assert registry.sent[0][1:] == ({"closed_by": "dana"}, "k2")
        assert "Close this batch" not in client.get(BATCH).text

    def test_doubts_are_counted_by_reason(self, client: httpx.Client) -> None:
        text = client.get("/quality/work/ambiguous?reason=boundary").text
        assert "Where it begins and ends is unclear" in text and text.count("It fades out") == 1

    def test_only_a_finished_batch_is_at_a_hundred(self) -> None:
        assert work_pages.done({"done": 999, "to-label": 1}) == 99
        assert work_pages.done({}) == 0
        assert [one[0] for one in work_pages.bars({"done": 1, "to-label": 1})] == ["Done", "To label"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_page: Callable[..., Page], console: str, scheme: str) -> None:
    page = open_page(person="olga", color_scheme=scheme, reduced_motion="reduce")
    for path in PAGES.values():
        page.goto(console + path)
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

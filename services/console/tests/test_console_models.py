"""Regions and releases: what the screens say of them, without a screen and over HTTP."""

from __future__ import annotations

import math
import re
from typing import Any

import httpx
import pytest
from console.domain import models, regions
from console.domain.card import card as card_of
from hypothesis import given
from hypothesis import strategies as st

from .conftest import CARD, CRACK, StandIn, identity, region

IMAGE = {"width": 640, "height": 480}


def overlay(*found: dict[str, Any], **scores: float) -> regions.Overlay:
    shown = regions.overlay({"image": IMAGE, "scores": scores, "regions": list(found)})
    assert shown is not None
    return shown


class TestRegions:
    def test_nothing_is_drawn_of_nothing(self) -> None:
        assert regions.overlay({"image": IMAGE, "scores": {}, "regions": []}) is None

    def test_an_outline_becomes_a_ring_and_a_box_a_rectangle(self) -> None:
        ring, plain, line = overlay(CRACK, region(), region(outline=[1.0, 1.0, 5.0, 5.0])).regions
        assert ring.path == "M4.0 22.0 L44.0 20.0 L44.0 24.0 L5.0 26.0Z"
        assert plain.path == line.path == "M10 12h5v5h-5Z"

    def test_a_class_keeps_its_colour_whatever_else_is_found(self) -> None:
        scores = {"crack": 0.5, "fray": 0.2, "normal": 0.1}
        alone = overlay(region(class_name="fray"), **scores).regions[0]
        among = overlay(region(), region(class_name="fray"), **scores).regions
        assert alone.colour == among[1].colour != among[0].colour
        assert [one.label for one in among] == ["1 Crack 60\u00a0%", "2 Fray 60\u00a0%"]

    @pytest.mark.parametrize(
        ("figures", "lines"),
        [
            (
                {"length_px": 41.23, "length_mm": 8.246, "width_px": 3.96},
                [("Length", "41.2 px · 8.25 mm"), ("Width", "4.0 px")],
            ),
            ({"area_px2": 1093.4, "area_mm2": 43.71}, [("Area", "1093 px² · 43.7 mm²")]),
            (
                {"angle_deg": -3.24, "straightness": 0.98765},
                [("Angle", "\u22123.2°"), ("Straightness", "0.988")],
            ),
            ({"length_um": 0.0, "_px": 1.0}, [("Length", "0 µm"), ("Px", "1.00")]),
        ],
    )
    def test_measures_have_the_digits_that_count(
        self, figures: dict[str, float], lines: list[tuple[str, str]]
    ) -> None:
        assert [(name, text.replace("\u00a0", " ")) for name, text in regions.measures(figures)] == lines

    @given(st.floats(-1e6, 1e6))
    def test_no_measure_is_far_from_the_truth(self, value: float) -> None:
        ((_, text),) = regions.measures({"length_mm": value})
        said = float(text.split("\u00a0")[0].replace("\u2212", "-"))
        assert math.isclose(said, value, rel_tol=0.006, abs_tol=0.006)


class TestFigures:
    def test_what_people_ask_for_comes_first(self) -> None:
        named = models.figures({"later": 3.0, "recall": 0.5, "auroc": 0.91, "gone": None})
        assert [figure.name for figure in named] == ["AUROC", "Recall", "Later"]
        assert [figure.text for figure in named] == ["0.910", "50\u00a0%", "3.000"]
        assert [figure.is_drawn for figure in named] == [True, True, False]

    def test_an_interval_lies_on_the_scale(self) -> None:
        (figure,) = models.figures({"auroc": {"value": 0.9, "low": 0.85, "high": 0.97}})
        assert (figure.left, figure.width, figure.at, figure.interval) == (85, 12, 90, "0.850 to 0.970")


class TestCard:
    def test_all_of_it(self) -> None:
        card = card_of(CARD)
        assert card.bands == (19, 62)
        assert card.confusion is not None
        assert card.confusion.rows[0] == ("Crack", [(40, True), (2, False)])
        (promise,) = card.promises
        assert (promise.is_kept, promise.verdict) == (False, "Not enough data")
        assert card.limits[0].startswith("Fray was left out; independent images to learn it from: 3")
        assert any("better of two" in limit for limit in card.limits)
        assert card.facts["How it was chosen"][0] == ("Classification, AUROC on validation", "0.920")

    def test_a_model_that_rejects_nothing_by_itself(self) -> None:
        described = CARD | {
            "thresholds": {"pass_below": 0.4, "reject_from": 1.01},
            "calibration": {"method": "none", "defect": None},
            "dataset": {"name": "none", "images": {}, "synthetic": {"fray": 30, "crack": 0}},
        }
        card = card_of(described)
        assert card.bands == (40, 100)
        assert card.facts["Calibration"] == [("Method", "none")]
        assert ("Synthetic defects", "Fray 30") in card.facts["Data"]

    def test_what_a_task_does_not_write_is_left_out(self) -> None:
        card = card_of({"task": "detection"})
        assert (card.figures, card.confusion, card.bands, card.promises, card.costs) == (
            [],
            None,
            None,
            [],
            "",
        )
        assert set(card.facts) == set()


class TestPages:
    @pytest.fixture
    def releases(self, registry: StandIn) -> StandIn:
        registry.add_release("old")
        registry.add_release("trial")
        registry.add_release("release-7", CARD, evaluation="<h1>Measured</h1>")
        registry.deploy("release-7", reason="better on poly")
        registry.deploy("trial", "shadow", ("line-b", None))
        registry.deploy("trial", "canary", ("line-a", "cell-1"), share=0.1)
        return registry

    def test_the_list_says_what_decides_where(self, client: httpx.Client, releases: StandIn) -> None:
        page = client.get("/models").text
        assert re.findall(r'href="/models/([\w-]+)"', page) == ["release-7", "trial", "old"]
        assert "Canary 10\u00a0%</span> line-a / cell-1" in page
        assert page.index("Canary") < page.index("Watches") < page.index("Not in use")

    def test_a_release_shows_its_card(self, client: httpx.Client, releases: StandIn) -> None:
        page = client.get("/models/release-7").text
        for text in (
            "0.860 to 0.950",
            "Decides</span> everywhere",
            "better on poly",
            "Not enough data",
            "critical",
        ):
            assert text in page

    def test_a_release_without_a_card_says_what_to_do(self, client: httpx.Client, releases: StandIn) -> None:
        assert "Publish the bundle again" in client.get("/models/old").text
        releases.cards.clear()  # the object store lost it
        assert "No card" in client.get("/models/release-7").text

    def test_a_report_is_framed_as_a_stranger(self, client: httpx.Client, releases: StandIn) -> None:
        page = client.get("/models/release-7?report=evaluation").text
        assert '<iframe class="report" sandbox src="/models/release-7/reports/evaluation"' in page
        answer = client.get("/models/release-7/reports/evaluation")
        assert answer.text == "<h1>Measured</h1>"
        rules = answer.headers["content-security-policy"]
        assert rules.startswith("sandbox; default-src 'none'") and "script" not in rules

    def test_what_is_not_there(self, client: httpx.Client, releases: StandIn) -> None:
        for path in ("/models/none", "/models/old?report=evaluation", "/models/old/reports/evaluation"):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["content-type"]) == (
                404,
                "text/html; charset=utf-8",
            ), path

    def test_without_any(self, client: httpx.Client) -> None:
        assert "No model yet" in client.get("/models").text

    def test_a_capture_lists_its_regions_for_those_who_do_not_see_them(
        self, client: httpx.Client, registry: StandIn
    ) -> None:
        registry.add_capture("cracked", "reject", 0.9, regions=[CRACK])
        page = client.get(f"/captures/{identity('cracked')}").text
        assert 'aria-label="Show region 1, Crack"' in page
        assert "40 × 6 px at 4, 20" in page
        assert "style=" not in page  # the content security policy forbids it

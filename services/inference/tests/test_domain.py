"""Which release decides where, and what its numbers mean."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from andon_vision import Preprocessing
from andon_vision.release_bundle import ReleaseBundle
from hypothesis import given
from hypothesis import strategies as st
from inference.domain.releases import Choice, Place, ReleaseTable
from inference.domain.scoring import Box, Scored, hottest_region, judge

START = datetime(2026, 1, 1, tzinfo=UTC)
CELL = Place("line-a", "cell-1")
ANYWHERE = Place(None, None)


def at(minutes: int) -> datetime:
    return START + timedelta(minutes=minutes)


def everything(release: str) -> bool:
    return True


class TestReleases:
    def test_the_closest_scope_decides(self) -> None:
        table = (
            ReleaseTable()
            .released(ANYWHERE, "plant-1", "active", at(0))
            .released(Place("line-a", None), "line-1", "active", at(1))
            .released(CELL, "cell-1", "active", at(2))
        )
        assert table.choose("line-a", "cell-1", everything) == Choice("cell-1")
        assert table.choose("line-a", "cell-2", everything) == Choice("line-1")
        assert table.choose("line-b", "cell-1", everything) == Choice("plant-1")
        assert ReleaseTable().choose("line-a", "cell-1", everything) is None

    def test_the_old_release_decides_until_the_new_one_is_loaded(self) -> None:
        table = ReleaseTable().released(CELL, "v1", "active", at(0)).released(CELL, "v2", "active", at(1))
        assert table.choose(*CELL, ready={"v1"}.__contains__) == Choice("v1")
        assert table.choose(*CELL, ready={"v1", "v2"}.__contains__) == Choice("v2")
        assert table.wanted({"v1"}.__contains__) == {"v1", "v2"}
        assert table.wanted({"v1", "v2"}.__contains__) == {"v2"}

    def test_what_was_rolled_back_decides_no_more_even_while_the_other_loads(self) -> None:
        table = (
            ReleaseTable()
            .released(CELL, "v1", "active", at(0))
            .released(CELL, "v2", "active", at(1))
            .rolled_back(CELL, "v1", at(2))
        )
        assert table.choose(*CELL, ready={"v2"}.__contains__) is None
        assert table.choose(*CELL, ready=everything) == Choice("v1")

    def test_a_shadow_watches_until_it_is_promoted(self) -> None:
        table = ReleaseTable().released(ANYWHERE, "v1", "active", at(0)).released(CELL, "v2", "shadow", at(1))
        assert table.choose(*CELL, ready=everything) == Choice("v1", ("v2",))
        assert table.choose(*CELL, ready={"v1"}.__contains__) == Choice("v1")
        assert table.choose("line-b", "x", everything) == Choice("v1")
        promoted = table.released(CELL, "v2", "active", at(2))
        assert promoted.choose(*CELL, ready=everything) == Choice("v2")
        assert promoted.shadow == {}

    @given(st.permutations(range(5)))
    def test_the_order_of_reading_two_topics_does_not_matter(self, order: list[int]) -> None:
        happened = [
            lambda table: table.released(CELL, "v1", "active", at(0)),
            lambda table: table.released(CELL, "v2", "active", at(1)),
            lambda table: table.rolled_back(CELL, "v1", at(2)),
            lambda table: table.released(CELL, "v3", "active", at(3)),
            lambda table: table.rolled_back(CELL, "v2", at(4)),
        ]
        table = ReleaseTable()
        for number in order:
            table = happened[number](table)
        assert table.choose(*CELL, ready=everything) == Choice("v2")
        assert table.choose(*CELL, ready={"v1", "v3"}.__contains__) is None


TWO_CLASSES = ReleaseBundle("r1", Preprocessing(8, 8), ("crack", "fray"), 0.2, 0.2, {})


class TestScoring:
    def test_the_likeliest_class_names_a_defect_and_normal_a_good_part(self) -> None:
        bad = judge(TWO_CLASSES, Scored(0.8, (0.1, 0.7), None, 1.0))
        assert (bad.predicted_class, bad.band) == ("fray", "defect")
        assert bad.scores == pytest.approx({"crack": 0.1, "fray": 0.7, "normal": 0.2})
        good = judge(TWO_CLASSES, Scored(0.1, (0.06, 0.04), None, 1.0))
        assert (good.predicted_class, good.band) == ("normal", "pass")

    def test_region_is_what_hangs_together_around_the_brightest_cell(self) -> None:
        heat = np.zeros((4, 8), np.uint8)
        heat[1, 2], heat[1, 3], heat[2, 3] = 200, 120, 110
        heat[3, 7] = 190  # bright, but elsewhere
        assert hottest_region(heat, 160, 40) == Box(x=40.0, y=10.0, width=40.0, height=20.0)

    def test_a_dark_map_points_nowhere(self) -> None:
        assert hottest_region(np.full((4, 4), 20, np.uint8), 100, 100) is None

    @given(st.integers(0, 2**32 - 1))
    def test_a_region_lies_in_the_image(self, seed: int) -> None:
        heat = np.random.default_rng(seed).integers(0, 256, (5, 7), dtype=np.uint8)
        box = hottest_region(heat, 700, 500)
        assert box is not None
        assert 0 <= box.x < box.x + box.width <= 700 and 0 <= box.y < box.y + box.height <= 500

"""Which release decides where, and what its numbers mean."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from andon_vision import Preprocessing
from andon_vision.release_bundle import ReleaseBundle
from hypothesis import given
from hypothesis import strategies as st
from inference.domain.releases import Choice, Place, ReleaseTable, Trial
from inference.domain.scoring import Scored, judge

START = datetime(2026, 1, 1, tzinfo=UTC)
LINE = Place("line-a", None)
CELL = Place("line-a", "cell-1")
ANYWHERE = Place(None, None)
CAPTURES = [f"capture-{number}" for number in range(2000)]


def at(minutes: int) -> datetime:
    return START + timedelta(minutes=minutes)


def everything(release: str) -> bool:
    return True


def chosen(table: ReleaseTable, place: Place, *loaded: str, capture: str = "c") -> Choice | None:
    """What is asked when these are loaded; all are when none is named."""
    return table.choose(place, capture, loaded.__contains__ if loaded else everything)


def share_of(table: ReleaseTable, place: Place, release: str, *loaded: str) -> float:
    """The share of captures that a release decides."""
    choices = [chosen(table, place, *loaded, capture=capture) for capture in CAPTURES]
    return sum(choice is not None and choice.deciding == release for choice in choices) / len(CAPTURES)


class TestReleases:
    def test_the_closest_scope_decides(self) -> None:
        table = (
            ReleaseTable()
            .released(ANYWHERE, "plant-1", "active", at(0))
            .released(LINE, "line-1", "active", at(1))
            .released(CELL, "cell-1", "active", at(2))
        )
        assert chosen(table, CELL) == Choice("cell-1")
        assert chosen(table, Place("line-a", "cell-2")) == Choice("line-1")
        assert chosen(table, Place("line-b", "cell-1")) == Choice("plant-1")
        assert chosen(ReleaseTable(), CELL) is None

    def test_the_old_release_decides_until_the_new_one_is_loaded(self) -> None:
        table = ReleaseTable().released(CELL, "v1", "active", at(0)).released(CELL, "v2", "active", at(1))
        assert chosen(table, CELL, "v1") == Choice("v1")
        assert chosen(table, CELL, "v1", "v2") == Choice("v2")
        assert table.wanted({"v1"}.__contains__) == ("v2", "v1")

    def test_the_one_before_stays_loaded_for_a_rollback_and_the_one_before_that_goes(self) -> None:
        table = ReleaseTable()
        for minutes, release in enumerate(("v1", "v2", "v3")):
            table = table.released(CELL, release, "active", at(minutes))
        assert table.wanted(everything) == ("v3", "v2")
        assert table.wanted({"v1"}.__contains__) == ("v3", "v1", "v2")

    def test_bad_releases_one_after_the_other_leave_the_last_good_one_deciding(self) -> None:
        table = ReleaseTable()
        for minutes, release in enumerate(("good", "bad-1", "bad-2")):
            table = table.released(CELL, release, "active", at(minutes))
        assert chosen(table, CELL, "good") == Choice("good")
        assert table.wanted({"good"}.__contains__, {"bad-1", "bad-2"}) == ("good",)

    def test_after_a_restart_the_event_itself_names_who_stands_in(self) -> None:
        table = ReleaseTable().released(CELL, "bad", "active", at(3), stand_ins=("good", "older"))
        assert chosen(table, CELL, "good", "older") == Choice("good")
        assert table.wanted(everything, {"bad"}) == ("good", "older")

    def test_a_pilot_that_cannot_be_loaded_leaves_its_station_to_the_line(self) -> None:
        table = ReleaseTable().released(LINE, "v1", "active", at(0)).released(CELL, "bad", "active", at(1))
        assert chosen(table, CELL, "v1") == Choice("v1")

    def test_what_was_rolled_back_decides_no_more_even_while_the_other_loads(self) -> None:
        table = (
            ReleaseTable()
            .released(ANYWHERE, "v2", "active", at(0))
            .released(CELL, "v1", "active", at(0))
            .released(CELL, "v2", "active", at(1))
            .rolled_back(CELL, "v1", "v2", "active", at(2))
        )
        assert chosen(table, CELL, "v2") is None
        assert chosen(table, CELL) == Choice("v1")

    def test_a_station_whose_only_release_was_withdrawn_follows_what_is_around_it(self) -> None:
        table = (
            ReleaseTable()
            .released(ANYWHERE, "v1", "active", at(0))
            .released(CELL, "v2", "active", at(1))
            .rolled_back(CELL, "v1", "v2", "active", at(2), follows=True)
        )
        assert chosen(table, CELL) == Choice("v1")
        assert table.wanted(everything) == ("v1",)
        assert chosen(table.released(ANYWHERE, "v3", "active", at(3)), CELL) == Choice("v3")
        assert chosen(table.released(LINE, "v3", "active", at(3)), CELL) == Choice("v3")
        assert chosen(table.released(CELL, "v3", "active", at(3)), CELL) == Choice("v3")
        assert chosen(table.released(ANYWHERE, "v2", "active", at(3)), CELL) == Choice("v2"), "meant anew"

    def test_what_was_withdrawn_does_not_stand_in_from_around(self) -> None:
        table = (
            ReleaseTable()
            .released(ANYWHERE, "v1", "active", at(0), stand_ins=("v2", "v0"))
            .released(CELL, "v2", "active", at(1))
            .rolled_back(CELL, "v1", "v2", "active", at(2), follows=True)
        )
        assert chosen(table, Place("line-b", "x"), "v2", "v0") == Choice("v2")
        assert chosen(table, CELL, "v2", "v0") == Choice("v0")
        assert chosen(table, CELL, "v2") is None

    def test_a_shadow_watches_until_it_is_promoted_or_withdrawn(self) -> None:
        table = ReleaseTable().released(ANYWHERE, "v1", "active", at(0)).released(CELL, "v2", "shadow", at(1))
        assert chosen(table, CELL) == Choice("v1", ("v2",))
        assert chosen(table, CELL, "v1") == Choice("v1")
        assert chosen(table, Place("line-b", "x")) == Choice("v1")
        promoted = table.released(CELL, "v2", "active", at(2))
        assert chosen(promoted, CELL) == Choice("v2")
        assert promoted.shadow == {}
        withdrawn = table.rolled_back(CELL, "v1", "v2", "shadow", at(2))
        assert chosen(withdrawn, CELL) == Choice("v1")
        assert withdrawn.wanted(everything) == ("v1",)

    @given(st.permutations(range(5)))
    def test_the_order_of_reading_two_topics_does_not_matter(self, order: list[int]) -> None:
        happened = [
            lambda table: table.released(CELL, "v1", "active", at(0)),
            lambda table: table.released(CELL, "v2", "active", at(1)),
            lambda table: table.rolled_back(CELL, "v1", "v2", "active", at(2)),
            lambda table: table.released(CELL, "v3", "active", at(3)),
            lambda table: table.rolled_back(CELL, "v2", "v3", "active", at(4)),
        ]
        table = ReleaseTable()
        for number in order:
            table = happened[number](table)
        assert chosen(table, CELL) == Choice("v2")
        assert chosen(table, CELL, "v1", "v3") is None


class TestCanary:
    table = ReleaseTable().released(ANYWHERE, "v1", "active", at(0))

    def test_it_decides_its_share_of_its_place_and_nothing_elsewhere(self) -> None:
        table = self.table.released(LINE, "v2", "canary", at(1), 0.2)
        by_rule = sum(Trial("v2", at(1), 0.2).takes(capture) for capture in CAPTURES) / len(CAPTURES)
        assert share_of(table, CELL, "v2") == by_rule == pytest.approx(0.2, abs=0.03)
        assert share_of(table, CELL, "v1") == 1 - by_rule
        assert share_of(table, Place("line-b", "cell-1"), "v2") == 0

    def test_a_larger_share_keeps_the_captures_it_had(self) -> None:
        shares = [Trial("v2", at(1), share) for share in (0.0, 0.1, 0.4, 1.0)]
        taken = [{capture for capture in CAPTURES if trial.takes(capture)} for trial in shares]
        assert taken[0] == set() and taken[1] < taken[2] < taken[3] == set(CAPTURES)
        other = {capture for capture in CAPTURES if Trial("v3", at(1), 0.1).takes(capture)}
        assert other != taken[1], (
            "each release has captures of its own, or the same parts would try every one"
        )

    def test_while_it_is_not_loaded_the_active_one_decides_all(self) -> None:
        table = self.table.released(CELL, "v2", "canary", at(1), 0.5)
        assert share_of(table, CELL, "v1", "v1") == 1
        assert table.wanted({"v1"}.__contains__) == ("v1", "v2")

    @pytest.mark.parametrize(
        "ended",
        [
            lambda table: table.rolled_back(CELL, "v1", "v2", "canary", at(2)),
            lambda table: table.rolled_back(CELL, "v0", "v1", "active", at(2)),
            lambda table: table.rolled_back(ANYWHERE, "v0", "v2", "active", at(2)),
            lambda table: table.released(CELL, "v3", "active", at(2)),
            lambda table: table.released(ANYWHERE, "v3", "active", at(2)),
            # Compaction has removed the promotion that ended it.
            lambda table: table.released(CELL, "v4", "active", at(9), stand_ins=("v2", "v1")),
        ],
    )
    def test_it_ends_by_one_event(self, ended: Callable[[ReleaseTable], ReleaseTable]) -> None:
        table = ended(self.table.released(CELL, "v2", "canary", at(1), 0.5))
        assert share_of(table, CELL, "v2") == 0
        assert share_of(ended(self.table).released(CELL, "v2", "canary", at(1), 0.5), CELL, "v2") == 0

    def test_promoted_it_decides_all(self) -> None:
        table = self.table.released(CELL, "v2", "canary", at(1), 0.5).released(CELL, "v2", "active", at(2))
        assert share_of(table, CELL, "v2") == 1

    def test_withdrawn_from_a_station_it_may_come_back_and_the_lines_canary_does_not_reach_in(self) -> None:
        table = (
            self.table.released(LINE, "v2", "canary", at(1), 0.5)
            .released(CELL, "v2", "canary", at(2), 0.9)
            .rolled_back(CELL, "v1", "v2", "canary", at(3))
        )
        assert share_of(table, CELL, "v2") == 0
        assert share_of(table, Place("line-a", "cell-2"), "v2") == pytest.approx(0.5, abs=0.03)
        again = table.released(CELL, "v2", "canary", at(4), 0.1)
        assert share_of(again, CELL, "v2") == pytest.approx(0.1, abs=0.03)

    def test_a_station_that_follows_again_takes_part_in_what_is_tried_around_it(self) -> None:
        table = (
            self.table.released(CELL, "own", "active", at(1))
            .released(CELL, "v3", "canary", at(2), 0.5)
            .released(LINE, "v2", "canary", at(3), 0.5)
            .rolled_back(CELL, "v1", "own", "active", at(4), follows=True)
        )
        assert share_of(table, CELL, "v2") == pytest.approx(0.5, abs=0.03)
        assert share_of(table, CELL, "v3") == 0
        again = table.released(CELL, "v4", "canary", at(5), 0.5)
        assert share_of(again, CELL, "v4") == pytest.approx(0.5, abs=0.03)
        assert share_of(again.released(ANYWHERE, "v5", "active", at(6)), CELL, "v5") == 1

    def test_a_station_with_a_release_of_its_own_takes_no_part(self) -> None:
        table = self.table.released(CELL, "own", "active", at(1)).released(LINE, "v2", "canary", at(2), 0.5)
        assert share_of(table, CELL, "own") == 1

    def test_a_shadow_watches_whoever_decides(self) -> None:
        table = self.table.released(CELL, "v2", "canary", at(1), 0.5).released(CELL, "v3", "shadow", at(2))
        choices = {chosen(table, CELL, capture=capture) for capture in CAPTURES}
        assert choices == {Choice("v1", ("v3",)), Choice("v2", ("v3",))}


TWO_CLASSES = ReleaseBundle("r1", Preprocessing(8, 8), ("crack", "fray"), 0.2, 0.2, {})


class TestScoring:
    def test_the_likeliest_class_names_a_defect_and_normal_a_good_part(self) -> None:
        bad = judge(TWO_CLASSES, Scored(0.8, (0.1, 0.7), None, 1.0))
        assert (bad.predicted_class, bad.band) == ("fray", "defect")
        assert bad.scores == pytest.approx({"crack": 0.1, "fray": 0.7, "normal": 0.2})
        good = judge(TWO_CLASSES, Scored(0.1, (0.06, 0.04), None, 1.0))
        assert (good.predicted_class, good.band) == ("normal", "pass")

"""Figures are what a second computation says they are; what is counted once is counted once."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from trainer.adapters.holdout_log import HoldoutLog
from trainer.adapters.scoring import binary_figures, class_scores, precision_recall, roc
from trainer.domain.calibration import Platt
from trainer.domain.evaluation import (
    confused_pairs,
    leak_of,
    most_wrong,
    naive_folds,
    near_pairs,
    reliability,
    wilson,
)
from trainer.domain.holdout import HoldoutClosed, open_rows
from trainer.domain.judging import Judged, class_rates, compared, escaped_parts, good_rates
from trainer.domain.metrics import auroc
from trainer.domain.snapshot import HOLDOUT, TRAIN, ImagePlace, Row, Snapshot
from trainer.domain.thresholds import Thresholds

from .conftest import WHEN


def some_answers(count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities with ties, and labels that follow them loosely."""
    random = np.random.default_rng(11)
    probability = random.integers(0, 40, count) / 40
    return probability, random.random(count) < 0.2 + 0.6 * probability


class TestFiguresAgainstASecondComputation:
    def test_auroc_is_the_rank_test_of_scipy_and_our_own(self) -> None:
        probability, positive = some_answers()
        found = binary_figures(probability, positive)["auroc"]
        test = stats.mannwhitneyu(probability[positive], probability[~positive])
        assert found == pytest.approx(test.statistic / (positive.sum() * (~positive).sum()))
        assert found == pytest.approx(auroc(probability, positive))

    def test_auprc_is_the_step_sum_over_thresholds(self) -> None:
        probability, positive = some_answers()
        total, before = 0.0, 0.0
        for edge in sorted(set(probability), reverse=True):
            called = probability >= edge
            recall = positive[called].sum() / positive.sum()
            total += (recall - before) * positive[called].mean()
            before = recall
        assert binary_figures(probability, positive)["auprc"] == pytest.approx(total)

    def test_by_hand(self) -> None:
        probability = np.array([0.1, 0.6, 0.4, 0.9])
        positive = np.array([False, False, True, True])
        found = binary_figures(probability, positive)
        assert found["auroc"] == pytest.approx(3 / 4)
        assert found["auprc"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
        assert found["accuracy"] == found["false_reject_rate"] == found["false_escape_rate"] == 0.5
        assert found["brier"] == pytest.approx((0.01 + 0.36 + 0.36 + 0.01) / 4)

    def test_curves_enclose_the_areas(self) -> None:
        probability, positive = some_answers()
        found = binary_figures(probability, positive)
        assert np.trapezoid(*reversed(roc(probability, positive))) == pytest.approx(found["auroc"])
        recall, precision = precision_recall(probability, positive)
        assert -np.sum(np.diff(recall) * precision[:-1]) == pytest.approx(found["auprc"])

    def test_one_class_alone_has_no_ranking(self) -> None:
        found = binary_figures(np.array([0.2, 0.7]), np.array([True, True]))
        assert math.isnan(found["auroc"]) and math.isnan(found["false_reject_rate"])
        assert found["false_escape_rate"] == 0.5

    def test_classes_by_hand(self) -> None:
        actual, called = np.array(["a", "a", "a", "b"]), np.array(["a", "a", "c", "b"])
        assert class_scores(actual, called)["class_accuracy"] == 0.75
        assert class_scores(actual, called)["class_accuracy_balanced"] == pytest.approx((2 / 3 + 1) / 2)
        (pair,) = confused_pairs(actual.tolist(), called.tolist())
        assert (pair.actual, pair.predicted, pair.rows) == ("a", "c", (2,))

    @given(st.integers(0, 60), st.integers(1, 60))
    def test_wilson_is_scipys(self, right: int, count: int) -> None:
        right = min(right, count)
        expected = stats.binomtest(right, count).proportion_ci(method="wilson")
        assert wilson(right / count, count) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_reliability_bins_hold_every_row_once() -> None:
    probability, positive = some_answers()
    bins = reliability(probability, positive)
    assert sum(item.count for item in bins) == len(probability)
    assert sum(item.observed * item.count for item in bins) == pytest.approx(positive.sum())
    assert all(item.low <= item.observed <= item.high for item in bins)
    assert [item.claimed for item in bins] == sorted(item.claimed for item in bins)


def test_the_worst_are_wrong_and_ordered() -> None:
    assert most_wrong(np.array([0.4, 0.9, 0.1, 0.6]), 3) == [2, 0]


CRACK, HOLE = ("crack",), ("hole",)
SIX = Judged(
    shown=(CRACK, CRACK, HOLE, ("crack", "hole"), (), ()),
    called=("crack", "", "crack", "hole", "", "crack"),
    scores=np.array([0.9, 0.1, 0.7, 0.6, 0.3, 0.8]),
    limits=Thresholds(0.2, 0.75),
    groups=(0, 1, 2, 3, 4, 5),
    known=("crack", "hole"),
)


class TestByClass:
    def test_rates_by_hand(self) -> None:
        found = class_rates(SIX, frozenset(CRACK))
        values = {name: figure.value for name, figure in found.figures.items()}
        assert (found.images, found.parts) == (3, 3)
        assert values["precision"] == pytest.approx(1 / 3), "three are called crack, one of them shows one"
        assert values["recall"] == pytest.approx(1 / 3), "the second is called good, the third a hole"
        assert values["false_escape_rate"] == pytest.approx(1 / 3), "the second passes"
        assert values["false_reject_rate"] == pytest.approx(1 / 2), "the last is good and rejected as a crack"
        both = class_rates(SIX, frozenset(CRACK + HOLE))
        assert both.figures["recall"].value == pytest.approx(3 / 4), (
            "a severity is found under any of its classes"
        )
        good = good_rates(SIX)
        assert (good.images, good.figures["recall"].value) == (2, 0.5)

    def test_a_part_escapes_with_its_first_image(self) -> None:
        assert escaped_parts(SIX, frozenset(CRACK)) == (1, 3)
        assert escaped_parts(replace(SIX, groups=(0, 0, 0, 1, 2, 3)), frozenset(CRACK)) == (1, 2)

    def test_mistakes_are_named_by_what_the_image_shows(self) -> None:
        assert SIX.wrong() == [None, ("crack", ""), ("hole", "crack"), None, None, ("", "crack")]

    def test_a_class_that_cannot_be_named_is_found_as_any_defect(self) -> None:
        judged = replace(SIX, called=("anomaly", "", "anomaly", "anomaly", "", "anomaly"), known=("anomaly",))
        found = class_rates(judged, frozenset(CRACK)).figures
        assert found["recall"].value == pytest.approx(2 / 3)
        assert set(found) == {"recall", "false_escape_rate"}
        assert judged.wrong() == [None, ("crack", ""), None, None, None, ("", "anomaly")]

    def test_none_of_a_few_is_not_never(self) -> None:
        found = class_rates(SIX, frozenset(HOLE)).figures["false_escape_rate"]
        exact = stats.binomtest(0, 2).proportion_ci(method="exact")
        assert (found.value, found.low) == (0, 0) and found.high == pytest.approx(exact.high)

    def test_images_of_one_part_are_one_piece_of_evidence(self) -> None:
        many = Judged(
            SIX.shown * 9, SIX.called * 9, np.tile(SIX.scores, 9), SIX.limits, SIX.groups * 9, SIX.known
        )
        assert class_rates(many, frozenset(CRACK)).parts == 3
        one, nine = (class_rates(judged, frozenset(CRACK)).figures["recall"] for judged in (SIX, many))
        assert (nine.low, nine.high) == (one.low, one.high)


def test_slices_stand_side_by_side() -> None:
    random = np.random.default_rng(2)
    rows = [
        Row(f"r{n}", ImagePlace(path="-"), CRACK * (n % 2), bool(n % 2), station="ab"[n // 60], shift="night")
        for n in range(120)
    ]
    truth = np.array([row.is_defect for row in rows])
    clear = np.where(truth, 0.9, 0.1)
    scores = np.where(np.arange(120) < 60, clear, random.random(120))
    called = tuple("crack" if score >= 0.5 else "" for score in scores)
    judged = Judged(
        tuple(row.classes for row in rows), called, scores, Thresholds(0.2, 0.8), tuple(range(120)), CRACK
    )
    found = compared(judged, rows, np.arange(120.0))
    assert [(item.kind, item.name, item.images) for item in found] == [
        ("station", "a", 60),
        ("station", "b", 60),
        ("exposure", "bright third", 40),
        ("exposure", "dark third", 40),
        ("exposure", "middle third", 40),
    ], "one shift alone is nothing to compare"
    assert found[0].figures["auroc"].value == 1.0 > found[1].figures["auroc"].high
    none = found[0].figures["false_escape_rate"]
    assert (none.value, none.high) == (
        0,
        pytest.approx(stats.binomtest(0, 30).proportion_ci(method="exact").high),
    )
    assert "exposure" not in {item.kind for item in compared(judged, rows, np.ones(120))}


def test_the_raw_score_is_found_behind_the_probability() -> None:
    scores = np.linspace(-4, 6, 50)
    platt = Platt(2.0, -1.5)
    np.testing.assert_allclose(platt.scores(platt(scores)), scores, atol=1e-6)
    assert np.isfinite(platt.scores(np.array([0.0, 1.0]))).all()


class TestLeaks:
    @given(st.lists(st.integers(0, 2**64 - 1), max_size=25), st.integers(0, 40))
    def test_near_pairs_are_those_found_by_counting_bits(self, hashes: list[int], bits: int) -> None:
        expected = {
            (one, other)
            for other in range(len(hashes))
            for one in range(other)
            if (hashes[one] ^ hashes[other]).bit_count() <= bits
        }
        assert set(near_pairs(hashes, bits)) == expected

    def test_a_torn_pair_is_a_leak(self) -> None:
        leak = leak_of([(0, 1), (1, 2), (3, 4)], [0, 0, 1, 2, 2])
        assert (leak.pairs, leak.crossing, leak.rows, leak.leaked_rows) == (3, 1, 5, 2)

    def test_naive_folds_spread_each_stratum_evenly(self) -> None:
        strata = [number % 7 for number in range(210)]
        fold = naive_folds(strata, 5)
        assert set(Counter(zip(strata, fold, strict=True)).values()) == {6}
        assert fold == naive_folds(strata, 5)


def rows_of(*splits: str | None, content: str = "") -> Snapshot:
    places = [ImagePlace(path=f"{n}.png", sha256=content or f"{n:064x}") for n in range(len(splits))]
    return Snapshot(
        "parts",
        tuple(Row(f"r{n}", place, (), False, split=splits[n]) for n, place in enumerate(places)),
    )


class TestHoldout:
    def test_its_rows_are_not_among_the_open_ones(self) -> None:
        assert [row.id for row in open_rows(rows_of(TRAIN, HOLDOUT, None))] == ["r0", "r2"]

    def test_its_images_are_closed_under_another_name_too(self) -> None:
        with pytest.raises(HoldoutClosed, match="r0"):
            open_rows(rows_of(TRAIN, HOLDOUT, content="ab" * 32))

    def test_each_reading_is_counted_for_its_dataset(self, tmp_path: Path) -> None:
        file = tmp_path / "log" / "holdout.jsonl"
        assert HoldoutLog(file).write("one", "r-1", 9, "release", WHEN) == 1
        assert HoldoutLog(file).write("two", "r-1", 4, "release", WHEN) == 1
        assert HoldoutLog(file).write("one", "r-2", 9, "again", WHEN) == 2
        entries = [json.loads(line) for line in file.read_text().splitlines()]
        assert [entry["release"] for entry in entries] == ["r-1", "r-1", "r-2"]
        assert entries[2]["purpose"] == "again" and entries[2]["at"] == WHEN.isoformat()

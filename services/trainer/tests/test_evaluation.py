"""Figures are what a second computation says they are; the holdout is read by evaluations alone, and each is logged."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from andon_vision import Preprocessing
from andon_vision.release_bundle import load_public_key, make_keys, read_bundle
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from trainer.adapters.features import FeatureCache, FeatureExtractor
from trainer.adapters.holdout_log import HoldoutLog
from trainer.adapters.images import ImageStore, load_dataset
from trainer.adapters.scoring import binary_figures, class_scores, precision_recall, roc
from trainer.domain.evaluation import (
    class_figures,
    confused_pairs,
    leak_of,
    most_wrong,
    naive_folds,
    near_pairs,
    reliability,
    wilson,
)
from trainer.domain.holdout import HoldoutClosed, open_rows
from trainer.domain.metrics import auroc
from trainer.domain.snapshot import HOLDOUT, TRAIN, ImagePlace, Row, Snapshot, SnapshotError
from trainer.evaluating import evaluate_release
from trainer.main import main
from trainer.training import Plan, train

WHEN = datetime(2026, 1, 2, tzinfo=UTC)


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
        table = class_figures(actual.tolist(), called.tolist())
        assert (table["a"].precision, table["a"].recall, table["a"].images) == (1.0, 2 / 3, 3)
        assert table["c"].precision == 0.0 and math.isnan(table["c"].recall)
        assert table["c"].to_json()["recall"] is None
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


@pytest.fixture(scope="module")
def guarded(plates: Path) -> Snapshot:
    """The plates, every fourth of them held out."""
    snapshot = load_dataset(str(plates))
    held = [
        replace(row, split=HOLDOUT if number % 4 == 0 else None) for number, row in enumerate(snapshot.rows)
    ]
    return Snapshot("guarded", tuple(held))


class Watching(ImageStore):
    """Remembers which images were opened."""

    def __init__(self, note: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.opened: list[str | None] = []
        self._note = note

    def read(self, place: ImagePlace) -> bytes:
        self._note()
        self.opened.append(place.path)
        return super().read(place)


def test_a_release_is_measured_on_the_holdout_alone(
    guarded: Snapshot, backbone: Path, tmp_path: Path
) -> None:
    private, public = make_keys(tmp_path / "keys")
    spec = Preprocessing(96, 96)
    extractor = FeatureExtractor(backbone, spec, FeatureCache(None))
    learning = Watching()
    folder = tmp_path / "release"
    train(guarded, Plan("g", spec), learning, extractor, backbone, private, folder, WHEN, print)
    held = {row.image.path for row in guarded.rows if row.split == HOLDOUT}
    assert held and not held & set(learning.opened)

    bundle = read_bundle(folder, load_public_key(public))
    file = tmp_path / "holdout.jsonl"
    judging = Watching(lambda: _must_be_logged(file))
    log = HoldoutLog(file)
    found = evaluate_release(bundle, folder, guarded, judging, log, "release", WHEN)
    assert set(judging.opened) == held
    assert (found["reading"], found["images"]) == (1, len(held))
    assert found["figures"]["auroc"]["value"] > 0.9
    assert sum(sum(row.values()) for row in found["confusion"].values()) == len(held)
    again = evaluate_release(bundle, folder, guarded, judging, log, "again", WHEN)
    assert again["reading"] == 2

    manifest = tmp_path / "guarded.json"
    manifest.write_text(json.dumps(guarded.to_json()), "utf-8")
    places = ["--bundle", str(folder), "--key", str(public), "--dataset", str(manifest), "--log", str(file)]
    assert main(["evaluate", *places, "--purpose", "by hand"]) == 0
    assert [json.loads(line)["purpose"] for line in file.read_text().splitlines()][-1] == "by hand"

    with pytest.raises(SnapshotError, match="no holdout"):
        open_ones = Snapshot("open", tuple(open_rows(guarded)))
        evaluate_release(bundle, folder, open_ones, judging, log, "release", WHEN)


def _must_be_logged(file: Path) -> None:
    assert file.is_file(), "an image of the holdout was opened before the reading was logged"

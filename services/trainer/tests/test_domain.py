"""The rules of training: what stays together, what a score means, what a mistake costs."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trainer.domain.calibration import expected_calibration_error, fit_platt
from trainer.domain.head import fit_temperature, softmax
from trainer.domain.metrics import auroc, bootstrap, confusion, decision_figures
from trainer.domain.snapshot import (
    SCHEMA,
    ImagePlace,
    Row,
    Snapshot,
    SnapshotError,
    defect_classes,
    parse_snapshot,
)
from trainer.domain.split import (
    LeakError,
    check_no_leak,
    folds,
    grouped_split,
    independent_images,
    joined_groups,
)
from trainer.domain.thresholds import Costs, Thresholds, choose_thresholds, escape_costs

groups_of = st.lists(st.integers(0, 40), min_size=1, max_size=200)


def rows(*defects: bool) -> tuple[Row, ...]:
    return tuple(
        Row(
            f"r{number}",
            ImagePlace(path=f"{number}.png", sha256=f"{number:064x}"),
            ("crack",) * defect,
            defect,
        )
        for number, defect in enumerate(defects)
    )


class TestSnapshot:
    def test_round_trip_keeps_the_hash(self) -> None:
        snapshot = Snapshot("tiles", rows(True, False))
        assert parse_snapshot(snapshot.to_json()) == snapshot

    def test_the_hash_forgets_where_files_lie_and_sees_every_label(self) -> None:
        moved = Row("r0", ImagePlace(path="/elsewhere/0.png", sha256=f"{0:064x}"), ("crack",), True)
        relabelled = Row("r0", ImagePlace(path="0.png", sha256=f"{0:064x}"), ("fray",), True)
        original = Snapshot("a", rows(True))
        assert Snapshot("b", (moved,)).hash == original.hash
        assert Snapshot("a", (relabelled,)).hash != original.hash

    def test_altered_rows_and_bad_rows_are_named(self) -> None:
        altered = Snapshot("tiles", rows(True, False)).to_json()
        altered["rows"][1]["is_defect"] = True
        altered["rows"][1]["classes"] = ["crack"]
        with pytest.raises(SnapshotError, match="altered"):
            parse_snapshot(altered)
        good = {"id": "x", "image": {"path": "x.png"}, "classes": ["crack"], "is_defect": True}
        for change, words in (
            ({"classes": []}, "without a class"),
            ({"image": {}}, "either a path"),
            ({"split": "test"}, "unknown split"),
            ({"image": {"url": "x"}}, "incomplete"),
        ):
            with pytest.raises(SnapshotError, match=words):
                parse_snapshot({"schema": SCHEMA, "rows": [{**good, **change}]})
        with pytest.raises(SnapshotError, match="same id"):
            parse_snapshot({"schema": SCHEMA, "rows": [good, good]})
        with pytest.raises(SnapshotError, match="schema"):
            parse_snapshot({"rows": []})

    def test_classes_are_those_of_defects_in_a_fixed_order(self) -> None:
        assert defect_classes(rows(False)) == ()
        assert defect_classes(rows(True, False, True)) == ("crack",)


class TestSplit:
    @given(groups_of, st.floats(0.1, 0.5))
    def test_no_group_is_divided(self, groups: list[int], share: float) -> None:
        parts = grouped_split(groups, [group % 3 for group in groups], share)
        check_no_leak(parts, groups)
        assert parts == grouped_split(groups, [group % 3 for group in groups], share)

    def test_each_stratum_gets_its_share(self) -> None:
        groups = list(range(1000))
        strata = ["rare" if group % 10 == 0 else "common" for group in groups]
        parts = grouped_split(groups, strata, 0.25)
        held = Counter(stratum for stratum, part in zip(strata, parts, strict=True) if part == "validation")
        assert abs(held["rare"] - 25) <= 1 and abs(held["common"] - 225) <= 1

    def test_one_dominating_group_is_trained_on(self) -> None:
        groups = [0] * 300 + list(range(1, 301))
        parts = grouped_split(groups, ["x"] * 600, 0.25)
        assert set(parts[:300]) == {"train"} and parts.count("validation") > 100

    @given(groups_of, st.floats(0.1, 0.5), st.integers(1, 30))
    def test_what_is_validated_was_learned(self, groups: list[int], share: float, kinds: int) -> None:
        """The only group of a stratum is trained on."""
        strata = [group % kinds for group in groups]
        parts = grouped_split(groups, strata, share)
        for stratum in set(strata):
            sides = {part for part, own in zip(parts, strata, strict=True) if own == stratum}
            many = len({group for group, own in zip(groups, strata, strict=True) if own == stratum}) > 1
            assert many or sides == {"train"}

    @given(groups_of, st.integers(2, 5), st.integers(1, 30))
    def test_without_any_fold_something_of_each_label_is_left(
        self, groups: list[int], count: int, kinds: int
    ) -> None:
        labels = [group % kinds for group in groups]
        fold = folds(groups, count, labels)
        for label in set(labels):
            own = {group for group, given in zip(groups, labels, strict=True) if given == label}
            used = {number for number, given in zip(fold, labels, strict=True) if given == label}
            assert len(used) >= min(2, len(own))

    def test_images_of_one_part_count_once(self) -> None:
        both = rows(True, True, True, False)
        assert independent_images(both, [0, 0, 1, 2]) == {"crack": 2}

    @given(groups_of, st.integers(2, 5))
    def test_folds_keep_groups_whole(self, groups: list[int], count: int) -> None:
        fold = folds(groups, count)
        assert len(set(zip(groups, fold, strict=True))) == len(set(groups))
        assert set(fold) <= set(range(count))

    def test_a_leak_is_named(self) -> None:
        with pytest.raises(LeakError, match="group 1"):
            check_no_leak(["train", "validation"], [1, 1])

    def test_groups_join_across_columns(self) -> None:
        assert joined_groups([0, 1, 2, 3], ["a", "", "a", None]) == [0, 1, 0, 2]
        assert joined_groups([0, 0, 1], ["", "b", "b"]) == [0, 0, 0]


class TestCalibration:
    def test_platt_finds_the_curve_that_made_the_labels(self) -> None:
        random = np.random.default_rng(1)
        scores = random.normal(0, 3, 20_000)
        positive = random.random(20_000) < 1 / (1 + np.exp(-(1.5 * scores - 1)))
        platt = fit_platt(scores, positive)
        assert platt.slope == pytest.approx(1.5, abs=0.1)
        assert platt.offset == pytest.approx(-1.0, abs=0.1)
        assert expected_calibration_error(platt(scores), positive) < 0.02

    def test_perfectly_separated_scores_stay_finite(self) -> None:
        platt = fit_platt(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([False, False, True, True]))
        probabilities = platt(np.array([-2.0, 2.0]))
        assert 0 < probabilities[0] < 0.5 < probabilities[1] < 1

    def test_temperature_cools_overconfident_scores(self) -> None:
        random = np.random.default_rng(2)
        logits = random.normal(0, 1, (4000, 3))
        cumulative = softmax(logits).cumsum(axis=1)
        truth = (random.random((4000, 1)) > cumulative).sum(axis=1).clip(0, 2)
        assert fit_temperature(logits * 4, truth).slope == pytest.approx(0.25, rel=0.15)


class TestThresholds:
    def test_dear_escapes_lower_the_pass_limit(self) -> None:
        random = np.random.default_rng(3)
        probability = random.random(4000)
        positive = random.random(4000) < probability
        cheap = choose_thresholds(probability, positive, Costs(escape=1, review=0.3, max_review_share=1))
        dear = choose_thresholds(probability, positive, Costs(escape=20, review=0.3, max_review_share=1))
        assert dear.pass_below < cheap.pass_below
        # With true probabilities the limits are where a review costs as much as the decision it replaces.
        assert dear.pass_below == pytest.approx(0.3 / 20, abs=0.03)
        assert dear.reject_from == pytest.approx(0.7, abs=0.06)

    @given(st.floats(0.0, 0.5))
    def test_reviews_stay_within_what_people_can_do(self, share: float) -> None:
        random = np.random.default_rng(4)
        probability = random.random(500)
        positive = random.random(500) < probability
        limits = choose_thresholds(probability, positive, Costs(max_review_share=share))
        reviewed = (probability >= limits.pass_below) & (probability < limits.reject_from)
        assert reviewed.mean() <= share + 1e-9
        assert limits.pass_below <= limits.reject_from

    def test_a_grave_escape_costs_more_than_a_mild_one(self) -> None:
        costs = Costs(escape=4, review=0.3, max_review_share=1)
        shown = [("crack",), ("stain",), ("crack", "stain"), (), ("unheard-of",)]
        graded = {"crack": "critical", "stain": "minor"}
        assert escape_costs(shown, graded, costs).tolist() == [20, 1, 20, 4, 4]
        random = np.random.default_rng(3)
        probability = random.random(4000)
        positive = random.random(4000) < probability
        found = {
            name: choose_thresholds(
                probability, positive, costs, escape_costs([(name,)] * 4000, graded, costs)
            )
            for name in ("crack", "stain")
        }
        assert found["crack"].pass_below == pytest.approx(0.3 / 20, abs=0.03)
        assert found["stain"].pass_below == pytest.approx(0.3, abs=0.06)


class TestMetrics:
    def test_auroc_by_counting_pairs(self) -> None:
        random = np.random.default_rng(5)
        scores = random.integers(0, 20, 200).astype(float)
        positive = random.random(200) < 0.3
        pairs = [
            (1.0 if a > b else 0.5 if a == b else 0.0) for a in scores[positive] for b in scores[~positive]
        ]
        assert auroc(scores, positive) == pytest.approx(np.mean(pairs))
        assert np.isnan(auroc(scores, np.ones(200, bool)))

    def test_rates_mean_what_their_names_say(self) -> None:
        probability = np.array([0.05, 0.05, 0.4, 0.9, 0.9])
        positive = np.array([False, True, True, True, False])
        figures = decision_figures(probability, positive, Thresholds(0.1, 0.6))
        assert figures["false_reject_rate"] == pytest.approx(1 / 2)
        assert figures["false_escape_rate"] == pytest.approx(1 / 3)
        assert figures["review_share"] == pytest.approx(1 / 5)
        assert figures["accuracy"] == pytest.approx(2 / 5)
        assert figures["precision"] == pytest.approx(1 / 2)
        assert figures["recall"] == pytest.approx(1 / 3)

    def test_intervals_hold_the_value_and_widen_with_fewer_groups(self) -> None:
        values = np.random.default_rng(6).random(300)

        def mean(index: np.ndarray) -> dict[str, float]:
            return {"mean": float(values[index].mean())}

        many = bootstrap(mean, list(range(300)))["mean"]
        few = bootstrap(mean, [number // 60 for number in range(300)])["mean"]
        assert many.low < many.value < many.high
        assert 0.02 < many.high - many.low < 0.12
        assert few.value == many.value

    def test_confusion_counts_pairs(self) -> None:
        assert confusion(["a", "a", "b"], ["a", "b", "b"]) == {"a": {"a": 1, "b": 1}, "b": {"b": 1}}

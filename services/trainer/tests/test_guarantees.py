"""A promised escape rate is kept on parts never seen as often as was promised, or is not promised at all."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from trainer.domain.calibration import Floats
from trainer.domain.guarantees import (
    KEPT,
    LOWERED,
    NOT_ENOUGH,
    Guarantee,
    Wish,
    allowed_escapes,
    attainable_rate,
    binomial_tail,
    classes_of,
    escape_bound,
    grant,
    keep_promises,
    part_scores,
    parts_needed,
)
from trainer.domain.snapshot import ImagePlace, Row, SnapshotError
from trainer.domain.thresholds import Thresholds

ONE_PERCENT = Wish("crack", 0.01, 0.95)
RATES = st.floats(0.001, 0.6)
CONFIDENCES = st.floats(0.5, 0.999)


class TestWishes:
    def test_a_wish_is_read(self) -> None:
        assert Wish.parse("crack:0.01@0.95") == ONE_PERCENT
        assert Wish.parse("critical:0.05") == Wish("critical", 0.05, None)
        assert Wish.parse("open:circuit:0.02@0.9") == Wish("open:circuit", 0.02, 0.9)
        assert str(ONE_PERCENT) == "at most 1 % of crack pass, at 95 % confidence"

    @pytest.mark.parametrize("text", ["crack", "crack:", ":0.1@0.9", "crack:1.2.3", "crack:0.1@", "crack:1%"])
    def test_what_is_no_wish_is_explained(self, text: str) -> None:
        with pytest.raises(SnapshotError, match=r"crack:0\.01@0\.95"):
            Wish.parse(text)

    @pytest.mark.parametrize("text", ["crack:0@0.95", "crack:1@0.95", "crack:0.1@1", "crack:0.1@0.0"])
    def test_certainty_cannot_be_wished_for(self, text: str) -> None:
        with pytest.raises(SnapshotError, match="between 0 and 1"):
            Wish.parse(text)

    def test_a_subject_is_a_class_or_a_severity(self) -> None:
        severities = {"crack": "critical", "hole": "critical", "stain": "minor"}
        classes = ("crack", "hole", "stain")
        assert classes_of("stain", classes, severities) == {"stain"}
        assert classes_of("critical", classes, severities) == {"crack", "hole"}
        with pytest.raises(SnapshotError, match=r"'crakc'.*crack, hole, stain, critical, minor"):
            classes_of("crakc", classes, severities)


class TestBinomials:
    @given(st.integers(0, 300), st.integers(1, 300), RATES)
    def test_the_tail_is_scipys(self, escapes: int, parts: int, rate: float) -> None:
        escapes = min(escapes, parts)
        found = binomial_tail(escapes, parts, rate)
        assert found == pytest.approx(stats.binom.cdf(escapes, parts, rate), rel=1e-6, abs=1e-12)

    @given(st.integers(0, 100), st.integers(1, 400), CONFIDENCES)
    def test_the_bound_is_clopper_and_pearsons(self, escapes: int, parts: int, confidence: float) -> None:
        escapes = min(escapes, parts)
        expected = 1.0 if escapes == parts else stats.beta.ppf(confidence, escapes + 1, parts - escapes)
        assert escape_bound(escapes, parts, confidence) == pytest.approx(expected, abs=1e-8)

    @given(st.integers(1, 800), RATES, CONFIDENCES)
    def test_the_most_escapes_are_allowed_that_keep_the_bound(
        self, parts: int, rate: float, confidence: float
    ) -> None:
        allowed = allowed_escapes(parts, rate, confidence)
        if allowed >= 0:
            assert escape_bound(allowed, parts, confidence) <= rate + 1e-9
        if allowed + 1 < parts:
            assert escape_bound(allowed + 1, parts, confidence) > rate - 1e-9

    @given(RATES, st.one_of(st.none(), CONFIDENCES))
    def test_fewer_parts_than_are_needed_promise_nothing(self, rate: float, confidence: float | None) -> None:
        needed = parts_needed(rate, confidence)
        assert allowed_escapes(needed, rate, confidence) >= 0
        assert needed == 1 or allowed_escapes(needed - 1, rate, confidence) < 0
        assert attainable_rate(needed, confidence) <= rate + 1e-9

    def test_numbers_that_are_in_the_textbooks(self) -> None:
        assert parts_needed(0.01, 0.95) == 299 == math.ceil(math.log(0.05) / math.log(0.99))
        assert parts_needed(0.05, 0.95) == 59
        assert allowed_escapes(473, 0.01, 0.95) == 1
        assert parts_needed(0.01, None) == 99


class TestPromises:
    def test_too_few_parts_get_an_honest_answer(self) -> None:
        found = grant(ONE_PERCENT, np.linspace(0.1, 0.9, 41), 0.2)
        assert (found.verdict, found.parts, found.threshold, found.bound) == (NOT_ENOUGH, 41, None, None)
        for words in (
            "41 independent parts of crack",
            "at least 299",
            "1 % at 95 %",
            "7.05 % at best",
            "258 more",
        ):
            assert words in found.advice
        assert found.to_json()["threshold"] is None
        nothing = grant(ONE_PERCENT, np.array([]), 0.2)
        assert nothing.parts == 0 and "Label 299 more" in nothing.advice and "at best" not in nothing.advice

    def test_the_threshold_lies_at_the_first_part_that_may_not_escape(self) -> None:
        scores = np.linspace(0.0, 1.0, 473)
        lowered = grant(ONE_PERCENT, scores, 0.2)
        assert lowered.verdict == LOWERED
        assert lowered.threshold == pytest.approx(scores[1], abs=1e-4)
        assert (scores < lowered.threshold).sum() == 1
        assert lowered.bound == pytest.approx(stats.beta.ppf(0.95, 2, 472))
        assert lowered.bound is not None and lowered.bound <= 0.01
        kept = grant(ONE_PERCENT, 0.5 + scores / 2, 0.2)
        assert (kept.verdict, kept.threshold) == (KEPT, pytest.approx(0.501, abs=1e-4))

    def test_where_a_defect_looks_perfectly_good_nothing_passes(self) -> None:
        scores = np.sort(np.r_[np.zeros(3), np.ones(400)])
        found = grant(ONE_PERCENT, scores, 0.2)
        assert (found.verdict, found.threshold) == (LOWERED, 0.0)
        assert "no part passes any more" in found.advice

    @given(st.lists(st.floats(0, 1), min_size=60, max_size=90), st.floats(0, 1))
    def test_no_more_parts_lie_below_than_are_allowed(self, values: list[float], pass_below: float) -> None:
        scores = np.sort(np.array(values))
        found = grant(Wish("crack", 0.1, 0.9), scores, pass_below)
        assert found.threshold is not None
        assert (scores < found.threshold).sum() <= allowed_escapes(len(scores), 0.1, 0.9)
        assert round(found.threshold, 4) == found.threshold

    def test_a_choice_among_models_needs_more_parts(self) -> None:
        scores = np.linspace(0.1, 0.9, 300)
        assert grant(ONE_PERCENT, scores, 0.2).verdict == LOWERED
        found = grant(replace(ONE_PERCENT, among=2), scores, 0.2)
        assert found.verdict == NOT_ENOUGH and f"at least {parts_needed(0.01, 0.975)}" in found.advice
        assert grant(Wish("crack", 0.02, None, among=2), scores[:99], 0.2).bound == pytest.approx(0.02)

    def test_a_part_counts_once_with_its_lowest_score(self) -> None:
        found = part_scores(np.array([0.9, 0.2, 0.5, 0.7]), [4, 4, 8, 8])
        assert found.tolist() == [0.2, 0.5]

    def test_pass_below_only_falls_and_severities_gather_their_classes(self) -> None:
        names = ("crack", "hole", "stain")
        rows = [Row(f"r{n}", ImagePlace(path="-"), (names[n % 3],), True) for n in range(300)]
        scores = np.linspace(0.1, 1.0, 300)
        severities = {"crack": "critical", "hole": "critical", "stain": "minor"}
        wishes = [Wish("critical", 0.05, 0.95), Wish("stain", 0.3, 0.9), Wish("stain", 0.001, 0.9)]

        def promise(limits: Thresholds) -> tuple[Thresholds, list[Guarantee]]:
            return keep_promises(wishes, severities, names, rows, list(range(300)), scores, limits)

        limits, made = promise(Thresholds(0.4, 0.8))
        assert [item.parts for item in made] == [200, 100, 100]
        assert [item.verdict for item in made] == [LOWERED, LOWERED, NOT_ENOUGH]
        assert limits == Thresholds(min(made[0].threshold or 1, made[1].threshold or 1), 0.8)
        low, made = promise(Thresholds(0.05, 0.8))
        assert low == Thresholds(0.05, 0.8) and made[0].verdict == KEPT
        with pytest.raises(SnapshotError, match="fray"):
            keep_promises([Wish("fray", 0.1)], {}, names, rows, list(range(300)), scores, limits)


class TestSimulation:
    """Draws of parts whose true escape rate is known at every threshold."""

    ROUNDS = 2_000

    def rates(self, wish: Wish, parts: int, images: int, pass_below: float) -> Floats:
        """The true escape rate of each draw's promise; a part escapes when any of its correlated images passes."""
        random = np.random.default_rng(17)
        crowd = np.sort(self.parts(random, 200_000, images).min(axis=1))
        groups = np.repeat(np.arange(parts), images).tolist()
        found = []
        for _ in range(self.ROUNDS):
            scores = part_scores(self.parts(random, parts, images).ravel(), groups)
            granted = grant(wish, scores, pass_below)
            assert granted.threshold is not None
            threshold = min(pass_below, granted.threshold)
            found.append(np.searchsorted(crowd, threshold) / len(crowd))
        return np.array(found)

    @staticmethod
    def parts(random: np.random.Generator, count: int, images: int) -> Floats:
        """Scores (parts x images): most defects are plain to see, some look good; images of a part are alike."""
        part = random.normal(2.0, 1.5, (count, 1))
        return 1 / (1 + np.exp(-part - random.normal(0, 0.3, (count, images))))

    @pytest.mark.parametrize(
        ("rate", "confidence", "parts", "images"), [(0.05, 0.95, 120, 1), (0.1, 0.9, 60, 3)]
    )
    def test_a_promise_is_broken_no_more_often_than_it_says(
        self, rate: float, confidence: float, parts: int, images: int
    ) -> None:
        broken = float((self.rates(Wish("crack", rate, confidence), parts, images, 0.9) > rate).mean())
        error = 3 * math.sqrt((1 - confidence) * confidence / self.ROUNDS)
        assert broken <= 1 - confidence + error
        assert broken > 0.01, "a promise that is never broken gives parts to people for nothing"

    def test_keeping_the_better_of_two_models_costs_half_of_what_may_go_wrong(self) -> None:
        """The worst choice: of two models on the same parts, always the one whose promise is broken."""
        wish, random = Wish("crack", 0.05, 0.9, among=2), np.random.default_rng(23)
        broken = {1: 0, 2: 0}
        for among in broken:
            for _ in range(600):
                draws = [np.sort(random.random(77)) for _ in range(2)]
                granted = [grant(replace(wish, among=among), scores, 1.0).threshold or 0 for scores in draws]
                broken[among] += max(granted) > 0.05  # scores are uniform, so a threshold is its escape rate
        error = 3 * math.sqrt(0.1 * 0.9 / 600)
        assert broken[2] / 600 <= 0.1 + error < broken[1] / 600

    def test_an_average_is_kept_on_average(self) -> None:
        rates = self.rates(Wish("crack", 0.05), 60, 2, 0.9)
        assert rates.mean() <= 0.05 + 3 * rates.std() / math.sqrt(self.ROUNDS)
        assert rates.mean() > 0.03

    def test_counting_images_as_parts_would_break_it(self) -> None:
        """Why groups: twelve pictures of each of 30 parts are not 360 parts."""
        random, wish = np.random.default_rng(5), Wish("crack", 0.05, 0.95)
        crowd = np.sort(self.parts(random, 200_000, 12).min(axis=1))
        draws = [np.sort(self.parts(random, 30, 12).ravel()) for _ in range(400)]
        promised = [grant(wish, scores, 0.9).threshold for scores in draws]
        broken = np.mean([np.searchsorted(crowd, edge) / len(crowd) > 0.05 for edge in promised if edge])
        assert broken > 0.3

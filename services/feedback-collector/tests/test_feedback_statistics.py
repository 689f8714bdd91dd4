"""The statistics against brute force and known values."""

from __future__ import annotations

import math
import random

import pytest
from feedback_collector.domain.statistics import (
    Moments,
    chance_of_at_least,
    chi_square_quantile,
    clearly_above,
    lower_bound,
    median,
    normal_quantile,
    stability_index,
    stability_noise,
    upper_bound,
)
from hypothesis import given
from hypothesis import strategies as st

shares = st.floats(0.001, 0.999)


@st.composite
def samples(draw: st.DrawFn, most: int = 200) -> tuple[int, int]:
    trials = draw(st.integers(1, most))
    return draw(st.integers(0, trials)), trials


@given(samples(80), shares)
def test_binomial_tail_equals_the_sum_of_its_terms(sample: tuple[int, int], share: float) -> None:
    hits, trials = sample
    terms = (math.comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(hits, trials + 1))
    assert chance_of_at_least(hits, trials, share) == pytest.approx(math.fsum(terms), abs=1e-9)


@given(samples(), st.floats(0.5, 0.9999))
def test_bounds_enclose_the_share(sample: tuple[int, int], confidence: float) -> None:
    hits, trials = sample
    assert lower_bound(hits, trials, confidence) <= hits / trials <= upper_bound(hits, trials, confidence)


@given(samples(), shares, st.floats(0.5, 0.999))
def test_clearly_above_means_that_the_lower_bound_is_above(
    sample: tuple[int, int], share: float, confidence: float
) -> None:
    hits, trials = sample
    bound = lower_bound(hits, trials, confidence)
    if abs(bound - share) > 1e-9:
        assert clearly_above(hits, trials, share, confidence) == (bound > share)


@given(samples(100), st.integers(2, 10))
def test_the_same_share_of_more_is_surer(sample: tuple[int, int], times: int) -> None:
    hits, trials = sample
    assert lower_bound(hits * times, trials * times, 0.95) >= lower_bound(hits, trials, 0.95) - 1e-9


def test_bounds_match_published_values() -> None:
    # Clopper-Pearson, one-sided: 10 of 10 at 95 % is 0.05 ** (1 / 10)
    assert lower_bound(10, 10, 0.95) == pytest.approx(0.7411, abs=1e-4)
    assert lower_bound(3, 20, 0.975) == pytest.approx(0.0321, abs=1e-4)
    assert upper_bound(3, 20, 0.975) == pytest.approx(0.3789, abs=1e-4)
    assert upper_bound(0, 0, 0.95) == 1.0


@pytest.mark.parametrize(
    ("freedom", "confidence", "value"), [(9, 0.99, 21.666), (9, 0.999, 27.877), (4, 0.95, 9.488)]
)
def test_chi_square_is_within_a_hundredth(freedom: int, confidence: float, value: float) -> None:
    assert chi_square_quantile(freedom, confidence) == pytest.approx(value, rel=0.01)


def test_normal_quantile() -> None:
    assert normal_quantile(0.975) == pytest.approx(1.959964, abs=1e-5)


def test_stability_index_of_equal_shapes_is_small_and_of_opposite_shapes_large() -> None:
    assert stability_index([100, 50, 10], [100, 50, 10]) == pytest.approx(0.0, abs=1e-9)
    assert stability_index([100, 50, 10], [10, 50, 100]) > 2.0


def test_stability_of_samples_from_one_source_stays_under_the_noise() -> None:
    draw = random.Random(7)

    def histogram(count: int) -> list[int]:
        bins = [0] * 10
        for _ in range(count):
            bins[draw.randrange(10)] += 1
        return bins

    limit = stability_noise(10, 200, 100, 0.99)
    above = sum(stability_index(histogram(200), histogram(100)) > limit for _ in range(1000))
    assert above <= 25  # 1 % is expected


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50))
def test_moments_equal_the_textbook(values: list[float]) -> None:
    moments = Moments()
    for value in values:
        moments.add(value)
    mean = math.fsum(values) / len(values)
    variance = math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)
    assert moments.mean == pytest.approx(mean, rel=1e-6, abs=1e-6)
    assert moments.deviation == pytest.approx(math.sqrt(variance), rel=1e-4, abs=1e-3)


def test_median() -> None:
    assert median([3, 1, 2]) == 2
    assert median([4, 1, 2, 3]) == 2.5
    with pytest.raises(ValueError, match="no values"):
        median([])

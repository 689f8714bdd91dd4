"""Agreement: published worked examples, other implementations, intervals that say what they should, and the API."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations, product

import numpy as np
import pytest
from dataset_registry.domain import agreement
from dataset_registry.domain.agreement_answers import Judged, Said, agreed, sliced
from dataset_registry.domain.annotations import Box, Shape
from dataset_registry.domain.matching import places
from sklearn.metrics import cohen_kappa_score

# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", section C: four observers, twelve units.
KRIPPENDORFF = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3),
    (None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None),
)
# Fleiss' worked example as Wikipedia has it: ten subjects, fourteen raters, five categories.
FLEISS = np.array(
    [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]
)
Observers = Sequence[Sequence[int | None]]
DAY = datetime(2026, 3, 2, tzinfo=UTC)


def counts_of(observers: Observers, values: int = 5) -> np.ndarray:
    """Answers by unit and value; values count from 1."""
    units = zip(*observers, strict=True)
    return np.array(
        [[sum(said == value for said in unit) for value in range(1, values + 1)] for unit in units]
    )


def alpha(counts: np.ndarray) -> float:
    return float(agreement.alpha(agreement.coincidences(counts).sum(axis=0)))


def fleiss(counts: np.ndarray) -> float:
    return float(agreement.fleiss(agreement.per_image(counts).sum(axis=0)))


def random_observers(seed: int, observers: int, missing: float) -> list[list[int | None]]:
    """Observers who see the truth three times in four, and leave some out."""
    chance = np.random.default_rng(seed)
    truth = chance.integers(1, 6, 60)
    said = np.where(chance.random((observers, 60)) < 0.75, truth, chance.integers(1, 6, (observers, 60)))
    left_out = chance.random((observers, 60)) < missing
    return [
        [None if gone else int(value) for value, gone in zip(*row, strict=True)]
        for row in zip(said, left_out, strict=True)
    ]


def slow_alpha(observers: Observers) -> float:
    """By the definition: disagreement within units by disagreement among all pairable values."""
    units = [[said for said in unit if said is not None] for unit in zip(*observers, strict=True)]
    units = [unit for unit in units if len(unit) > 1]
    within = sum(sum(a != b for a, b in permutations(unit, 2)) / (len(unit) - 1) for unit in units)
    pool = [said for unit in units for said in unit]
    among = sum(a != b for a, b in permutations(pool, 2)) / (len(pool) - 1)
    return 1 - within / among


def library_alpha(observers: Observers) -> float:
    data = [[np.nan if said is None else said for said in row] for row in observers]
    library = importlib.import_module("krippendorff")
    return float(library.alpha(reliability_data=data, level_of_measurement="nominal"))


def slow_fleiss(counts: np.ndarray) -> float:
    raters = [[value for value, count in enumerate(row) for _ in range(count)] for row in counts.tolist()]
    same = np.mean([np.mean([a == b for a, b in permutations(row, 2)]) for row in raters])
    pool = [said for row in raters for said in row]
    chance = np.mean([a == b for a, b in product(pool, pool)])
    return float((same - chance) / (1 - chance))


def library_fleiss(counts: np.ndarray) -> float:
    return float(importlib.import_module("statsmodels.stats.inter_rater").fleiss_kappa(counts))


def _with(slow: object, module: str, library: object) -> list[object]:
    return [slow, library] if importlib.util.find_spec(module) else [slow]


ALPHAS = _with(slow_alpha, "krippendorff", library_alpha)
FLEISSES = _with(slow_fleiss, "statsmodels", library_fleiss)


class TestPublished:
    def test_krippendorffs_worked_example(self) -> None:
        assert alpha(counts_of(KRIPPENDORFF)) == pytest.approx(0.743, abs=0.0005)

    def test_fleiss_worked_example(self) -> None:
        assert fleiss(FLEISS) == pytest.approx(0.210, abs=0.0005)
        table = agreement.per_image(FLEISS).sum(axis=0)
        assert float(agreement.percent(table)) == pytest.approx(0.378, abs=0.0005)

    def test_cohens_textbook_table(self) -> None:
        assert float(agreement.cohen(np.array([[20.0, 5.0], [10.0, 15.0]]))) == pytest.approx(0.4)


class TestSecondOpinion:
    @pytest.mark.parametrize("reference", ALPHAS)
    @pytest.mark.parametrize("seed", range(5))
    def test_alpha_with_missing_answers(self, reference: object, seed: int) -> None:
        observers = random_observers(seed, 2 + seed % 3, missing=0.2)
        assert callable(reference)
        assert alpha(counts_of(observers)) == pytest.approx(reference(observers), abs=1e-12)

    @pytest.mark.parametrize("reference", FLEISSES)
    @pytest.mark.parametrize("seed", range(5))
    def test_fleiss(self, reference: object, seed: int) -> None:
        counts = counts_of(random_observers(seed, 3 + seed % 3, missing=0.0))
        assert callable(reference)
        assert fleiss(counts) == pytest.approx(reference(counts), abs=1e-12)

    @pytest.mark.parametrize("weights", [None, "linear"])
    @pytest.mark.parametrize("seed", range(5))
    def test_cohen_with_and_without_severity(self, weights: str | None, seed: int) -> None:
        one, other = random_observers(seed, 2, missing=0.0)
        table = np.zeros((5, 5))
        for a, b in zip(one, other, strict=True):
            assert a and b
            table[a - 1, b - 1] += 1
        ours = float(agreement.cohen(table, range(5) if weights else None))
        assert ours == pytest.approx(cohen_kappa_score(one, other, weights=weights), abs=1e-12)


def judged(number: int, answers: Sequence[str], *, cluster: str | None = None, **more: object) -> Judged:
    said = tuple(
        Said(person, frozenset({value}), DAY + timedelta(weeks=number % 2))
        for person, value in zip(("ada", "ben", "cleo"), answers, strict=False)
    )
    return Judged(f"i{number}", cluster or f"i{number}", said, **more)  # type: ignore[arg-type]


class TestFigures:
    def test_where_all_say_the_same_nothing_is_beyond_chance(self) -> None:
        figures = agreed([judged(n, ["good", "good"]) for n in range(4)], None, {})
        assert (figures.percent.value, figures.percent.low, figures.alpha.value) == (1.0, 1.0, None)

    def test_an_image_with_one_answer_says_nothing(self) -> None:
        figures = agreed([judged(1, ["good"])], None, {})
        assert (figures.images, figures.percent.value, figures.pairs) == (0, None, ())

    def test_the_interval_holds_the_figure_and_is_the_same_again(self) -> None:
        images = [judged(n, ["good", "crack" if n % 4 == 0 else "good"]) for n in range(40)]
        images += [judged(n, ["crack", "crack"]) for n in range(40, 60)]
        first = agreed(images, None, {}).alpha
        assert first.value and first.low and first.high
        assert 0 < first.low < first.value < first.high < 1
        assert agreed(images[::-1], None, {}).alpha == first

    def test_images_of_one_part_are_drawn_together(self) -> None:
        def images(per_part: int) -> list[Judged]:
            return [
                judged(
                    n, ["good", "crack" if (n // per_part) % 3 == 0 else "good"], cluster=f"p{n // per_part}"
                )
                for n in range(60)
            ]

        single, bursts = agreed(images(1), None, {}).percent, agreed(images(10), None, {}).percent
        assert single.high and single.low and bursts.high and bursts.low
        assert bursts.high - bursts.low > 2 * (single.high - single.low)

    def test_a_difference_of_severity_counts_by_its_distance(self) -> None:
        severity = {"good": 0, "scratch": 1, "crack": 2}
        near = [judged(n, ["scratch", "good"] if n % 3 else ["crack", "crack"]) for n in range(30)]
        far = [judged(n, ["crack", "good"] if n % 3 else ["crack", "crack"]) for n in range(30)]
        more = [judged(n, ["good", "good"]) for n in range(30, 60)]
        (close,), (distant,) = (
            agreed(near + more, None, severity).pairs,
            agreed(far + more, None, severity).pairs,
        )
        assert close.weighted and distant.weighted
        assert close.weighted.value and distant.weighted.value
        assert close.weighted.value > distant.weighted.value
        assert agreed([*near, judged(99, ["new", "good"])], None, severity).pairs[0].weighted is None

    def test_fleiss_takes_the_images_with_the_most_frequent_number_of_answers(self) -> None:
        two = [judged(n, ["good", "crack"]) for n in range(3)]
        three = [judged(n, ["good", "good", "crack" if n % 2 else "good"]) for n in range(3, 9)]
        assert agreed(two + three, None, {}).fleiss.units == 6
        assert agreed(two + three, None, {}).percent.units == 9

    def test_slices(self) -> None:
        images = [
            judged(0, ["good", "crack"], part="a", camera="left"),
            judged(1, ["good", "good", "scratch"], part="b", camera="left"),
            judged(2, ["crack", "crack"], part="b"),
        ]
        by = {
            name: sliced(images, name, None, {}) for name in ("class", "part", "camera", "reviewer", "week")
        }
        assert {name: figures.images for name, figures in by["part"].items()} == {"a": 1, "b": 2}
        assert {name: figures.images for name, figures in by["camera"].items()} == {"left": 2, "unknown": 1}
        assert set(by["reviewer"]) == {"ada / ben", "ada / cleo", "ben / cleo"}
        assert by["reviewer"]["ben / cleo"].percent.value == 0.0
        assert by["class"]["scratch"].percent.value == pytest.approx((1 + 1 / 3 + 1) / 3)
        assert set(by["week"]) == {"2026-W10", "2026-W11"}


def box(name: str, x: float, width: float = 10.0) -> Shape:
    return Shape(f"{name}-{x}", name, Box(x, 0, width, 10))


def marked(number: int, *people: Sequence[Shape]) -> Judged:
    said = tuple(
        Said(person, frozenset({shape.class_name for shape in shapes} or {"good"}), DAY, tuple(shapes))
        for person, shapes in zip(("ada", "ben", "cleo"), people, strict=False)
    )
    return Judged(f"i{number}", f"i{number}", said, width=100, height=20, regions=True)


class TestRegions:
    def test_the_best_overlap_is_joined_first_and_a_place_has_one_mark_of_each(self) -> None:
        found = places([[box("crack", 0)], [box("crack", 3), box("pore", 1)], [box("crack", 0)]], 100, 20)
        names = sorted([mark and mark.class_name for mark in place] for place in found.marks if place[0])
        assert names == [["crack", "pore", "crack"]]
        assert [place for place in found.marks if place[0] is None] == [[None, box("crack", 3), None]]
        assert sorted(round(likeness, 3) for _, _, likeness in found.overlaps) == [0.818, 0.818, 1.0]

    def test_overlap_detection_and_alpha(self) -> None:
        images = [
            marked(1, [box("crack", 0), box("pore", 50)], [box("crack", 2)]),
            marked(2, [box("pore", 20)], [box("crack", 20)]),
            marked(3, [], []),
        ]
        regions = agreed(images, None, {}).regions
        assert regions
        assert regions.overlap.value == pytest.approx((8 / 12 + 1) / 2)
        assert regions.detection.value == pytest.approx(4 / 5)
        spoken = [(2, 2), (3, 1), (3, 2), (1, 1)]
        assert regions.alpha.value == pytest.approx(slow_alpha(list(zip(*spoken, strict=True))))

    def test_of_one_class_only_its_marks_count(self) -> None:
        images = [marked(1, [box("crack", 0), box("pore", 50)], [box("crack", 0)])]
        regions = agreed(images, "crack", {}).regions
        assert regions
        assert regions.detection.value == 1.0

    def test_detection_is_the_mean_over_pairs_of_people(self) -> None:
        images = [marked(1, [box("crack", 0)], [box("crack", 0)], [])]
        regions = agreed(images, None, {}).regions
        assert regions
        assert regions.detection.value == pytest.approx(2 / 4)

"""Review plans: ISO 2859-1 against rows of its published tables, fractions, and what a lot comes to."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid5

import pytest
from dataset_registry.domain.refusals import Refused
from dataset_registry.domain.sampling_plans import (
    LETTERS,
    SAMPLE_SIZES,
    LotPlan,
    ReviewPlan,
    code_letter,
    drawn,
    lot_plan,
    lot_state,
    sample,
)

TASKS = [str(uuid5(UUID(int=0), str(number))) for number in range(2000)]

# Table 2-A, single sampling plans for normal inspection: (letter, AQL, sample size, accept), the arrows followed.
TABLE_2A = [
    ("A", 0.65, 20, 0),
    ("F", 0.65, 20, 0),
    ("G", 0.65, 20, 0),
    ("H", 0.65, 80, 1),
    ("J", 0.65, 80, 1),
    ("K", 0.65, 125, 2),
    ("L", 0.65, 200, 3),
    ("M", 0.65, 315, 5),
    ("N", 0.65, 500, 7),
    ("P", 0.65, 800, 10),
    ("Q", 0.65, 1250, 14),
    ("R", 0.65, 2000, 21),
    ("B", 1.0, 13, 0),
    ("E", 1.0, 13, 0),
    ("F", 1.0, 13, 0),
    ("G", 1.0, 50, 1),
    ("H", 1.0, 50, 1),
    ("J", 1.0, 80, 2),
    ("K", 1.0, 125, 3),
    ("L", 1.0, 200, 5),
    ("M", 1.0, 315, 7),
    ("N", 1.0, 500, 10),
    ("P", 1.0, 800, 14),
    ("Q", 1.0, 1250, 21),
    ("R", 1.0, 1250, 21),
    ("D", 1.5, 8, 0),
    ("F", 1.5, 32, 1),
    ("G", 1.5, 32, 1),
    ("K", 1.5, 125, 5),
    ("P", 1.5, 800, 21),
    ("R", 1.5, 800, 21),
    ("C", 2.5, 5, 0),
    ("F", 2.5, 20, 1),
    ("H", 2.5, 50, 3),
    ("L", 2.5, 200, 10),
    ("N", 2.5, 500, 21),
    ("A", 4.0, 3, 0),
    ("B", 4.0, 3, 0),
    ("C", 4.0, 3, 0),
    ("D", 4.0, 13, 1),
    ("E", 4.0, 13, 1),
    ("J", 4.0, 80, 7),
    ("L", 4.0, 200, 14),
    ("M", 4.0, 315, 21),
    ("R", 4.0, 315, 21),
]


class TestTables:
    @pytest.mark.parametrize(
        ("size", "letters"),
        [
            (2, "AAB"),
            (8, "AAB"),
            (9, "ABC"),
            (25, "BCD"),
            (50, "CDE"),
            (90, "CEF"),
            (150, "DFG"),
            (151, "EGH"),
            (280, "EGH"),
            (500, "FHJ"),
            (1200, "GJK"),
            (3200, "HKL"),
            (10_000, "JLM"),
            (35_000, "KMN"),
            (150_000, "LNP"),
            (500_000, "MPQ"),
            (500_001, "NQR"),
        ],
    )
    def test_code_letters(self, size: int, letters: str) -> None:
        assert "".join(code_letter(size, level) for level in ("I", "II", "III")) == letters

    @pytest.mark.parametrize(("letter", "aql", "sample_size", "accept"), TABLE_2A)
    def test_sample_sizes_and_acceptance_numbers(
        self, letter: str, aql: float, sample_size: int, accept: int
    ) -> None:
        """By a lot whose size and level have that letter."""
        sizes = {code_letter(size, level): (size, level) for size in SIZES for level in ("I", "II", "III")}
        size, level = sizes[letter]
        assert lot_plan(size, aql, level) == LotPlan(min(size, sample_size), accept)

    def test_every_letter_has_a_sample_size(self) -> None:
        assert dict(zip(LETTERS, SAMPLE_SIZES, strict=True))["J"] == 80
        assert "I" not in LETTERS
        assert "O" not in LETTERS

    def test_a_small_lot_is_looked_at_as_a_whole(self) -> None:
        assert lot_plan(5, 0.65, "II") == LotPlan(5, 0)


SIZES = (2, 9, 16, 26, 51, 91, 151, 281, 501, 1201, 3201, 10_001, 35_001, 150_001, 500_001)


class TestPlans:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"plan": "some"},
            {"plan": "fraction"},
            {"plan": "fraction", "fraction": 1.5},
            {"plan": "iso2859", "aql": 1.0},
            {"plan": "iso2859", "aql": 1.1, "level": "II"},
            {"plan": "iso2859", "aql": 1.0, "level": "IV"},
            {},
        ],
    )
    def test_unknown_ones(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(Refused, match="unknown-review-plan"):
            ReviewPlan.of(wrong)

    def test_a_fraction_draws_about_that_share_and_always_the_same(self) -> None:
        plan = ReviewPlan.of({"plan": "fraction", "fraction": 0.2})
        first = [task for task in TASKS if plan.draws(task)]
        assert 340 < len(first) < 460
        assert first == [task for task in TASKS if drawn(task, 0.2)]
        assert set(first) <= {task for task in TASKS if drawn(task, 0.3)}

    def test_all_or_none(self) -> None:
        assert all(ReviewPlan.of({"plan": "full"}).draws(task) for task in TASKS[:50])
        assert all(drawn(task, 1.0) for task in TASKS)
        assert not any(drawn(task, 0.0) for task in TASKS)

    def test_a_sample_does_not_depend_on_the_order(self) -> None:
        lot = TASKS[:150]
        assert sample(lot, 20) == sample(list(reversed(lot)), 20)
        assert len(sample(lot, 20)) == 20
        assert sample(lot, 20) != set(lot[:20])

    @pytest.mark.parametrize(
        ("reviewed", "nonconforming", "state"),
        [(0, 0, "open"), (19, 1, "open"), (20, 1, "accepted"), (2, 2, "rejected"), (20, 2, "rejected")],
    )
    def test_a_lot_is_rejected_at_once_and_accepted_at_the_end(
        self, reviewed: int, nonconforming: int, state: str
    ) -> None:
        assert lot_state(1, 20, reviewed, nonconforming) == state

"""No image that the model learned from, nor its near duplicate, may pass a camera."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from andon_demo.parts import Split, split_parts, variants
from andon_demo.rehearsal import unseen_parts
from hypothesis import given, settings
from hypothesis import strategies as st


@given(size=st.integers(1, 40), share=st.floats(0.1, 0.7), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_groups_are_never_divided_and_nothing_is_lost(size: int, share: float, seed: int) -> None:
    parts = unseen_parts(200, group_size=size)
    split = split_parts(parts, share, seed)
    assert {p.group for p in split.training}.isdisjoint(p.group for p in split.stream)
    assert sorted(p.name for p in split.training + split.stream) == sorted(p.name for p in parts)


def test_each_label_and_variant_gets_about_its_share() -> None:
    parts = unseen_parts(600, group_size=2)
    training = Counter((p.label, p.variant) for p in split_parts(parts, 0.3, 1).training)
    for stratum, total in Counter((p.label, p.variant) for p in parts).items():
        assert abs(training[stratum] - 0.3 * total) <= 4


def test_the_same_seed_gives_the_same_split_whatever_the_order() -> None:
    parts = unseen_parts(300, group_size=3)
    assert split_parts(parts, 0.3, 5) == split_parts(list(reversed(parts)), 0.3, 5)
    assert split_parts(parts, 0.3, 5) != split_parts(parts, 0.3, 6)


def test_the_most_frequent_variant_comes_first() -> None:
    assert variants(unseen_parts(7, variants=("mono", "poly"))) == ["mono", "poly"]


def test_people_know_every_class_of_the_set() -> None:
    """Also one that only passes the cameras, or that the model could not learn: the taxonomy needs it."""
    parts = unseen_parts(50)
    rare = replace(parts[0], name="rare", label="rust", classes=("rust", "stain"), doubt=1.0)
    usual = {part.label for part in parts if part.is_defect}
    assert Split(tuple(parts), (rare,)).defects == sorted({*usual, "rust", "stain"})
    assert Split(tuple(p for p in parts if not p.is_defect), ()).defects == []

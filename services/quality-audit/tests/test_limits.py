"""Limits follow the station's own accepted images, robustly, and the same way after a restart."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from quality_audit.domain.limits import ABSOLUTE, Learner, LearningSettings
from quality_audit.domain.measures import MEASURES

SETTINGS = LearningSettings(window=100, warm_up=20)
NORMAL = {
    "sharpness": 1.0,
    "brightness": 0.5,
    "contrast": 0.15,
    "over_fraction": 0.0,
    "under_fraction": 0.0,
    "border_fraction": 0.01,
}


def some_id(number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))


def normal(count: int, seed: int = 1) -> list[dict[str, float]]:
    rng = np.random.default_rng(seed)
    return [
        {**NORMAL, "sharpness": 1 + rng.normal() * 0.1, "brightness": 0.5 + rng.normal() * 0.03}
        for _ in range(count)
    ]


def learn(images: Sequence[dict[str, float]], settings: LearningSettings = SETTINGS) -> Learner:
    learner = Learner(settings)
    for number, measures in enumerate(images):
        learner.accept(some_id(number), measures)
    return learner


def test_only_absolute_limits_apply_while_warming_up() -> None:
    learner = learn(normal(SETTINGS.warm_up - 1))
    assert learner.limits is ABSOLUTE
    assert learner.limits.reasons({**NORMAL, "sharpness": 0.1}) == ([], [])
    assert learner.limits.reasons({**NORMAL, "sharpness": -1.5}) == (["blurred"], [])


def test_learned_limits_reject_what_is_far_and_doubt_what_is_near() -> None:
    limits = learn(normal(200)).limits
    assert limits.reasons(NORMAL) == ([], [])
    assert limits.reasons({**NORMAL, "sharpness": 0.2}) == (["blurred"], [])
    assert limits.reasons({**NORMAL, "brightness": 0.2}) == (["under-exposed"], [])
    assert limits.reasons({**NORMAL, "brightness": 0.8}) == (["over-exposed"], [])
    assert limits.reasons({**NORMAL, "contrast": 0.05}) == (["low-contrast"], [])
    assert limits.reasons({**NORMAL, "border_fraction": 0.45}) == (["cropped"], [])
    blur = next(b for b in limits.bounds if b.rule.reason == "blurred")
    assert blur.reject < blur.doubt
    assert limits.reasons({**NORMAL, "sharpness": (blur.reject + blur.doubt) / 2}) == ([], ["blurred"])


def test_a_reason_is_given_once_although_two_measures_say_it() -> None:
    limits = learn(normal(100)).limits
    rejected, doubted = limits.reasons({**NORMAL, "brightness": 0.9, "over_fraction": 0.9})
    assert rejected == ["over-exposed"] and doubted == []


def test_a_few_bad_images_do_not_move_the_limits() -> None:
    clean = normal(100)
    spoiled = [*clean[:50], {**NORMAL, "sharpness": -0.9}, *clean[50:99]]
    moved = [
        abs(a.reject - b.reject)
        for a, b in zip(learn(clean).limits.bounds, learn(spoiled).limits.bounds, strict=True)
    ]
    assert max(moved) < 0.1


def test_limits_follow_a_station_that_changes_slowly() -> None:
    dim = [{**m, "brightness": m["brightness"] - 0.15} for m in normal(200, seed=2)]
    limits = learn([*normal(100), *dim]).limits
    assert limits.reasons({**NORMAL, "brightness": 0.35}) == ([], [])


def test_the_version_is_the_hash_of_the_document_and_changes_with_it() -> None:
    one, other = learn(normal(100, seed=1)).limits, learn(normal(100, seed=5)).limits
    assert len(one.version) == 64 and one.version != other.version
    assert b'"learned_from":' in one.document and ABSOLUTE.version != one.version


measured = st.fixed_dictionaries({name: st.floats(0, 1, allow_nan=False) for name in MEASURES})


@settings(max_examples=25, deadline=None)
@given(images=st.lists(measured, min_size=60, max_size=120), cut=st.integers(0, 60))
def test_a_memory_rebuilt_from_the_window_judges_like_the_one_that_never_stopped(
    images: list[dict[str, float]], cut: int
) -> None:
    small = LearningSettings(window=20, warm_up=10)
    whole, rebuilt = Learner(small), Learner(small)
    first = min(cut, len(images) - 50)
    for number, measures in enumerate(images):
        whole.accept(some_id(number), measures)
        if number >= first:
            rebuilt.accept(some_id(number), measures)
    drawn = [n for n in range(first + small.window, len(images)) if some_id(n).endswith("0")]
    if drawn:  # limits were learned at an image by which both had the same full window
        assert rebuilt.limits.version == whole.limits.version


@settings(max_examples=25, deadline=None)
@given(images=st.lists(measured, min_size=30, max_size=80), probe=measured)
def test_what_is_rejected_is_never_only_doubted_and_absolute_limits_always_hold(
    images: list[dict[str, float]], probe: dict[str, float]
) -> None:
    limits = learn(images).limits
    rejected, doubted = limits.reasons(probe)
    assert not set(rejected) & set(doubted)
    assert set(ABSOLUTE.reasons(probe)[0]) <= set(rejected)

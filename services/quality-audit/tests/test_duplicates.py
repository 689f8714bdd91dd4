"""Duplicates are found in the recent past and nowhere else."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from quality_audit.domain.duplicates import HASH_DISTANCE, RecentImages, Seen, correlation


def seen(name: str, perceptual_hash: int | None = 0, usable: bool = True) -> Seen:
    return Seen(name, f"sha-{name}", perceptual_hash, usable)


def test_identical_bytes_name_the_earliest_image_that_is_remembered() -> None:
    recent = RecentImages(3)
    for name in ("a", "b", "c"):
        assert recent.add(seen(name)) is None
    assert recent.same_bytes("sha-a") == "a"
    forgotten = recent.add(seen("d"))
    assert forgotten is not None and forgotten.capture_id == "a"
    assert recent.same_bytes("sha-a") is None


def test_candidates_come_nearest_first_and_leave_out_the_unusable() -> None:
    recent = RecentImages(8)
    recent.add(seen("far", 0xFFFF))
    recent.add(seen("near", 0b111))
    recent.add(seen("same", 0))
    recent.add(seen("rejected", 0, usable=False))
    recent.add(seen("unreadable", None))
    assert recent.candidates(0) == ["same", "near"]


@given(st.lists(st.integers(0, 2**64 - 1), max_size=60), st.integers(0, 2**64 - 1))
def test_candidates_are_those_of_a_plain_search(hashes: list[int], probe: int) -> None:
    window = 16
    recent = RecentImages(window)
    for number, value in enumerate(hashes):
        recent.add(seen(str(number), value))
    kept = list(enumerate(hashes))[-window:]
    expected = {str(n) for n, value in kept if (value ^ probe).bit_count() <= HASH_DISTANCE}
    assert set(recent.candidates(probe)) == expected


def test_correlation_does_not_care_about_exposure() -> None:
    image = np.random.default_rng(0).normal(100, 20, (32, 32)).astype(np.uint8)
    other = np.random.default_rng(1).normal(100, 20, (32, 32)).astype(np.uint8)
    assert correlation(image, (image * 0.5 + 20).astype(np.uint8)) > 0.999
    assert abs(correlation(image, other)) < 0.2
    assert correlation(image, np.full_like(image, 7)) == 0.0

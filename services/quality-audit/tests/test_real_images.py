"""The audit on real solar cells: what it lets pass, what it catches, and sister cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from andon_vision import DEFAULT_LIMITS, hash_to_hex
from andon_vision.sources import load_source
from quality_audit.adapters.vision import looker
from quality_audit.domain.duplicates import LEAST_CORRELATION, RecentImages, Seen, correlation
from quality_audit.domain.limits import Learner, LearningSettings
from quality_audit.domain.measures import Grey, measure
from quality_audit.ports import Look

CELLS = 800


@pytest.fixture(scope="module")
def cells() -> list[Look]:
    """Cells of one variant in a random but fixed order, as one station would see them."""
    found = [image for image in load_source("elpv") if image.variant == "poly"]
    order = np.random.default_rng(0).permutation(len(found))[:CELLS]
    look = looker(DEFAULT_LIMITS)
    return [look(found[n].read()) for n in order]


@pytest.fixture(scope="module")
def learner(cells: list[Look]) -> Learner:
    """A station that has seen half of them."""
    learner = Learner(LearningSettings())
    for look in cells[: CELLS // 2]:
        measures = measure(look.grey)
        if learner.limits.reasons(measures) == ([], []):
            learner.accept(hash_to_hex(look.perceptual_hash)[:-1] + "0", measures)
    return learner


def test_few_good_images_are_rejected_or_doubted(cells: list[Look], learner: Learner) -> None:
    answers = [learner.limits.reasons(measure(look.grey)) for look in cells[CELLS // 2 :]]
    rejected = sum(bool(reject) for reject, _ in answers) / len(answers)
    doubted = sum(bool(doubt) and not reject for reject, doubt in answers) / len(answers)
    assert rejected <= 0.02
    assert doubted <= 0.04


def blurred(g: Grey) -> Any:
    return cv2.GaussianBlur(g, (0, 0), 4)


def over(g: Grey) -> Any:
    return np.clip(g.astype(np.float32) * 1.6 + 110, 0, 255).astype(np.uint8)


def under(g: Grey) -> Any:
    return (g * 0.12).astype(np.uint8)


def slid(g: Grey) -> Any:
    out = np.zeros_like(g)
    out[:, :165] = g[:, -165:]
    return out


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [(blurred, "blurred"), (over, "over-exposed"), (under, "under-exposed"), (slid, "cropped")],
)
def test_bad_images_are_caught(
    cells: list[Look], learner: Learner, spoil: Callable[[Grey], Any], reason: str
) -> None:
    rejected, doubted = [], []
    for look in cells[CELLS // 2 :: 4]:
        reject, doubt = learner.limits.reasons(measure(spoil(look.grey)))
        rejected.append(reason in reject)
        doubted.append(reason in doubt)
    assert sum(rejected) / len(rejected) >= 0.9
    assert (sum(rejected) + sum(doubted)) / len(rejected) >= 0.96


def test_sister_cells_are_no_near_duplicates_although_their_hashes_collide(cells: list[Look]) -> None:
    recent, colliding = RecentImages(CELLS), 0
    for number, look in enumerate(cells):
        for candidate in recent.candidates(look.perceptual_hash):
            colliding += 1
            assert correlation(look.fingerprint, cells[int(candidate)].fingerprint) < LEAST_CORRELATION
        recent.add(Seen(str(number), str(number), look.perceptual_hash, True))
    assert colliding > 50


def test_twins_of_real_cells_are_found(cells: list[Look]) -> None:
    look_at = looker(DEFAULT_LIMITS)
    found = 0
    for look in cells[:100]:
        twin = look_at(
            cv2.imencode(".jpg", look.grey, [cv2.IMWRITE_JPEG_QUALITY, 70])[1].tobytes(),
        )
        near = (twin.perceptual_hash ^ look.perceptual_hash).bit_count() <= 6
        found += near and correlation(twin.fingerprint, look.fingerprint) >= LEAST_CORRELATION
    assert found >= 95

"""The script: seeded, complete, and with everything played in that the report will claim."""

from __future__ import annotations

from collections import Counter

import pytest
from andon_demo.parts import Part
from andon_demo.rehearsal import unseen_parts
from andon_demo.scenario import DARKEST, REFUSED, SHARES, SPOILED, Play, light_at, most_images, write_plan
from hypothesis import given, settings
from hypothesis import strategies as st


@given(count=st.integers(24, 400), images=st.integers(20, 500), seed=st.integers(0, 50))
@settings(max_examples=60, deadline=None)
def test_no_part_is_shown_twice_as_if_it_were_new(count: int, images: int, seed: int) -> None:
    plan = write_plan(unseen_parts(count), images, seed)
    new = [shot.part.name for shot in plan.shots if shot.play not in (*REFUSED, Play.DUPLICATE, Play.RETRY)]
    assert len(new) == len(set(new))
    assert plan.images <= images
    assert [shot.number for shot in plan.shots] == list(range(len(plan.shots)))


def test_the_same_seed_gives_the_same_script(parts: list[Part]) -> None:
    assert write_plan(parts, 300, 7) == write_plan(list(reversed(parts)), 300, 7)
    assert write_plan(parts, 300, 7) != write_plan(parts, 300, 8)


def test_it_sends_as_many_images_as_asked_when_there_are_parts_enough(parts: list[Part]) -> None:
    assert write_plan(parts, 300, 7).images == 300
    assert write_plan(parts, 10_000, 7).images >= most_images(len(parts)) - 2


@pytest.mark.parametrize("images", [60, 120, 500])
def test_every_play_occurs(parts: list[Part], images: int) -> None:
    plan = write_plan(parts, images, 3)
    counts = Counter(shot.play for shot in plan.shots)
    assert set(counts) == {None, *Play}
    for play, share in SHARES.items():
        assert counts[play] == max(1, round(share * images))


def test_spoiled_images_come_only_after_the_clean_start(parts: list[Part]) -> None:
    plan = write_plan(parts, 400, 3)
    first = min(shot.number for shot in plan.shots if shot.play in SPOILED)
    assert first >= 0.14 * len(plan.shots)


def test_the_new_variant_comes_to_the_station_that_is_not_validated_for_it(parts: list[Part]) -> None:
    plan = write_plan(parts, 400, 3)
    assert plan.new_variant not in plan.poly_only.validated
    seen = [
        shot
        for shot in plan.shots
        if shot.metadata["product_variant"] not in (shot.station.validated or ("poly", "mono"))
    ]
    assert seen
    assert {shot.station for shot in seen} == {plan.poly_only}
    assert all(shot.play is Play.NEW_VARIANT for shot in seen)
    assert not plan.invented_variant


def test_a_set_with_one_variant_gets_a_second_one_on_paper_only() -> None:
    plan = write_plan(unseen_parts(300, variants=("strip",)), 200, 3)
    assert plan.invented_variant
    assert {s.metadata["product_variant"] for s in plan.shots if s.play is Play.NEW_VARIANT} == {"strip-b"}


def test_twins_and_repeats_come_after_what_they_repeat(parts: list[Part]) -> None:
    plan = write_plan(parts, 500, 3)
    for shot in plan.shots:
        if shot.repeats is None:
            continue
        original = plan.shots[shot.repeats]
        assert original.number < shot.number
        assert original.part == shot.part
        assert original.play is None
        assert (original.trigger_id == shot.trigger_id) == (shot.play is not Play.DUPLICATE)


def test_triggers_are_unique_but_for_repeats_and_broken_uploads(parts: list[Part]) -> None:
    plan = write_plan(parts, 500, 3)
    fresh = [(s.station.key, s.trigger_id) for s in plan.shots if s.play not in (*REFUSED, Play.RETRY)]
    assert len(fresh) == len(set(fresh))


def test_some_metadata_are_missing_on_purpose_but_never_where_and_when(parts: list[Part]) -> None:
    plan = write_plan(parts, 500, 3)
    missing = Counter(
        name
        for s in plan.shots
        for name in ("operator", "supplier", "batch", "part_id", "line")
        if name not in s.metadata
    )
    assert missing["operator"] and missing["supplier"] and missing["batch"]
    assert not missing["part_id"] and not missing["line"]


def test_the_lamp_fades_stays_dark_and_is_replaced() -> None:
    assert light_at(0.0) == light_at(0.41) == light_at(0.81) == 1.0
    assert light_at(0.52) > light_at(0.6) > DARKEST - 1e-9
    assert light_at(0.7) == pytest.approx(DARKEST)


def test_too_few_parts_are_refused_with_advice() -> None:
    with pytest.raises(ValueError, match="at least 20"):
        write_plan(unseen_parts(10), 100, 1)

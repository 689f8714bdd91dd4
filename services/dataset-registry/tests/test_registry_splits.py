"""Neighbours, splits and leakage: exact against brute force, nothing divided, the same parts whatever the order."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from dataset_registry.domain.leakage import leakage
from dataset_registry.domain.neighbours import Forest, distinct, near_groups, near_pairs
from dataset_registry.domain.refusals import Refused
from dataset_registry.domain.samples import KEYS, NEIGHBOUR, PARTS, Sample
from dataset_registry.domain.segments import Mark, coverage, segments
from dataset_registry.domain.splits import Plan, Split, split

START = datetime(2026, 3, 2, tzinfo=UTC)
ALL_KEYS = ("time", "batch", "part", NEIGHBOUR)


def hashes(kind: str, count: int) -> np.ndarray:
    """`bursts` of few near ones each; `similar`: variations of a handful of pictures."""
    chance = np.random.default_rng(3)
    centres = count // 3 if kind == "bursts" else 5
    values = chance.integers(0, 2**64, centres, dtype=np.uint64)[chance.integers(0, centres, count)]
    for _ in range(3 if kind == "bursts" else 9):
        values = values ^ (np.uint64(1) << chance.integers(0, 64, count, dtype=np.uint64))
    return distinct(values)[0]


class TestNeighbours:
    @pytest.mark.parametrize("kind", ["bursts", "similar"])
    @pytest.mark.parametrize("most", [0, 1, 6, 10, 15])
    def test_all_pairs_each_once_and_the_groups_that_follow(self, kind: str, most: int) -> None:
        values = hashes(kind, 900)
        found = [
            (min(i, j), max(i, j), d)
            for portion in near_pairs(values, most)
            for i, j, d in zip(*(column.tolist() for column in portion), strict=True)
        ]
        wanted = [
            (i, j, distance)
            for (i, a), (j, b) in combinations(enumerate(values.tolist()), 2)
            if (distance := (a ^ b).bit_count()) <= most
        ]
        assert sorted(found) == wanted
        forest = Forest(len(values))
        if wanted:
            forest.join(*np.array([pair[:2] for pair in wanted]).T)
        assert near_groups(values, most).tolist() == forest.groups().tolist()

    def test_nothing_has_no_neighbours(self) -> None:
        nothing = np.array([], np.uint64)
        assert list(near_pairs(nothing, 6)) == []
        assert len(near_groups(nothing, 6)) == 0


def sample(number: int, **known: Any) -> Sample:
    defect = known.pop("defect", number % 5 == 0)
    made = Sample(
        id=f"{number:04d}",
        content=f"c{number}",
        classes=("crack",) if defect else ("good",),
        is_defect=defect,
        station="line-a/cell-1",
    )
    return replace(made, **known)


def plant(count: int = 600, seed: int = 1) -> list[Sample]:
    """Images of which some share a batch, a part, a burst, or their bytes; some know nothing of themselves."""
    chance = random.Random(seed)
    return [
        sample(
            number,
            content=f"c{number - 1 if number % 97 == 1 else number}",
            captured_at=START + timedelta(minutes=7 * number) if number % 3 else None,
            batch=f"b{number // 4}" if number % 4 else None,
            part=f"p{number // 2}" if number % 7 else None,
            perceptual_hash=(chance.getrandbits(64) if number % 5 else 12345) if number % 11 else None,
        )
        for number in range(count)
    ]


def parts_by(samples: Sequence[Sample], parts: Sequence[str]) -> dict[str, str]:
    return {sample.id: part for sample, part in zip(samples, parts, strict=True)}


def shares(divided: Split) -> dict[str, float]:
    return {part: count / len(divided.parts) for part, count in Counter(divided.parts).items()}


class TestSplit:
    def test_what_shares_a_key_over_any_chain_is_never_divided(self) -> None:
        samples = plant()
        plan = Plan(keys=ALL_KEYS, block_s=1200)
        divided = split(samples, plan)
        for key in ("content", "time", "batch", "part"):
            together = defaultdict(set)
            for each, part in zip(samples, divided.parts, strict=True):
                together[KEYS[key](each, plan.block_s)].add(part)
            together.pop(None, None)
            assert all(len(found) == 1 for found in together.values()), key
        for (a, one), (b, other) in combinations(zip(samples, divided.parts, strict=True), 2):
            if a.perceptual_hash is not None and b.perceptual_hash is not None and one != other:
                assert (a.perceptual_hash ^ b.perceptual_hash).bit_count() > plan.distance
        assert leakage(samples, divided.parts, plan.distance, plan.block_s).verdict == "unproven"

    def test_the_order_of_the_images_changes_nothing_and_the_seed_does(self) -> None:
        samples = plant()
        plan = Plan(keys=("part", NEIGHBOUR))
        first = split(samples, plan)
        shuffled = random.Random(9).sample(samples, len(samples))
        again = split(shuffled, plan)
        assert parts_by(shuffled, again.parts) == parts_by(samples, first.parts)
        assert parts_by(shuffled, again.groups) == parts_by(samples, first.groups)
        assert again.warnings == first.warnings
        assert split(samples, replace(plan, seed="another")).parts != first.parts

    def test_what_is_unknown_joins_nothing(self) -> None:
        samples = [sample(n, station=None, captured_at=START) for n in range(20)]
        divided = split(samples, Plan(keys=("time", "station", "batch", "part", "product", NEIGHBOUR)))
        assert len(set(divided.groups)) == 20

    def test_each_class_is_in_each_part_in_its_share(self) -> None:
        samples = [sample(n, part=f"p{n // 2}", defect=(n // 2) % 10 == 0) for n in range(2000)]
        divided = split(
            samples, Plan({"train": 0.6, "validation": 0.2, "test": 0.1, "holdout": 0.1}, ("part",))
        )
        assert shares(divided) == pytest.approx(
            {"train": 0.6, "validation": 0.2, "test": 0.1, "holdout": 0.1}, abs=0.01
        )
        cracks = Counter(p for s, p in zip(samples, divided.parts, strict=True) if s.is_defect)
        assert {part: count / 200 for part, count in cracks.items()} == pytest.approx(
            {"train": 0.6, "validation": 0.2, "test": 0.1, "holdout": 0.1}, abs=0.03
        )
        assert divided.warnings == []

    def test_what_is_too_few_too_large_or_unknown_is_said(self) -> None:
        samples = [sample(n, defect=False, part=f"p{n}") for n in range(100)]
        samples += [sample(200 + n, defect=False, part="one") for n in range(60)]
        samples += [sample(300, classes=("scratch",), is_defect=True)]
        warned = {(w.code, w.about): w.text for w in split(samples, Plan(keys=("part",))).warnings}
        assert ("group-too-large", "0200") in warned
        assert "not in validation, holdout" in warned["class-too-few", "scratch"]
        assert warned["key-unknown", "part"].startswith("1 of 161")
        assert not any(code == "share-missed" for code, _ in warned)
        alone = split([sample(n, part="one") for n in range(10)], Plan(keys=("part",)))
        assert {w.about for w in alone.warnings if w.code == "share-missed"} == {
            "train",
            "validation",
            "holdout",
        }

    def test_synthetic_images_take_their_group_to_training_and_are_refused_elsewhere(self) -> None:
        samples = [sample(n, part=f"p{n // 4}", synthetic=n % 8 == 0) for n in range(400)]
        divided = split(samples, Plan(keys=("part",)))
        mixed = {s.part for s in samples if s.synthetic}
        assert {p for s, p in zip(samples, divided.parts, strict=True) if s.part in mixed} == {"train"}
        assert set(divided.parts) == {"train", "validation", "holdout"}
        with pytest.raises(Refused, match="synthetic-outside-training"):
            split([*samples, sample(999, synthetic=True, kept="validation")], Plan(keys=("part",)))

    def test_kept_images_stay_and_new_ones_follow_their_group(self) -> None:
        samples = [sample(n, part=f"p{n // 2}") for n in range(300)]
        first = split(samples, Plan(keys=("part",)))
        kept = [replace(s, kept=p) for s, p in zip(samples, first.parts, strict=True)]
        more = kept + [sample(1000 + n, part=f"p{n}") for n in range(200)]
        second = split(more, Plan(keys=("part",), seed="another"))
        assert second.parts[:300] == first.parts
        old = {s.part: p for s, p in zip(samples, first.parts, strict=True)}
        assert all(
            p == old[s.part] for s, p in zip(more[300:], second.parts[300:], strict=True) if s.part in old
        )

    def test_a_group_of_several_kept_parts_goes_where_most_was_learned_and_it_is_said(self) -> None:
        samples = [
            sample(1, kept="holdout", part="a"),
            sample(2, kept="train", part="a"),
            sample(3, part="a"),
        ]
        divided = split(samples, Plan(keys=("part",)))
        assert divided.parts == ["train"] * 3
        (warned,) = (w for w in divided.warnings if w.code == "group-joined-parts")
        assert "1 images are lost to the holdout" in warned.text

    @pytest.mark.parametrize(
        ("plan", "reason"),
        [
            (Plan({"train": 0.5}), "shares-not-whole"),
            (Plan({"train": 1.2, "holdout": -0.2}), "shares-not-whole"),
            (Plan({"holdout": 1.0}), "nothing-to-learn-from"),
            (Plan({"train": 0.5, "spare": 0.5}), "unknown-split"),
            (Plan(keys=("colour",)), "unknown-split"),
            (Plan(distance=16), "bad-distance"),
            (Plan(block_s=float("nan")), "bad-distance"),
        ],
    )
    def test_a_plan_that_makes_no_sense_is_refused(self, plan: Plan, reason: str) -> None:
        with pytest.raises(Refused, match=reason):
            split([sample(1)], plan)


def brute(
    samples: Sequence[Sample], parts: Sequence[str], kind: str, block_s: float
) -> tuple[int, int, Counter[str]]:
    """Pairs across parts, images in them, and pairs by the two parts."""
    pairs, images, by_parts = 0, set[str](), Counter[str]()
    for (a, p), (b, q) in combinations(zip(samples, parts, strict=True), 2):
        if p == q:
            continue
        if kind == NEIGHBOUR:
            known = a.perceptual_hash is not None and b.perceptual_hash is not None
            related = known and (a.perceptual_hash ^ b.perceptual_hash).bit_count() <= 6  # type: ignore[operator]
        else:
            value = KEYS[kind](a, block_s)
            related = value is not None and value == KEYS[kind](b, block_s)
        if related:
            pairs += 1
            images |= {a.id, b.id}
            by_parts["/".join(sorted((p, q), key=PARTS.index))] += 1
    return pairs, len(images), by_parts


class TestLeakage:
    def test_counts_are_those_of_comparing_all_with_all(self) -> None:
        chance = random.Random(4)
        samples = [
            replace(
                s, perceptual_hash=s.perceptual_hash and s.perceptual_hash ^ (chance.getrandbits(6) << 20)
            )
            for s in plant(400)
        ]
        parts = [chance.choice(PARTS) for _ in samples]
        report = leakage(samples, parts, 6, 1200)
        assert report.verdict == "leaks"
        for leak in report.leaks:
            assert (leak.pairs, leak.images, leak.by_parts) == brute(samples, parts, leak.kind, 1200), (
                leak.kind
            )
            assert leak.pairs > 0, "the test would say nothing"
            for example in leak.examples:
                assert example.parts[0] != example.parts[1]
        unknown = {leak.kind: leak.unknown for leak in report.leaks}
        assert unknown[NEIGHBOUR] == sum(s.perceptual_hash is None for s in samples)

    def test_the_worst_examples_are_those_of_the_holdout_and_the_nearest(self) -> None:
        samples = [
            sample(n, perceptual_hash=bits) for n, bits in enumerate((0, 1, 3, 1 << 40, (1 << 40) + 7))
        ]
        parts = ["train", "holdout", "validation", "train", "validation"]
        neighbours = next(leak for leak in leakage(samples, parts, 6, 60).leaks if leak.kind == NEIGHBOUR)
        first, *others = neighbours.examples
        assert (first.left, first.right, first.parts, first.distance) == (
            "0000",
            "0001",
            ("train", "holdout"),
            1,
        )
        assert [e.distance for e in others if "holdout" not in e.parts] == sorted(
            e.distance for e in others if "holdout" not in e.parts
        )

    def test_verdicts(self) -> None:
        pair = [sample(1, perceptual_hash=0, batch="b"), sample(2, perceptual_hash=2**63 - 1, batch="b")]
        assert leakage(pair, ["train", "train"], 6, 60).verdict == "clean"
        assert leakage(pair, ["train", "holdout"], 6, 60).verdict == "related"
        same = [replace(each, content="same") for each in pair]
        assert leakage(same, ["train", "holdout"], 6, 60).verdict == "leaks"
        blind = [replace(each, perceptual_hash=None) for each in pair]
        assert leakage(blind, ["train", "train"], 6, 60).verdict == "unproven"


class TestSegments:
    def test_the_holdout_comes_first_then_what_a_person_says_then_the_classes(self) -> None:
        samples = [sample(n, defect=False) for n in range(3)]
        samples += [sample(10 + n, defect=True) for n in range(12)]
        samples += [sample(50, classes=("pore",), is_defect=True)]
        groups, parts = [s.id for s in samples], ["holdout", *["train"] * (len(samples) - 1)]
        marks = {"0000": Mark("normal"), "0001": Mark("edge-case", "lighting")}
        found = segments(samples, groups, parts, marks)
        assert found[:3] == ["holdout", "edge-case", "normal"]
        assert set(found[3:15]) == {"known-defect"}
        assert found[15] == "rare-defect"

    def test_what_is_too_thin_says_what_may_still_be_wrong(self) -> None:
        samples = [sample(n, defect=True, part=f"p{n // 2}") for n in range(40)]
        groups = [f"p{n // 2}" for n in range(40)]
        found = segments(samples, groups, ["train"] * 40, {})
        by_name = {covered.segment: covered for covered in coverage(samples, groups, found, {})}
        known = by_name["known-defect"]
        assert (known.images, known.groups, known.by_name) == (40, 20, {"crack": 20})
        assert [w.about for w in known.warnings] == ["known-defect/crack"]
        assert "15%" in known.warnings[0].text
        assert [w.about for w in by_name["normal"].warnings] == ["normal"]
        assert len(by_name["edge-case"].warnings) == 5
        assert by_name["rare-defect"].warnings == []

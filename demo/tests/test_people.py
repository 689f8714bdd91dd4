"""Reviewers are people: mostly right, sometimes wrong, and of two minds where the experts were."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from andon_demo.parts import Part
from andon_demo.people import REVIEWERS, adjudicate, judge
from andon_demo.rehearsal import unseen_parts
from andon_demo.scenario import Play


def _part(number: int, doubt: float) -> Part:
    label = "crack" if doubt >= 0.5 else "normal"
    return Part(f"{number}.png", Path(f"{number}.png"), label, doubt, "poly", "cell", number)


def _disputes(doubt: float) -> float:
    first, second = REVIEWERS[:2]
    pairs = [
        (judge(first, p, None, ["crack"], 1), judge(second, p, None, ["crack"], 1))
        for p in (_part(n, doubt) for n in range(800))
    ]
    return sum(a.verdict != b.verdict for a, b in pairs) / len(pairs)


def test_doubtful_parts_are_disputed_and_clear_ones_hardly_ever() -> None:
    assert _disputes(1 / 3) > 0.3
    assert _disputes(2 / 3) > 0.3
    assert _disputes(0.0) < 0.08
    assert _disputes(1.0) < 0.08


def test_a_new_variant_is_judged_differently_until_the_guide_covers_it() -> None:
    first, second = REVIEWERS[:2]
    parts = [_part(n, 0.0) for n in range(400)]
    play = Play.NEW_VARIANT
    apart = sum(
        judge(first, p, play, ["crack"], 1).verdict != judge(second, p, play, ["crack"], 1).verdict
        for p in parts
    )
    assert apart / len(parts) > 0.25


def test_a_person_asked_again_says_the_same() -> None:
    for part in unseen_parts(60):
        assert judge(REVIEWERS[0], part, None, ["crack"], 1) == judge(REVIEWERS[0], part, None, ["crack"], 1)


def test_spoiled_images_are_mostly_called_unusable() -> None:
    verdicts = Counter(
        judge(REVIEWERS[0], _part(n, 0.0), Play.BLURRED, ["crack"], 1).verdict for n in range(300)
    )
    assert verdicts["unusable"] > 200


def test_a_defect_names_its_class_and_nothing_else_does() -> None:
    for part in unseen_parts(200):
        answer = judge(REVIEWERS[2], part, None, ["crack", "dent"], 1)
        assert (answer.class_name is not None) == (answer.verdict == "defect")


def test_the_qa_owner_follows_the_experts() -> None:
    assert adjudicate(_part(1, 2 / 3), None, ["crack"]).verdict == "defect"
    assert adjudicate(_part(1, 1 / 3), None, ["crack"]).verdict == "good"
    assert adjudicate(_part(1, 1.0), Play.CROPPED, ["crack"]).verdict == "unusable"

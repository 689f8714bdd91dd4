"""The people of the demo plant: how reviewers judge what they see. Pure and seeded.

They answer from the experts' labels, with a person's errors: they slip now and then, some are stricter than
others, and where the experts themselves doubted (1/3, 2/3) they disagree.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from andon_demo.parts import GOOD, Part
from andon_demo.scenario import Play


@dataclass(frozen=True, slots=True)
class Reviewer:
    """One person.

    Attributes:
        strictness: Added to the experts' doubt; positive calls more parts defective.
        slip: Probability of a plain mistake where nothing is in doubt.
    """

    name: str
    strictness: float
    slip: float


REVIEWERS = (
    Reviewer("r.alvarez", 0.10, 0.02),
    Reviewer("s.dubois", -0.10, 0.02),
    Reviewer("t.nakamura", 0.0, 0.01),
)
QA_OWNER, ENGINEER, MLOPS = "q.weiss", "e.berg", "m.ricci"

UNFAMILIAR_SLIP = 0.3
"""A new variant is not in the guide yet: people judge it differently."""

_UNUSABLE = {Play.BLURRED: 0.8, Play.CROPPED: 0.7, Play.OVER_EXPOSED: 0.6, Play.UNDER_EXPOSED: 0.6}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person says about an image: `verdict` is good, defect or unusable."""

    verdict: str
    class_name: str | None
    note: str | None = None


def judge(reviewer: Reviewer, part: Part, play: Play | None, classes: Sequence[str], seed: int) -> Answer:
    """What this person says about this part; asked again, the same. `classes` are the defect classes they
    know.
    """
    rng = random.Random(f"{seed}/{reviewer.name}/{part.name}/{play}")
    if play in _UNUSABLE and rng.random() < _UNUSABLE[play]:
        return Answer("unusable", None, f"{play}: nothing can be said about the part")
    slip = UNFAMILIAR_SLIP if play is Play.NEW_VARIANT else reviewer.slip
    if part.doubt in (0.0, 1.0):
        sees_defect = part.is_defect != (rng.random() < slip)
    else:
        sees_defect = rng.random() < part.doubt + reviewer.strictness
    if not sees_defect:
        return Answer("good", None)
    return Answer("defect", _class_seen(part, classes, rng), "not sure" if 0 < part.doubt < 1 else None)


def adjudicate(part: Part, play: Play | None, classes: Sequence[str]) -> Answer:
    """The QA owner's word on a dispute: what the experts found likelier."""
    if play in (Play.BLURRED, Play.CROPPED):
        return Answer("unusable", None, f"{play}: take the picture again")
    if part.is_defect:
        return Answer(
            "defect", part.label if part.label != GOOD else classes[0], "adjudicated by the experts' label"
        )
    return Answer("good", None, "adjudicated by the experts' label")


def _class_seen(part: Part, classes: Sequence[str], rng: random.Random) -> str:
    if part.label == GOOD or rng.random() < 0.04:
        return rng.choice(list(classes))
    return part.label

"""The fourth and fifth readiness question: are splits protected, and is launch evidence defined?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dataset_registry.domain.readiness import Answer, Evidence, Missing, Reading, count, portion, share
from dataset_registry.domain.segments import KNOWN, LEAST, RARE_BELOW

FIGURES: Final = ("precision", "recall", "false_reject_rate", "false_escape_rate", "review_share")
"""What a release has to have been measured by before it is launched."""


@dataclass(frozen=True, slots=True)
class Splits:
    """How the version is divided.

    Attributes:
        parts: Images by part; empty where it is not divided.
        leakage: clean, unproven, related or leaks; None where it is not divided.
        advice: Of the leakage report.
        alike: Images that look like another one of the version, as under another exposure.
        unseen: Images without a perceptual hash.
        independent: Groups that share no part and no look, by class.
        defects: Classes that are defects.
        warnings: Of the split, code and text.
        holdout: Images in it.
        readings: How often it was opened.
    """

    images: int
    parts: Mapping[str, int]
    leakage: str | None
    advice: str
    alike: int
    unseen: int
    independent: Mapping[str, int]
    defects: frozenset[str]
    warnings: Sequence[tuple[str, str]]
    holdout: int
    readings: int


def splits(known: Splits, hash_: str) -> Answer:
    """Are splits protected?"""
    figures = [
        *(count(f"in {part}", number) for part, number in sorted(known.parts.items())),
        portion("look like another image of the version", known.alike, known.images),
        count("without a perceptual hash", known.unseen),
        *(
            count(f"independent of class {name}", number, "groups")
            for name, number in sorted(known.independent.items())
        ),
        count("readings of the holdout", known.readings, "readings"),
    ]

    def missing() -> Iterator[Missing]:
        if known.leakage is None:
            yield Missing(
                "not-divided", "It is not divided.", "Cut a version with a split that has a holdout."
            )
            if known.alike:
                yield Missing(
                    "shown-several-times",
                    f"{known.alike} of {known.images} images look like another one, as one part under several"
                    " exposures does: a split that does not keep them together leaks.",
                    "Cut it with the key `neighbour`.",
                )
        elif known.leakage == "leaks":
            yield Missing("leaks", known.advice, "Cut it again with the keys that leak.")
        elif known.leakage != "clean":
            yield Missing(f"leakage-{known.leakage}", known.advice, "See the leakage report.", shown=False)
        if known.leakage is not None and not known.holdout:
            yield Missing("no-holdout", "No image is kept back.", "Give the part `holdout` a share.")
        for code, text in known.warnings:
            yield Missing(code, text, "Gather more, or divide it by other keys.", shown=False)
        for name, number in sorted(known.independent.items()):
            if name in known.defects and number < (least := LEAST[KNOWN]):
                yield Missing(
                    "class-rare" if number < RARE_BELOW else "class-thin",
                    f"{name}: {number} independent groups, {least} are wanted; with no error seen,"
                    f" {min(1.0, 3 / number):.0%} may still be missed.",
                    "Gather more parts with it; more pictures of the same part do not count.",
                )

    at = f"/v1/datasets/snapshots/{hash_}"
    evidence = [Evidence("The version", at)]
    if known.parts:
        evidence.append(Evidence("Leakage", f"{at}/leakage"))
    if known.holdout:
        evidence.append(Evidence("Readings of the holdout", f"{at}/holdout/readings"))
    return Answer(
        "splits-protected", "Are splits protected?", tuple(figures), tuple(evidence), tuple(missing())
    )


@dataclass(frozen=True, slots=True)
class Launch:
    """What a release was measured by.

    Attributes:
        releases: Learned from this version: their figures by name.
        evaluated: Of these, those for which the holdout was opened for a release evaluation.
        batches, accepted: Evaluation batches of the registry, and those on which one of them was accepted.
        decided: Captures that one of them decided.
        overridden: Of these, decided otherwise later.
        latency_ms: 95th percentile of these decisions; None where there is none.
    """

    releases: Mapping[str, Mapping[str, float]]
    evaluated: Sequence[str]
    batches: int
    accepted: int
    decided: int
    overridden: int
    latency_ms: float | None


def launch(known: Launch) -> Answer:
    """Is launch evidence defined?"""
    figures = [
        count("releases that learned from it", len(known.releases), "releases"),
        *(
            Reading(f"{name.replace('_', ' ')} of {release}", measured[name], "share")
            for release, measured in sorted(known.releases.items())
            for name in FIGURES
            if name in measured
        ),
        count("releases evaluated on its holdout", len(known.evaluated), "releases"),
        count("evaluation batches", known.batches, "batches"),
        count("of these, with one of its releases accepted", known.accepted, "batches"),
        count("captures that its releases decided", known.decided, "captures"),
        share("of these, decided otherwise later", known.overridden, known.decided),
        Reading("95 % of its decisions take at most", known.latency_ms, "ms", of=known.decided),
    ]

    def missing() -> Iterator[Missing]:
        if not known.releases:
            yield Missing(
                "no-release", "No release has learned from it.", "Train one on this version.", shown=False
            )
        for release, measured in sorted(known.releases.items()):
            if silent := [name.replace("_", " ") for name in FIGURES if name not in measured]:
                yield Missing(
                    "figures-missing",
                    f"{release} does not say its {', '.join(silent)}.",
                    "Evaluate it again.",
                )
            if release not in known.evaluated:
                yield Missing(
                    "not-evaluated",
                    f"{release} was not evaluated on the holdout.",
                    "Open the holdout for `release-evaluation`.",
                )
        if not known.batches:
            yield Missing(
                "no-evaluation-batch",
                "There is no evaluation batch: nothing new - a variant, a camera, a light - has been tried.",
                "POST /v1/evaluation-batches for each that the line will see.",
                shown=False,
            )
        elif known.releases and not known.accepted:
            yield Missing(
                "nothing-accepted", "No evaluation batch has accepted one of its releases.", "Decide them."
            )
        if not known.decided:
            yield Missing(
                "no-decisions",
                "None of its releases has decided on the line: latency, review burden and overrides are not known.",
                "Let one watch as a shadow.",
                shown=False,
            )

    return Answer(
        "launch-evidence",
        "Is launch evidence defined?",
        tuple(figures),
        (
            *(Evidence(f"Release {name}", f"/v1/releases/{name}") for name in sorted(known.releases)),
            Evidence("Evaluation batches", "/v1/evaluation-batches"),
        ),
        tuple(missing()),
    )

"""The second and third readiness question: are labels operational, and are reviewers aligned?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dataset_registry.domain.agreement_answers import Agreement
from dataset_registry.domain.readiness import (
    Answer,
    Evidence,
    Missing,
    Reading,
    count,
    estimate,
    portion,
    share,
)
from dataset_registry.domain.taxonomy_document import GOLD, HARD_NEGATIVE, ClassEntry, Document

ALIKE: Final = 0.667
"""Krippendorff's alpha below which no conclusion should be drawn (Krippendorff 2004)."""
LEAST_SECOND: Final = 0.1
"""Share of the labels that another person than their author has to have approved."""
LEAST_SHARED: Final = 30
"""Images of a shared sample: where so many show no disagreement, one in ten is still possible (95 %)."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What the labels mean and where they come from.

    Attributes:
        version: Of the taxonomy in force; None where there is none.
        used: Images by class.
        versions: Labels by the taxonomy version under which they were made.
        origins: Labels by origin: person, review, import, model.
        proposed: Images with a mark that a model proposed and a person confirmed.
        settled, ambiguous: Images of the whole registry with a last word, and those whose word is `ambiguous`.
    """

    version: str | None
    document: Document
    used: Mapping[str, int]
    versions: Mapping[str | None, int]
    origins: Mapping[str, int]
    proposed: int
    settled: int
    ambiguous: int


def labels(known: Labels) -> Answer:
    """Are defect labels operational?"""
    entries = known.document.by_name()
    defects = [entry for entry in known.document.classes if entry.is_defect]
    total = sum(known.used.values())
    strange = {name: number for name, number in known.used.items() if name not in entries}

    def filled(name: str, has: Sequence[bool]) -> Reading:
        return Reading(name, float(sum(has)), f"of {len(has)} defect classes")

    figures = [
        filled("with a definition", [bool(e.definition.strip()) for e in defects]),
        filled("with a boundary rule", [bool(e.boundary_rule.strip()) for e in defects]),
        filled("with acceptable variation", [bool(e.acceptable_variation.strip()) for e in defects]),
        *(
            filled(f"with a {kind} example", [any(x.kind == kind for x in e.examples) for e in defects])
            for kind in (GOLD, HARD_NEGATIVE)
        ),
        *(
            count(f"labels from {origin}", number, "labels")
            for origin, number in sorted(known.origins.items())
        ),
        count("with a mark that a model proposed and a person confirmed", known.proposed),
        share("images of the registry whose last word is ambiguous", known.ambiguous, known.settled),
    ]

    def missing() -> Iterator[Missing]:
        if known.version is None:
            yield Missing("no-taxonomy", "No taxonomy is in force.", "Publish one: POST /v1/taxonomy-drafts.")
            return
        for code, names in _open(defects).items():
            yield Missing(
                f"{code}-missing",
                f"No {code.replace('-', ' ')}: {', '.join(names)}.",
                "Draft the next taxonomy version with it; a QA owner publishes it.",
            )
        for name, number in sorted(strange.items()):
            yield Missing(
                "class-unknown",
                f"{number} images are {name}, which is no class of taxonomy {known.version}.",
                "Relabel them, or add the class.",
            )
        if old := sum(number for version, number in known.versions.items() if version != known.version):
            yield Missing(
                "older-taxonomy",
                f"{old} of {total} labels were made under another taxonomy version than {known.version}.",
                f"POST /v1/taxonomies/{known.version}/relabel queues what its publication put in question.",
                shown=False,
            )

    version = known.version or "in-force"
    return Answer(
        "labels-operational",
        "Are defect labels operational?",
        tuple(figures),
        (
            Evidence(f"Taxonomy {version}", f"/v1/taxonomies/{version}"),
            Evidence("Ambiguous images", "/v1/ambiguous"),
        ),
        tuple(missing()),
    )


def _open(defects: Sequence[ClassEntry]) -> dict[str, list[str]]:
    """Names of the defect classes that lack something, by what they lack."""
    found: dict[str, list[str]] = {}
    for entry in defects:
        kinds = {example.kind for example in entry.examples}
        has = {
            "definition": entry.definition.strip(),
            "severity": entry.severity,
            "region-rule": entry.region_rule,
            "boundary-rule": entry.boundary_rule.strip(),
            "acceptable-variation": entry.acceptable_variation.strip(),
            "ambiguous-rule": entry.ambiguous_rule.strip(),
            "escalation-path": entry.escalation_path.strip(),
            "gold-example": GOLD in kinds,
            "hard-negative": HARD_NEGATIVE in kinds,
        }
        for name, said in has.items():
            if not said:
                found.setdefault(name, []).append(entry.name)
    return found


@dataclass(frozen=True, slots=True)
class Reviews:
    """Who looked at the labels.

    Attributes:
        agreement: Over the blind answers about images of the version.
        labels: Labels of the version.
        second: Of these, approved by another person than their author.
        own: Approved by their author.
    """

    agreement: Agreement
    labels: int
    second: int
    own: int


def reviewers(known: Reviews) -> Answer:
    """Are reviewers aligned?"""
    found = known.agreement
    figures = [
        count("images that several people judged blind", found.images),
        count("people", len(found.people), "people"),
        estimate("same answer", found.percent, "share"),
        estimate("Krippendorff's alpha", found.alpha, "alpha"),
        estimate("Fleiss' kappa", found.fleiss, "kappa"),
        *([estimate("overlap of marks", found.regions.overlap, "IoU")] if found.regions else []),
        portion("labels that a second person approved", known.second, known.labels),
        count("labels approved by their author", known.own, "labels"),
    ]

    def missing() -> Iterator[Missing]:
        if not known.second:
            yield Missing(
                "no-second-reviewer",
                f"No second person has looked at any of the {known.labels} labels.",
                "Put the images into a batch that is reviewed in full, or by a sampling plan.",
            )
        elif known.second < LEAST_SECOND * known.labels:
            yield Missing(
                "few-second-looks",
                f"A second person has looked at {known.second} of {known.labels} labels; at least {LEAST_SECOND:.0%}"
                " are wanted.",
                "Let a sampling plan draw more of them.",
                shown=False,
            )
        if known.own:
            yield Missing(
                "own-review", f"{known.own} labels were approved by their author.", "Review them anew."
            )
        low, high = found.alpha.low, found.alpha.high
        if not found.images:
            yield Missing(
                "no-shared-sample",
                "No image of it was judged by two people blind: nobody knows whether they mean the same.",
                "Open a consensus batch over a sample with every class in it.",
                shown=False,
            )
        elif low is None or high is None:
            yield Missing(
                "agreement-undefined",
                "The shared sample is too small, or holds one class only: agreement beyond chance is undefined.",
                "Let it hold every class, and more images.",
                shown=False,
            )
        elif found.images < LEAST_SHARED:
            yield Missing(
                "shared-sample-small",
                f"{found.images} images were judged by several people, at least {LEAST_SHARED} are wanted.",
                "Enlarge the shared sample.",
                shown=False,
            )
        elif low < ALIKE:
            yield Missing(
                "agreement-low" if high < ALIKE else "agreement-uncertain",
                f"Alpha is {low:.2f} to {high:.2f}; {ALIKE} is the least that conclusions can rest on.",
                "Read the disagreements by class, sharpen the taxonomy there, and measure again."
                if high < ALIKE
                else "Enlarge the shared sample until its interval lies above.",
                shown=high < ALIKE,
            )

    return Answer(
        "reviewers-aligned",
        "Are reviewers aligned?",
        tuple(figures),
        (Evidence("Agreement by class", "/v1/agreement?by=class"), Evidence("Batches", "/v1/batches")),
        tuple(missing()),
    )

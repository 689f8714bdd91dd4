"""The readiness package of a dataset version, gathered anew from what is on record each time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dataset_registry.domain import readiness_capture, readiness_labels, readiness_launch
from dataset_registry.domain.agreement_answers import agreed
from dataset_registry.domain.dataset_items import sample
from dataset_registry.domain.readiness import Answer
from dataset_registry.domain.samples import HOLDOUT, NEIGHBOUR, Sample, grouped
from dataset_registry.domain.sampling_plans import ReviewPlan
from dataset_registry.domain.taxonomy_document import document_of
from dataset_registry.handlers.datasets import completed
from dataset_registry.ports import Row
from dataset_registry.ports_datasets import Answers, Datasets
from dataset_registry.ports_readiness import ReadinessFigures
from dataset_registry.ports_taxonomy import Taxonomies

_LOOK = 6
"""Bits in which the hashes of one look may differ, as in a split."""
_UNUSED_BLOCK_S = 3600.0
Items = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Sources:
    """Where figures come from."""

    figures: ReadinessFigures
    datasets: Datasets
    answers: Answers
    taxonomies: Taxonomies


def package(version: Row, items: Mapping[str, Mapping[str, Any]], sources: Sources) -> list[Answer]:
    """The five answers, in the order of the questions.

    Args:
        version: The version with its division.
        items: All of its items by id, the holdout's among them: they are counted, never shown.
    """
    described = sources.datasets.described(list(items))
    known = [completed(item, described.get(id_)) for id_, item in sorted(items.items())]
    origins = sources.figures.provenance([item["label_id"] for item in known])
    return [
        readiness_capture.capture(_capture(known, sources.figures)),
        readiness_labels.labels(_labels(known, origins, sources)),
        readiness_labels.reviewers(_reviews(known, origins, sources.answers)),
        readiness_launch.splits(_splits(version, known), version["hash"]),
        readiness_launch.launch(_launch(version["hash"], sources.figures)),
    ]


def _capture(known: Items, figures: ReadinessFigures) -> readiness_capture.Capture:
    contexts = [item["context"] for item in known]
    places = Counter((c["line"], c["station"]) for c in contexts if c.get("line") and c.get("station"))
    captured = figures.captured([item["capture_id"] for item in known])
    return readiness_capture.Capture(
        len(known),
        {name: sum(not context.get(name) for context in contexts) for name in readiness_capture.CONTEXT},
        [
            readiness_capture.Station(
                row["line"],
                row["station"],
                places[row["line"], row["station"]],
                row["document"],
                row["locked"],
            )
            for row in figures.stations(list(places))
        ],
        captured["captures"],
        captured["deviating"],
    )


def _labels(known: Items, origins: Sequence[Row], sources: Sources) -> readiness_labels.Labels:
    taxonomy = sources.taxonomies.taxonomy_in_force()
    words = sources.figures.last_words()
    by_origin = Counter[str]()
    for row in origins:
        by_origin[row["origin"] or "unknown"] += row["labels"]
    return readiness_labels.Labels(
        taxonomy["version"] if taxonomy else None,
        document_of(taxonomy["document"] if taxonomy else {}),
        Counter(item["class_name"] for item in known),
        Counter(item["taxonomy_version"] for item in known),
        by_origin,
        sum(any(shape["origin"] == "model" for shape in item.get("shapes", ())) for item in known),
        words["settled"],
        words["ambiguous"],
    )


def _reviews(known: Items, origins: Sequence[Row], answers: Answers) -> readiness_labels.Reviews:
    ids = {item["capture_id"] for item in known}
    judged = [
        image
        for image in answers.review_answers() + answers.annotation_answers(None)
        if image.image_id in ids
    ]
    # An order of rows that the database is free to choose must not show in a figure.
    judged.sort(key=lambda image: (image.image_id, [(said.person, said.at) for said in image.answers]))
    return readiness_labels.Reviews(
        agreed(judged, None, answers.severities()),
        len(known),
        sum(row["labels"] for row in origins if _second(row)),
        sum(row["labels"] for row in origins if row["origin"] == "person" and row["author"] == row["by"]),
    )


def _second(row: Row) -> bool:
    """Whether another person than the author approved it: neither a sampling plan nor who imported it."""
    if row["origin"] == "review":
        return bool(row["answers"] > 1)
    passed_over = row["review"] is not None and row["by"] == ReviewPlan.of(row["review"]).title
    return row["origin"] == "person" and row["author"] != row["by"] and not passed_over


def _splits(version: Row, known: Items) -> readiness_launch.Splits:
    samples = [sample(item) for item in known]
    looks = Counter(grouped(samples, (NEIGHBOUR,), _LOOK, _UNUSED_BLOCK_S).tolist())
    leakage, holdout = version["leakage"], version["holdout"]
    return readiness_launch.Splits(
        len(known),
        version["parts"],
        leakage["verdict"] if leakage else None,
        leakage["advice"] if leakage else "",
        sum(size for size in looks.values() if size > 1),
        sum(one.perceptual_hash is None for one in samples),
        _independent(samples),
        frozenset(item["class_name"] for item in known if item["is_defect"]),
        sorted((warned["code"], warned["text"]) for warned in version["warnings"]),
        version["parts"].get(HOLDOUT, 0),
        holdout["readings"] if holdout else 0,
    )


def _independent(samples: Sequence[Sample]) -> dict[str, int]:
    found: dict[str, set[int]] = defaultdict(set)
    groups = grouped(samples, ("part", NEIGHBOUR), _LOOK, _UNUSED_BLOCK_S).tolist()
    for one, group in zip(samples, groups, strict=True):
        for name in one.classes:
            found[name].add(group)
    return {name: len(members) for name, members in found.items()}


def _launch(hash_: str, figures: ReadinessFigures) -> readiness_launch.Launch:
    releases = {row["release"]: row["metrics"] for row in figures.releases(hash_)}
    tried, decided = figures.batches(list(releases)), figures.decisions(list(releases))
    return readiness_launch.Launch(
        releases,
        sorted(figures.evaluated(hash_) & releases.keys()),
        tried["batches"],
        tried["accepted"],
        decided["decided"],
        decided["overridden"],
        decided["latency_ms"],
    )

"""Lists that choose how they look: the same images, whether those that fit are few or many; figures that are kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from dataset_registry.adapters import labeling_views
from dataset_registry.domain.agreement_answers import Judged, Said
from dataset_registry.handlers.agreement import MOST_KEPT, KeptFigures, figures

from .conftest import Registry
from .labeling_room import GOOD, Room, box, marked

DAY = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.mark.parametrize("few", [1, 5_000], ids=["many", "few"])
def test_images_of_a_batch_and_of_a_class_are_found_either_way(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(labeling_views, "_FEW", few)
    room = Room(registry)
    images = room.captured(4)
    batch = room.batch(images[:3], review={"plan": "fraction", "fraction": 0.0})
    room.batch(images[3:], "another")
    said = []
    for annotation in (GOOD, marked(box("crack"))):
        task = room.next("ada", batch_id=batch)
        room.said(task, "ada", annotation)
        said.append(task["image"]["image_id"])

    def found(**wanted: str) -> set[str]:
        return {row["image_id"] for row in registry.get("/v1/images", **wanted)["items"]}

    assert found(batch_id=batch) == set(images[:3])
    assert found(batch_id=batch, state="done") == set(said)
    assert found(state="to-label") == set(images) - set(said)
    assert found(class_name="good") == {said[0]}
    assert found(class_name="crack", batch_id=batch) == {said[1]}
    assert found(class_name="scratch") == set()


def judged(*words: str) -> Judged:
    """An image of which each of some people says one word."""
    answers = tuple(Said(f"person {number}", frozenset({word}), DAY) for number, word in enumerate(words))
    return Judged("image", "part", answers)


def test_figures_are_kept_until_an_answer_is_another_one() -> None:
    kept = KeptFigures()
    images = [judged("good", "good"), judged("crack", "good")]
    first = kept.of(images, "class", None, {})
    assert first == figures(images, "class", None, {})
    assert kept.of([*images], "class", None, {}) is first
    assert kept.of(images, None, None, {})["slices"] == []
    changed = [images[0], replace(images[1], answers=images[0].answers)]
    assert kept.of(changed, "class", None, {})["percent"]["value"] == 1.0 != first["percent"]["value"]
    for number in range(MOST_KEPT):
        kept.of(images, None, f"class {number}", {})
    assert kept.of(images, "class", None, {}) is not first

"""How far people agree: over the reviews and the consensus batches, or over one batch."""

from __future__ import annotations

from dataset_registry.domain.agreement_answers import Agreement, Judged, agreed, sliced
from dataset_registry.ports_datasets import Answers


def answers(store: Answers, batch_id: str | None) -> list[Judged]:
    """Every image that several people have judged without seeing each other."""
    said = store.annotation_answers(batch_id)
    return said if batch_id is not None else store.review_answers() + said


def figures(
    judged: list[Judged], by: str | None, class_name: str | None, severity: dict[str, int]
) -> tuple[Agreement, dict[str, Agreement]]:
    """Of all, and by slice where that was asked for."""
    whole = agreed(judged, class_name, severity)
    return whole, sliced(judged, by, class_name, severity) if by else {}

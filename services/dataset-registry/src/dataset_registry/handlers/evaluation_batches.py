"""Controlled evaluation batches: begun, filled, decided, asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from andon_chassis.events import deterministic_id

from dataset_registry.domain.evaluation_batches import (
    COLLECTING,
    READY,
    Accepted,
    Permission,
    may_decide,
    missing,
    refuse_decision,
)
from dataset_registry.domain.refusals import conflict, unknown
from dataset_registry.ports import Row
from dataset_registry.ports_datasets import EvaluationBatches


def make(store: EvaluationBatches, asked: Row, now: datetime) -> str:
    """Begin a batch; its id. Raises Refused when the name is taken."""
    batch_id = deterministic_id("evaluation-batch", asked["name"])
    if not store.add_evaluation_batch(asked | {"batch_id": batch_id, "created_at": now}):
        raise conflict("name-taken", f"There is a batch {asked['name']} already; give this one another name.")
    return batch_id


def read(store: EvaluationBatches, batch_id: str) -> Row:
    """A batch and how far it is. Raises Refused when it is unknown."""
    row = store.evaluation_batch(batch_id)
    if row is None:
        raise unknown("evaluation batch", batch_id, "look at GET /v1/evaluation-batches.")
    return standing(row)


def standing(row: Row) -> Row:
    """A batch with its state and what it still needs."""
    lacking = missing(row["least_images"], row["least_of_class"], row["labelled"])
    return row | {
        "labelled": dict(sorted(Counter(row["labelled"]).items())),
        "state": COLLECTING if lacking else READY,
        "missing": lacking,
    }


def add(
    store: EvaluationBatches, batch_id: str, ids: Sequence[str], known: set[str], by: str, now: datetime
) -> int:
    """Add images; how many were new in it. Raises Refused."""
    read(store, batch_id)
    for id_ in ids:
        if id_ not in known:
            raise unknown("image", id_, "look at GET /v1/images; a capture may be on its way still.")
    return store.add_evaluation_images(batch_id, ids, by, now)


def decide(store: EvaluationBatches, batch_id: str, decision: Row, now: datetime) -> None:
    """Accept or reject a release. Raises Refused when the batch is not ready."""
    refuse_decision(read(store, batch_id)["missing"])
    store.add_evaluation_decision(decision | {"batch_id": batch_id, "decided_at": now})


def permission(
    release: str,
    known: Row | None,
    version: Row | None,
    accepted: Sequence[Accepted],
    context: Mapping[str, str],
) -> Permission:
    """Whether a release may decide in a context. Raises Refused when nobody knows the release.

    Args:
        version: What it was trained on; None where that is not here, and then everything is new to it.
    """
    if known is None:
        raise unknown("release", release, "look at GET /v1/releases.")
    return may_decide(context, (version or {}).get("coverage") or {}, accepted)

"""Batches: what is to be labeled, by whom, under which taxonomy and review plan, in which order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from andon_chassis.events import deterministic_id

from dataset_registry.domain.labeling import Batch, Mode
from dataset_registry.domain.labeling_priority import priorities
from dataset_registry.domain.refusals import conflict, invalid, unknown
from dataset_registry.domain.sampling_plans import LotPlan, ReviewPlan, sample
from dataset_registry.ports import Row
from dataset_registry.ports_labeling import Batches

_BATCH_ADVICE = "look at GET /v1/batches."


def open_batch(store: Batches, asked: Row, now: datetime) -> str:
    """Begin a batch; gives its id. Raises Refused.

    Args:
        asked: name, mode, answers_wanted, people, review, taxonomy_version (None is the one in force), purpose,
            created_by.
    """
    mode, wanted = Mode(asked["mode"]), asked["answers_wanted"]
    people = list(dict.fromkeys(asked["people"]))
    if mode is Mode.CONSENSUS and wanted < 2:
        raise invalid("answers-too-few", "Agreement needs two answers at least; ask for 2, or choose single.")
    if mode is Mode.SINGLE and wanted != 1:
        raise invalid("answers-too-many", "A single batch takes one answer of each image; choose consensus.")
    if people and wanted > len(people):
        raise invalid("people-too-few", f"{wanted} blind answers need {wanted} people; name more, or nobody.")
    ReviewPlan.of(asked["review"])
    guide = store.guide(asked["taxonomy_version"])
    if guide is None:
        raise unknown("taxonomy", asked["taxonomy_version"], "look at GET /v1/taxonomies.")
    batch_id = deterministic_id("batch", asked["name"])
    row = asked | {
        "batch_id": batch_id,
        "people": people,
        "taxonomy_version": guide.version,
        "created_at": now,
    }
    if not store.add_batch(row):
        raise conflict(
            "batch-name-taken", f"There is a batch {asked['name']} already; give this one another name."
        )
    return batch_id


def add_images(
    store: Batches, batch_id: str, image_ids: Sequence[str], by: str, now: datetime
) -> tuple[int, int]:
    """Put images, or captures, into a batch as one lot; how many were new, how many were there. Raises Refused when one
    of them is unknown."""
    batch = store.lock_batch(batch_id)
    if batch is None:
        raise unknown("batch", batch_id, _BATCH_ADVICE)
    if batch.closed:
        raise conflict("batch-closed", "This batch is closed; open another one.")
    wanted = list(dict.fromkeys(image_ids))
    store.take_captures(sorted(set(wanted) - store.images_known(wanted)), by, now)
    missing = sorted(set(wanted) - store.images_known(wanted))
    if missing:
        raise unknown(
            "image", missing[0], f"nor are {len(missing) - 1} more of them; it may also be on its way still."
        )
    there = store.tasks_known(batch_id, wanted)
    new = [image_id for image_id in wanted if image_id not in there]
    if new:
        store.add_tasks(_tasks(store, batch, new, now))
    return len(new), len(wanted) - len(new)


def close_batch(store: Batches, batch_id: str, now: datetime) -> None:
    """Give out no more of a batch's images to label; what is to be reviewed, or put right, still is. Raises Refused."""
    if store.lock_batch(batch_id) is None:
        raise unknown("batch", batch_id, _BATCH_ADVICE)
    store.close_batch(batch_id, now)


def _tasks(store: Batches, batch: Batch, image_ids: Sequence[str], now: datetime) -> list[Row]:
    known = store.in_force(image_ids) if batch.mode is Mode.GOLD else {}
    ids = {image_id: deterministic_id("task", batch.batch_id, image_id) for image_id in image_ids}
    judged = [task_id for image_id, task_id in ids.items() if image_id not in known]
    by_lot = bool(judged) and batch.plan.by_lot and batch.mode is not Mode.CONSENSUS
    plan = batch.plan.lot(len(judged)) if by_lot else LotPlan(0, 0)
    lot = store.add_lot(batch.batch_id, len(judged), plan.sample_size, plan.accept)
    sampled = sample(judged, plan.sample_size)
    worth = priorities(store.evidence(image_ids), store.surroundings())
    return [
        {
            "task_id": task_id,
            "batch_id": batch.batch_id,
            "image_id": image_id,
            "wanted": 1 if batch.mode is Mode.GOLD and image_id not in known else batch.answers_wanted,
            "lot": lot,
            "sampled": task_id in sampled,
            "gold": known[image_id].annotation_id if image_id in known else None,
            "priority": worth[image_id].value,
            "priority_reason": worth[image_id].reason,
            "added_at": now,
            "updated_at": now,
        }
        for image_id, task_id in ids.items()
    ]

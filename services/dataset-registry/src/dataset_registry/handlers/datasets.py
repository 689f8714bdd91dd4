"""Dataset versions: an immutable manifest of labelled images, stored by its content hash; divided when asked for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from andon_chassis.objects import DATASETS, ObjectStore
from andon_chassis.objects import HOLDOUT as HOLDOUTS
from andon_events.records import ObjectRef

from dataset_registry.domain import dataset_diff
from dataset_registry.domain.annotations import Annotation, Verdict
from dataset_registry.domain.dataset_diff import Diff
from dataset_registry.domain.dataset_items import Item, hex_of, items, passes, sample, utc
from dataset_registry.domain.evaluation_batches import AXES
from dataset_registry.domain.labeling_checks import Guide
from dataset_registry.domain.leakage import Report, leakage
from dataset_registry.domain.manifests import FORMAT, FORMAT_PARTED, Manifest, manifest, parted
from dataset_registry.domain.refusals import conflict, invalid, unknown
from dataset_registry.domain.samples import HOLDOUT, PARTS, TRAIN, VALIDATION
from dataset_registry.domain.segments import Mark, coverage, segments
from dataset_registry.domain.splits import Plan, Warned, refuse_synthetic, split
from dataset_registry.ports import Row
from dataset_registry.ports_datasets import Datasets

MEDIA_TYPE = "application/json"
_EMPTY = "No label passes this filter; widen it, or approve labels first."


@dataclass(frozen=True, slots=True)
class Cut:
    """A version that is stored, and not yet known.

    Attributes:
        division: Format, plan, parts, segments, warnings, leakage and coverage.
        learnable: Ids of the images that a model may learn from, or be tuned on.
        held: Ids of the images in the holdout.
    """

    made: Manifest
    ref: ObjectRef
    division: Row
    learnable: tuple[str, ...]
    held: tuple[str, ...] = ()
    holdout: Manifest | None = None
    holdout_ref: ObjectRef | None = None


def build(labels: Sequence[Row], objects: ObjectStore) -> Cut:
    """A version of labels of image class. Nothing points at it before `register`. Raises Refused or Unavailable."""
    if not labels:
        raise invalid("empty-dataset", _EMPTY)
    made = manifest(labels)
    division = _division(FORMAT) | {"coverage": _learned(labels)}
    ids = tuple(str(label["capture_id"]) for label in labels)
    return Cut(made, objects.put(DATASETS, made.content, MEDIA_TYPE), division, ids)


def chosen(rows: Sequence[Row], guides: Mapping[str | None, Guide], wanted: Row) -> list[Item]:
    """The items of a version that is more than labels of image class. Raises Refused where there is none."""

    def image_class(version: str | None, classes: set[str]) -> tuple[str, bool]:
        name = guides[version].image_class(Annotation(Verdict.LABELED, tuple(classes)))
        return name, name != guides[version].good_class

    found = [item for item in items(rows, image_class) if passes(item, wanted)]
    if not found:
        raise invalid("empty-dataset", _EMPTY)
    return found


def build_parted(
    found: Sequence[Item],
    marks: Mapping[str, Mark],
    plan: Plan | None,
    kept: Mapping[str, str],
    objects: ObjectStore,
) -> Cut:
    """A version with shapes, and divided where there is a plan; its holdout is an object elsewhere.

    Args:
        kept: Parts of an earlier version, by id, that images stay in. What people marked as holdout is there anyway.

    Raises Refused or Unavailable.
    """
    held = {id_: HOLDOUT for id_, mark in marks.items() if mark.segment == HOLDOUT}
    fixed = dict(kept) | held
    samples = [sample(item, fixed.get(item["capture_id"])) for item in found]
    division = _division(FORMAT_PARTED)
    parts: list[str | None]
    if plan is None:
        parts, groups = [s.kept for s in samples], [s.part or s.id for s in samples]
        refuse_synthetic(zip(samples, parts, strict=True))
    else:
        divided = split(samples, plan)
        parts, groups = list(divided.parts), divided.groups
        report = leakage(samples, divided.parts, plan.distance, plan.block_s)
        division |= {
            "plan": asdict(plan),
            "warnings": [asdict(warned) for warned in divided.warnings],
            "leakage": _summary(report),
        }
    names = segments(samples, groups, parts, marks)
    entries = [
        item | {"split": part, "group": group if plan else None, "segment": name}
        for item, part, group, name in zip(found, parts, groups, names, strict=True)
    ]
    made, holdout = parted(entries, division["plan"])
    division |= {
        "parts": dict(Counter(part for part in parts if part)),
        "segments": [asdict(covered) for covered in coverage(samples, groups, names, marks)],
        "coverage": _learned(entries),
    }
    return Cut(
        made,
        objects.put(DATASETS, made.content, MEDIA_TYPE),
        division,
        tuple(item["capture_id"] for item in entries if item["split"] in (None, TRAIN, VALIDATION)),
        tuple(item["capture_id"] for item in entries if item["split"] == HOLDOUT),
        holdout,
        objects.put(HOLDOUTS, holdout.content, MEDIA_TYPE) if holdout else None,
    )


def register(store: Datasets, cut: Cut, wanted: Row, purpose: str, by: str, now: datetime) -> bool:
    """Make the version known; False when it was."""
    new = store.add_snapshot(
        {
            "hash": cut.made.hash,
            "purpose": purpose,
            "filter": wanted,
            "manifest": cut.ref.to_avro(),
            "items": cut.made.items,
            "classes": cut.made.classes,
            "created_by": by,
            "created_at": now,
        }
    )
    if new:
        warnings = [*cut.division["warnings"], *map(asdict, _spoiled(store.holdouts_with(cut.learnable)))]
        store.add_division({"hash": cut.made.hash, **cut.division, "warnings": warnings})
    if new and cut.holdout and cut.holdout_ref:
        store.add_holdout(
            {
                "hash": cut.made.hash,
                "manifest": cut.holdout_ref.to_avro(),
                "items": cut.holdout.items,
                "classes": cut.holdout.classes,
            },
            cut.held,
        )
    return new


def _spoiled(holdouts: Mapping[str, int]) -> list[Warned]:
    """What learns from a version with images of another one's holdout proves nothing there."""
    return [
        Warned(
            "held-elsewhere",
            hash_,
            f"{count} images to learn from are in the holdout of version {hash_[:12]}: a model of this version proves"
            " nothing on that holdout. Cut it with `keep`, so that they stay where they are.",
        )
        for hash_, count in holdouts.items()
    ]


def mark(store: Datasets, marks: Sequence[Row], by: str, now: datetime) -> None:
    """Say what images are there for. Raises Refused when one is unknown."""
    known = store.images_known([row["image_id"] for row in marks])
    for row in marks:
        if row["image_id"] not in known:
            raise unknown("image", row["image_id"], "look at GET /v1/images.")
    store.mark([row | {"marked_by": by, "marked_at": now} for row in marks])


@dataclass(frozen=True, slots=True)
class Stored:
    """Where the manifests of a version are."""

    hash: str
    manifest: ObjectRef
    holdout: ObjectRef | None


def stored(store: Datasets, hash_: str) -> Stored:
    """Where a version is. Raises Refused when it is unknown."""
    version, holdout = store.version(hash_), store.holdout(hash_)
    if version is None:
        raise unknown("dataset version", hash_, "look at GET /v1/datasets/snapshots.")
    return Stored(
        hash_,
        ObjectRef.from_avro(version["manifest"]),
        ObjectRef.from_avro(holdout["manifest"]) if holdout else None,
    )


def entries(version: Stored, objects: ObjectStore) -> dict[str, Mapping[str, Any]]:
    """All items of a version by id, the holdout's among them: never to be shown. Raises Invalid or Unavailable."""
    refs = [version.manifest, *([version.holdout] if version.holdout else [])]
    return dataset_diff.of(*(json.loads(objects.get(ref)) for ref in refs))


def differences(before: Stored, after: Stored, objects: ObjectStore) -> Diff:
    """What changed from one version to the other. Raises Invalid or Unavailable."""
    return dataset_diff.diff(entries(before, objects), entries(after, objects))


def leaks(
    version: Mapping[str, Mapping[str, Any]],
    described: Mapping[str, Row],
    parts: Mapping[str, str] | None,
    distance: int,
    block_s: float,
) -> Report:
    """The leakage of a version's own split, or of the one given by id. Raises Refused where there is none.

    Args:
        version: Items by id, of `entries`.
        described: What is known of the images, for items of the first format.
    """
    if parts is not None and (strange := sorted(parts.keys() - version.keys())):
        raise invalid(
            "not-in-version", f"{len(strange)} of these images are not in it, the first is {strange[0]}."
        )
    placed = {id_: item.get("split") for id_, item in version.items()} if parts is None else parts
    if not any(placed.values()):
        raise conflict("not-divided", "This version is not divided; send the parts that you mean by id.")
    known = [
        (sample(completed(version[id_], described.get(id_))), part)
        for id_, part in placed.items()
        if part in PARTS
    ]
    return leakage([s for s, _ in known], [part for _, part in known], distance, block_s)


def completed(item: Mapping[str, Any], known: Row | None) -> Mapping[str, Any]:
    """An item with what is known of its image, where its format does not say it."""
    if "captured_at" in item or known is None:
        return item
    bits, at = known["perceptual_hash"], known["captured_at"]
    return {
        **item,
        "perceptual_hash": None if bits is None else hex_of(bits),
        "captured_at": at and utc(at),
        "part_id": known["part_id"],
    }


def _division(format_: str) -> Row:
    return {"format": format_, "plan": None, "parts": {}, "segments": [], "warnings": [], "leakage": None}


def _summary(report: Report) -> Row:
    pairs = {leak.kind: leak.pairs for leak in report.leaks}
    return {"verdict": report.verdict, "advice": report.advice, "pairs": pairs}


def _learned(found: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Images by axis and value, of what a model may learn from."""
    contexts = [item["context"] for item in found if item.get("split") in (None, TRAIN)]
    return {axis: dict(Counter(c[axis] for c in contexts if c.get(axis))) for axis in AXES}

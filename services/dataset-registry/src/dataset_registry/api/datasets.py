"""Dataset versions: what is in them, how they are divided, what leaks, what changed, and who opened the holdout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

from andon_chassis.errors import Invalid
from andon_chassis.http import Problem as Gone
from andon_events.records import ObjectRef
from fastapi import APIRouter, Path, Query, Response

from dataset_registry.api.context import Context, Cursor, IdempotencyKey, Limit, found
from dataset_registry.api.contract import REPEATABLE
from dataset_registry.api.datasets_shapes import (
    DatasetDiff,
    Distance,
    HoldoutReading,
    LeakageReport,
    Marked,
    SegmentMarksIn,
    Snapshot,
    SnapshotIn,
    SplitToCheck,
)
from dataset_registry.api.etags import ETAG
from dataset_registry.api.shapes import Name, Page
from dataset_registry.domain.labeling_checks import Guide
from dataset_registry.domain.splits import LONGEST_BLOCK_S, Plan
from dataset_registry.handlers import datasets, holdouts
from dataset_registry.handlers.datasets import Cut
from dataset_registry.handlers.holdouts import Evaluation
from dataset_registry.ports import Row, Session

Hash = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
Block = Annotated[float, Query(ge=1, le=LONGEST_BLOCK_S, allow_inf_nan=False)]
_ADVICE = "look at GET /v1/datasets/snapshots."
_DOCUMENT = {"application/json": {"schema": {"type": "object", "additionalProperties": True}}}
_MANIFEST: dict[int | str, dict[str, Any]] = {200: {"content": _DOCUMENT, "headers": ETAG}}
_HOLDOUT: dict[int | str, dict[str, Any]] = {
    200: {
        "content": _DOCUMENT,
        "headers": {
            "Holdout-Reading": {
                "description": "How often the holdout has been read, this time included.",
                "required": True,
                "schema": {"type": "integer", "minimum": 1},
            }
        },
    }
}
_KNOWN: dict[int | str, dict[str, Any]] = {
    200: {"model": Snapshot, "description": "The same labels are a version already."}
}


def router(context: Context) -> APIRouter:
    """Routes under /v1/datasets."""
    routes = APIRouter(prefix="/v1/datasets", tags=["datasets"])

    @routes.post("/snapshots", response_model=Snapshot, status_code=201, responses=_KNOWN)
    def make_snapshot(body: SnapshotIn, key: IdempotencyKey = None) -> Response:
        """Freeze the labels that pass the filter as a dataset version; the same labels are the same version (200).

        With a split, what belongs together stays in one part, and the holdout becomes a manifest of its own."""
        wanted = body.filter.model_dump(mode="json")
        cut = _cut(body, wanted)

        def work(session: Session) -> tuple[int, dict[str, Any]]:
            now = context.clock.now()
            new = datasets.register(session.datasets, cut, wanted, body.purpose, body.created_by, now)
            return 201 if new else 200, _read(session, cut.made.hash)

        return context.command(key, "snapshot", body, Snapshot, work)

    @routes.get("/snapshots", response_model=Page[Snapshot])
    def list_snapshots(limit: Limit = 50, cursor: Cursor = None) -> dict[str, object]:
        """Dataset versions, the last first."""
        with context.sessions() as session:
            page = session.datasets.versions(limit, cursor)
        return {"items": [_with_url(row) for row in page.items], "next_cursor": page.next_cursor}

    @routes.get("/snapshots/{hash}", response_model=Snapshot)
    def read_snapshot(hash: Hash) -> dict[str, object]:
        """One dataset version."""
        with context.sessions() as session:
            return _read(session, hash)

    @routes.get("/snapshots/{hash}/manifest", response_class=Response, responses=_MANIFEST)
    def read_manifest(hash: Hash) -> Response:
        """The manifest, byte for byte: its SHA-256 is the version's name."""
        with context.sessions() as session:
            row = _read(session, hash)
        headers = {"ETag": f'"{hash}"', "Cache-Control": "private, max-age=31536000, immutable"}
        return _bytes(ObjectRef.from_avro(row["manifest"]), headers)

    @routes.get("/snapshots/{hash}/holdout", response_class=Response, responses=_HOLDOUT)
    def read_holdout(
        hash: Hash,
        by: Annotated[Name, Query()],
        release: Annotated[Name, Query(description="What is evaluated.")],
        purpose: Annotated[Name, Query(description="release-evaluation, regression-check or audit.")],
    ) -> Response:
        """The holdout's manifest, for an evaluation; written down first, and counted (header `Holdout-Reading`)."""
        holdouts.refuse(purpose)
        with context.sessions() as session:
            row = found(session.datasets.holdout(hash), "holdout of dataset version", hash, _ADVICE)
            reading = Evaluation(by, release, purpose)
            number = holdouts.write_down(session, hash, reading, context.clock.now())
        headers = {"Holdout-Reading": str(number), "Cache-Control": "no-store"}
        return _bytes(ObjectRef.from_avro(row["manifest"]), headers)

    @routes.get("/snapshots/{hash}/holdout/readings", response_model=Page[HoldoutReading])
    def list_holdout_readings(hash: Hash, limit: Limit = 50, cursor: Cursor = None) -> dict[str, object]:
        """Who was given the holdout, the last first: each reading makes its figures worth a little less."""
        with context.sessions() as session:
            _read(session, hash)
            page = session.datasets.readings(hash, limit, cursor)
        return {"items": page.items, "next_cursor": page.next_cursor}

    @routes.get("/snapshots/{hash}/leakage", response_model=LeakageReport)
    def read_leakage(
        hash: Hash, distance: Annotated[Distance, Query()] = 6, block_s: Block = 3600.0
    ) -> dict[str, object]:
        """What lies on both sides of the version's own split."""
        return _leakage(hash, None, distance, block_s)

    @routes.post("/snapshots/{hash}/leakage", response_model=LeakageReport, openapi_extra=REPEATABLE)
    def check_leakage(hash: Hash, body: SplitToCheck) -> dict[str, object]:
        """What lies on both sides of a split that somebody made elsewhere. Changes nothing."""
        parts = {str(id_): part for id_, part in body.parts.items()}
        return _leakage(hash, parts, body.distance, body.block_s)

    @routes.get("/{before}/diff/{after}", response_model=DatasetDiff)
    def diff_datasets(
        before: Hash, after: Hash, limit: Annotated[int, Query(ge=0, le=10_000)] = 1000
    ) -> dict[str, object]:
        """What changed from one version to another; each list holds its first `limit` images, `counts` has them all."""
        with context.sessions() as session:
            old, new = (datasets.stored(session.datasets, hash_) for hash_ in (before, after))
        with _gone():
            changed = asdict(datasets.differences(old, new, context.objects))
        lists = {name: changed[name] for name in ("added", "removed", "relabelled", "moved")}
        return (
            changed
            | {"before": before, "after": after, "counts": {name: len(rows) for name, rows in lists.items()}}
            | {name: rows[:limit] for name, rows in lists.items()}
        )

    @routes.post("/segment-marks", response_model=Marked, status_code=201)
    def mark_segments(body: SegmentMarksIn, key: IdempotencyKey = None) -> Response:
        """Say what images are there for; the last mark of an image counts in versions cut from now on."""
        rows = body.model_dump(mode="json")["marks"]

        def work(session: Session) -> tuple[int, dict[str, int]]:
            datasets.mark(session.datasets, rows, body.marked_by, context.clock.now())
            return 201, {"marked": len(rows)}

        return context.command(key, "mark-segments", body, Marked, work)

    def _cut(body: SnapshotIn, wanted: Row) -> Cut:
        store_kept: datasets.Stored | None = None
        with context.sessions() as session:
            if body.split is None and not body.shapes:
                labels = session.datasets.latest_labels(wanted)
                return datasets.build(labels, context.objects)
            rows = session.datasets.last_words(body.filter.approved_before)
            versions = {row["annotation_version"] for row in rows}
            guides = {version: session.labeling.guide(version) or Guide() for version in versions}
            items = datasets.chosen(rows, guides, wanted)
            marks = session.datasets.marks([item["capture_id"] for item in items])
            if body.split and body.split.keep:
                store_kept = datasets.stored(session.datasets, body.split.keep)
        kept = _parts_of(store_kept)
        plan = None
        if body.split:
            asked = body.split
            shares = {str(part): share for part, share in asked.shares.items()}
            plan = Plan(shares, tuple(asked.keys), asked.distance, asked.block_s, asked.seed)
        return datasets.build_parted(items, marks, plan, kept, context.objects)

    def _parts_of(version: datasets.Stored | None) -> Mapping[str, str]:
        if version is None:
            return {}
        with _gone():
            items = datasets.entries(version, context.objects)
        return {id_: item["split"] for id_, item in items.items() if item.get("split")}

    def _leakage(
        hash_: str, parts: Mapping[str, str] | None, distance: int, block_s: float
    ) -> dict[str, object]:
        with context.sessions() as session:
            version = datasets.stored(session.datasets, hash_)
        with _gone():
            items = datasets.entries(version, context.objects)
        with context.sessions() as session:
            described = session.datasets.described(list(items))
        report = datasets.leaks(items, described, parts, distance, block_s)
        leaks = [
            asdict(leak) | {"examples": [example._asdict() for example in leak.examples]}
            for leak in report.leaks
        ]
        return asdict(report) | {"leaks": leaks}

    def _bytes(ref: ObjectRef, headers: Mapping[str, str]) -> Response:
        with _gone():
            data = context.objects.get(ref)
        return Response(data, media_type=datasets.MEDIA_TYPE, headers=dict(headers))

    def _read(session: Session, hash_: str) -> dict[str, Any]:
        return _with_url(found(session.datasets.version(hash_), "dataset version", hash_, _ADVICE))

    return routes


@contextmanager
def _gone() -> Iterator[None]:
    """A manifest that is no longer in the object store is gone for whoever asks for it."""
    try:
        yield
    except Invalid as error:
        raise Gone(410, error.reason, error.advice) from error


def _with_url(row: Row) -> Row:
    return row | {"manifest_url": f"/v1/datasets/snapshots/{row['hash']}/manifest"}

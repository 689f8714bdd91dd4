"""Dataset versions."""

from __future__ import annotations

from typing import Annotated, Any

from andon_chassis.errors import Invalid
from andon_chassis.http import Problem as Gone
from andon_events.records import ObjectRef
from fastapi import APIRouter, Path, Response

from dataset_registry.api.context import Context, Cursor, IdempotencyKey, Limit, found
from dataset_registry.api.shapes import Page, Snapshot, SnapshotIn
from dataset_registry.handlers import datasets
from dataset_registry.ports import Row, Session

Hash = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
_ADVICE = "look at GET /v1/datasets/snapshots."


def router(context: Context) -> APIRouter:
    """Routes under /v1/datasets."""
    routes = APIRouter(prefix="/v1/datasets/snapshots", tags=["datasets"])

    @routes.post("", response_model=Snapshot, status_code=201, responses={200: {"model": Snapshot}})
    def make_snapshot(body: SnapshotIn, key: IdempotencyKey = None) -> Response:
        """Freeze the labels that pass the filter as a dataset version; the same labels are the same version
        (200)."""
        wanted = body.filter.model_dump(mode="json")
        with context.sessions() as session:
            labels = session.store.latest_labels(wanted)
        made, ref = datasets.build(labels, context.objects)

        def work(session: Session) -> tuple[int, dict[str, Any]]:
            now = context.clock.now()
            new = datasets.register(session.store, made, ref, wanted, body.purpose, body.created_by, now)
            return 201 if new else 200, _read(session, made.hash)

        return context.command(key, "snapshot", body, Snapshot, work)

    @routes.get("", response_model=Page[Snapshot])
    def list_snapshots(limit: Limit = 50, cursor: Cursor = None) -> dict[str, object]:
        """Dataset versions, the last first."""
        with context.sessions() as session:
            page = session.views.snapshots(limit, cursor)
        return {"items": [_with_url(row) for row in page.items], "next_cursor": page.next_cursor}

    @routes.get("/{hash}", response_model=Snapshot)
    def read_snapshot(hash: Hash) -> dict[str, object]:
        """One dataset version."""
        with context.sessions() as session:
            return _read(session, hash)

    @routes.get(
        "/{hash}/manifest", response_class=Response, responses={200: {"content": {"application/json": {}}}}
    )
    def read_manifest(hash: Hash) -> Response:
        """The manifest, byte for byte: its SHA-256 is the version's name."""
        with context.sessions() as session:
            row = _read(session, hash)
        try:
            data = context.objects.get(ObjectRef.from_avro(row["manifest"]))
        except Invalid as error:
            raise Gone(410, error.reason, error.advice) from error
        headers = {"ETag": f'"{hash}"', "Cache-Control": "private, max-age=31536000, immutable"}
        return Response(data, media_type=datasets.MEDIA_TYPE, headers=headers)

    def _read(session: Session, hash_: str) -> dict[str, Any]:
        return _with_url(found(session.views.snapshot(hash_), "dataset version", hash_, _ADVICE))

    return routes


def _with_url(row: Row) -> Row:
    return row | {"manifest_url": f"/v1/datasets/snapshots/{row['hash']}/manifest"}

"""What is in force: policies and releases. Publishing it here tells every service."""

from __future__ import annotations

from typing import Annotated, Any

from andon_events import records as r
from fastapi import APIRouter, Path, Response

from dataset_registry.api.context import (
    PUBLISHED,
    Context,
    Cursor,
    IdempotencyKey,
    Limit,
    found,
    publication,
)
from dataset_registry.api.documents import with_documents
from dataset_registry.api.shapes import (
    Deployed,
    Deployment,
    Name,
    Page,
    Policy,
    PolicyIn,
    PromotionIn,
    Published,
    Release,
    RollbackIn,
)
from dataset_registry.handlers import reference, releases
from dataset_registry.ports import Session

InPath = Annotated[Name, Path()]


def router(context: Context) -> APIRouter:
    """Routes under /v1/policies, /v1/releases and /v1/deployments."""
    routes = APIRouter(prefix="/v1", tags=["reference data"])
    _policies(routes, context)
    _releases(routes, context)
    return routes


def _policies(routes: APIRouter, context: Context) -> None:
    @routes.get("/policies", response_model=Page[Policy])
    def list_policies() -> dict[str, object]:
        """All policies ever published, the last first; in each scope the last one is in force."""
        with context.sessions() as session:
            return {"items": session.views.policies()}

    @routes.put("/policies/{version}", response_model=Published, responses=PUBLISHED)
    def put_policy(version: InPath, body: PolicyIn, key: IdempotencyKey = None) -> Response:
        """Put a policy in force in its scope. A version is immutable."""
        document = body.model_dump(mode="json", exclude={"published_by"})

        def work(session: Session) -> tuple[int, dict[str, bool]]:
            published = reference.publish_policy(
                session.store, session.emit, version, document, body.published_by, context.clock
            )
            return publication(published)

        return context.command(key, f"policy {version}", body, Published, work)


def _releases(routes: APIRouter, context: Context) -> None:
    @routes.get("/releases", response_model=Page[Release])
    def list_releases(limit: Limit = 50, cursor: Cursor = None) -> dict[str, object]:
        """Trained releases, the last first."""
        with context.sessions() as session:
            page = session.views.releases(limit, cursor)
        return {"items": [with_documents(row) for row in page.items], "next_cursor": page.next_cursor}

    @routes.get("/releases/{release}", response_model=Release)
    def read_release(release: InPath) -> dict[str, Any]:
        """One release."""
        with context.sessions() as session:
            advice = "wait until the trainer's model.trained has arrived."
            return with_documents(found(session.views.release(release), "release", release, advice))

    @routes.get("/deployments", response_model=Page[Deployment])
    def list_deployments() -> dict[str, object]:
        """Which release is in force, by scope and mode."""
        with context.sessions() as session:
            return {"items": session.views.deployments()}

    @routes.post("/releases/{release}/promote", response_model=Deployed)
    def promote_release(release: InPath, body: PromotionIn, key: IdempotencyKey = None) -> Response:
        """Let a release decide in a scope, decide a share of its captures, or watch."""

        def work(session: Session) -> tuple[int, dict[str, object]]:
            scope = r.Scope(**body.scope.model_dump())
            share = 1.0 if body.share is None else body.share
            changed = releases.promote(
                session.store, session.emit, release, scope, body.mode, share, body.released_by, context.clock
            )
            return 200, {"release": release, "changed": changed}

        return context.command(key, f"promote {release}", body, Deployed, work)

    @routes.post("/releases/{release}/rollback", response_model=Deployed)
    def roll_back_release(release: InPath, body: RollbackIn, key: IdempotencyKey = None) -> Response:
        """Withdraw this release in a scope; the one that decided before it, or beside it, decides again."""

        def work(session: Session) -> tuple[int, dict[str, object]]:
            scope = r.Scope(**body.scope.model_dump())
            target = releases.roll_back(
                session.store, session.emit, release, scope, body.reason, body.rolled_back_by, context.clock
            )
            return 200, {"release": target, "changed": True}

        return context.command(key, f"rollback {release}", body, Deployed, work)

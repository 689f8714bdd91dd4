"""Taxonomies as published: what is in force, what was, and what one says of a class."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response

from dataset_registry.api.context import PUBLISHED, Context, IdempotencyKey, found, publication
from dataset_registry.api.shapes import Moment, Name, Page, Published
from dataset_registry.api.taxonomy_shapes import (
    EffectiveTaxonomy,
    RelabelIn,
    SeverityAnswer,
    StationOrPlace,
    Taxonomy,
    TaxonomyComparison,
    TaxonomyDetail,
    TaxonomyIn,
    TaxonomyPublished,
)
from dataset_registry.domain.severity import Case
from dataset_registry.handlers import taxonomies
from dataset_registry.ports import Row, Session

InPath = Annotated[Name, Path()]
_ADVICE = "look at GET /v1/taxonomies."


def router(context: Context) -> APIRouter:
    """Routes under /v1/taxonomies."""
    routes = APIRouter(prefix="/v1", tags=["taxonomies"])

    @routes.get("/taxonomies", response_model=Page[Taxonomy])
    def list_taxonomies() -> dict[str, object]:
        """All taxonomies ever published; the first of the list is in force."""
        with context.sessions() as session:
            return {"items": session.views.taxonomies()}

    @routes.put("/taxonomies/{version}", response_model=Published, responses=PUBLISHED)
    def put_taxonomy(version: InPath, body: TaxonomyIn, key: IdempotencyKey = None) -> Response:
        """Put a taxonomy in force as a whole. A version is immutable."""
        document = body.model_dump(mode="json", exclude={"published_by"})

        def work(session: Session) -> tuple[int, dict[str, bool]]:
            published = taxonomies.put(
                session.taxonomies,
                session.store,
                session.emit,
                version,
                document,
                body.published_by,
                context.clock,
            )
            return publication(published)

        return context.command(key, f"taxonomy {version}", body, Published, work)

    @routes.get("/taxonomies/in-force", response_model=TaxonomyDetail)
    def read_taxonomy_in_force(
        at: Annotated[Moment | None, Query(description="A moment; now when left out.")] = None,
    ) -> Row:
        """The taxonomy that was in force at any moment."""
        with context.sessions() as session:
            row = session.taxonomies.taxonomy_in_force(at)
            when = at.isoformat() if at else "now"
            version = found(row, "taxonomy in force", when, "none had been published by then.")["version"]
            return _detail(session, version)

    @routes.get("/taxonomies/{version}", response_model=TaxonomyDetail)
    def read_taxonomy(version: InPath) -> Row:
        """One version, with the one before it, and what was decided about old labels when it was published."""
        with context.sessions() as session:
            return _detail(session, version)

    @routes.get("/taxonomies/{version}/comparison", response_model=TaxonomyComparison)
    def compare_taxonomies(
        version: InPath,
        other: Annotated[
            Name | None, Query(description="The older version; the one before when left out.")
        ] = None,
    ) -> Row:
        """A version side by side with an older one."""
        with context.sessions() as session:
            return taxonomies.compare(session.taxonomies, version, other)

    @routes.get("/taxonomies/{version}/severity", response_model=SeverityAnswer)
    def explain_severity(
        version: InPath,
        class_name: Name,
        product: Name | None = None,
        station: StationOrPlace | None = None,
        customer: Name | None = None,
    ) -> dict[str, object]:
        """How severe a class is for a product, at a station, for a customer, what happens to the part, and why."""
        case = Case(class_name, product, station, customer)
        with context.sessions() as session:
            severity, disposition = taxonomies.severity_of(session.taxonomies, version, case)
        settled = {"severity": asdict(severity), "disposition": asdict(disposition)}
        return {"version": version, "class_name": class_name, **settled}

    @routes.post("/taxonomies/{version}/relabel", response_model=TaxonomyPublished)
    def queue_relabel(version: InPath, body: RelabelIn, key: IdempotencyKey = None) -> Response:
        """Queue what was labeled under an earlier version since this one was published: from batches open by then."""

        def work(session: Session) -> tuple[int, Row]:
            now = context.clock.now()
            queued = taxonomies.queue_relabel(session.taxonomies, version, body.queued_by, now)
            return 200, {"version": version, **queued._asdict()}

        return context.command(key, f"queue-relabel {version}", body, TaxonomyPublished, work)

    @routes.get("/labels/{label_id}/taxonomy", response_model=EffectiveTaxonomy)
    def read_taxonomy_of_label(label_id: UUID) -> Row:
        """What a label or an annotation meant when it was made."""
        with context.sessions() as session:
            return taxonomies.effective(session.taxonomies, str(label_id))

    return routes


def _detail(session: Session, version: str) -> Row:
    row = found(session.taxonomies.taxonomy_version(version), "taxonomy", version, _ADVICE)
    return {**row["document"], **row}

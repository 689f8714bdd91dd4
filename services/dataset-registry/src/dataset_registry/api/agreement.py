"""How far people say the same of the same images."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query

from dataset_registry.api.agreement_shapes import AgreementReport
from dataset_registry.api.context import Context
from dataset_registry.api.shapes import Name
from dataset_registry.handlers import agreement
from dataset_registry.ports import Row


def router(context: Context) -> APIRouter:
    """Routes under /v1/agreement."""
    routes = APIRouter(prefix="/v1/agreement", tags=["agreement"])
    figures = agreement.KeptFigures()

    @routes.get("", response_model=AgreementReport)
    def read_agreement(
        batch_id: UUID | None = None,
        class_name: Annotated[
            Name | None, Query(alias="class", description="This class against all others.")
        ] = None,
        by: Literal["class", "part", "camera", "reviewer", "week"] | None = None,
    ) -> Row:
        """Percent, Fleiss, Krippendorff and Cohen (plain, and weighted by severity), each with its 95 % interval, over
        all blind answers of reviews and consensus batches, or of one batch; where areas were marked, also of these."""
        with context.sessions() as session:
            judged = agreement.answers(session.answers, str(batch_id) if batch_id else None)
            severity = session.answers.severities()
        return figures.of(judged, by, class_name, severity)

    return routes

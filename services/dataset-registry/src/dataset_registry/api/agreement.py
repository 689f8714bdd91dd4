"""How far people say the same of the same images."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query

from dataset_registry.api.agreement_shapes import AgreementReport
from dataset_registry.api.context import Context
from dataset_registry.handlers import agreement


def router(context: Context) -> APIRouter:
    """Routes under /v1/agreement."""
    routes = APIRouter(prefix="/v1/agreement", tags=["agreement"])

    @routes.get("", response_model=AgreementReport)
    def read_agreement(
        batch_id: UUID | None = None,
        class_name: Annotated[
            str | None, Query(alias="class", max_length=120, description="This class against all others.")
        ] = None,
        by: Literal["class", "part", "camera", "reviewer", "week"] | None = None,
    ) -> dict[str, object]:
        """Percent, Fleiss, Krippendorff and Cohen (plain, and weighted by severity), each with its 95 % interval, over
        all blind answers of reviews and consensus batches, or of one batch; where areas were marked, also of these."""
        with context.sessions() as session:
            judged = agreement.answers(session.answers, str(batch_id) if batch_id else None)
            severity = session.answers.severities()
        whole, slices = agreement.figures(judged, by, class_name, severity)
        return asdict(whole) | {
            "by": by,
            "slices": [{"name": name} | asdict(figures) for name, figures in slices.items()],
        }

    return routes

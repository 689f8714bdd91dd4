"""Who decided what, on which evidence, and whether it comes out the same again."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Protocol
from uuid import UUID

from andon_chassis.http import TRACED, Problem
from fastapi import FastAPI, Path

from review_router.domain.case import Case
from review_router.ports import Ruling
from review_router.replay import replay


class Archive(Protocol):
    """Where decided cases are looked up."""

    def find(self, capture_id: str) -> tuple[Case, list[Ruling]] | None:
        """The case and its chain of decisions; None when it was never seen. Raises Unavailable."""


def make_app(archive: Archive) -> FastAPI:
    """The HTTP API of the review-router."""
    app = FastAPI(
        title="Andonloop review-router", version="1", docs_url=None, redoc_url=None, telemetry=TRACED
    )

    @app.get("/v1/captures/{capture_id}/decisions")
    def decisions(capture_id: Annotated[UUID, Path()]) -> dict[str, Any]:
        """The chain of decisions about a capture, each taken again from its stored evidence and rules."""
        found = archive.find(str(capture_id))
        if found is None:
            raise Problem(
                404, "unknown-capture", f"No audit or model result of capture {capture_id} has arrived yet."
            )
        case, rulings = found
        return {
            "capture_id": case.capture_id,
            "state": case.state,
            "review": case.review,
            "due_at": case.due_at,
            "decisions": [_shown(case, ruling) for ruling in rulings],
        }

    return app


def _shown(case: Case, ruling: Ruling) -> dict[str, Any]:
    replayed = replay(case, ruling)
    return {
        "disposition_id": ruling.disposition_id,
        "revision": ruling.revision,
        "decided_at": ruling.decided_at,
        **asdict(ruling.decision),
        "policy_version": ruling.rules.policy.version,
        "taxonomy_version": ruling.rules.taxonomy.version,
        "rules": ruling.rules.digest,
        "replay": {"same": replayed.same, **asdict(replayed.again)},
    }

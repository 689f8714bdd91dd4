"""Who did what: the audit trail and whether it is whole."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter

from dataset_registry.api.context import Context, Cursor, Limit, Sought
from dataset_registry.api.shapes import Moment, Out, Page
from dataset_registry.handlers import audit


class AuditEntry(Out):
    """One command that was carried out."""

    sequence: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    previous_hash: str
    hash: str


class AuditBreak(Out):
    """The first row of the trail that is not what it was."""

    sequence: int
    what: str


class AuditVerification(Out):
    """What came of following the whole trail."""

    intact: bool
    entries: int
    final_hash: str
    broken: AuditBreak | None


def router(context: Context) -> APIRouter:
    """Routes under /v1/audit."""
    routes = APIRouter(prefix="/v1/audit", tags=["audit"])

    @routes.get("", response_model=Page[AuditEntry])
    def list_audit_entries(
        actor: Sought = None,
        action: Sought = None,
        subject: Sought = None,
        since: Moment | None = None,
        until: Moment | None = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> dict[str, object]:
        """All that was done, the last first."""
        wanted = {"actor": actor, "action": action, "subject": subject, "since": since, "until": until}
        with context.sessions() as session:
            page = session.trail.entries(wanted, limit, cursor)
        return {"items": page.items, "next_cursor": page.next_cursor}

    @routes.get("/verification", response_model=AuditVerification)
    def verify_audit_trail() -> dict[str, object]:
        """Follow the whole trail from its start; the first row that is wrong is named."""
        with context.sessions() as session:
            found = audit.verification(session.trail)
        return {
            "intact": found.broken is None,
            "entries": found.end.sequence,
            "final_hash": found.end.hash,
            "broken": found.broken and found.broken._asdict(),
        }

    return routes

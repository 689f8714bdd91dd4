"""Signals as work: what is open, and how it is closed."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter, Response

from dataset_registry.api.context import Context, Cursor, IdempotencyKey, Limit, Sought, found
from dataset_registry.api.shapes import Action, ClosingIn, Page
from dataset_registry.handlers import actions
from dataset_registry.ports import Row, Session

_ADVICE = "look at GET /v1/actions."


def router(context: Context) -> APIRouter:
    """Routes under /v1/actions."""
    routes = APIRouter(prefix="/v1/actions", tags=["actions"])

    @routes.get("", response_model=Page[Action])
    def list_actions(
        state: Literal["open", "closed"] | None = None,
        line: Sought = None,
        station: Sought = None,
        kind: Sought = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> dict[str, object]:
        """Actions with their signals, the most urgent first."""
        with context.sessions() as session:
            wanted = {"state": state, "line": line, "station": station, "kind": kind}
            page = session.views.actions(wanted, limit, cursor)
        return {"items": [_action(row) for row in page.items], "next_cursor": page.next_cursor}

    @routes.get("/{action_id}", response_model=Action)
    def read_action(action_id: UUID) -> dict[str, object]:
        """One action with its signal."""
        with context.sessions() as session:
            return _read(session, action_id)

    @routes.post("/{action_id}/close", response_model=Action)
    def close_action(action_id: UUID, body: ClosingIn, key: IdempotencyKey = None) -> Response:
        """Close with the proof of what was done, or with the reason why nothing is."""

        def work(session: Session) -> tuple[int, dict[str, Any]]:
            closing = actions.Closing(body.outcome, body.proof, body.note, body.closed_by)
            actions.close(session.store, session.emit, str(action_id), closing, context.clock.now())
            return 200, _read(session, action_id)

        return context.command(key, f"close {action_id}", body, Action, work)

    def _read(session: Session, action_id: UUID) -> dict[str, Any]:
        return _action(found(session.views.action(str(action_id)), "action", action_id, _ADVICE))

    return routes


def _action(row: Row) -> Row:
    return row | {"signal": row | {"kind": row["signal_kind"]}}

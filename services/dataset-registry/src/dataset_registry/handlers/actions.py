"""Closing an action: with its proof, or with the reason why nothing is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from andon_chassis.events import Event, event, station_key
from andon_chassis.telemetry import span
from andon_events import records as r

from dataset_registry.domain import actions
from dataset_registry.domain.refusals import invalid, unknown
from dataset_registry.domain.tallies import Tallies
from dataset_registry.handlers.facts import SOURCE
from dataset_registry.ports import Actions

CHECKED = ("dataset_version", "release", "taxonomy_version", "policy_version")
"""Proofs that the registry can look up itself."""


@dataclass(frozen=True, slots=True)
class Closing:
    """How somebody wants to close an action."""

    outcome: str
    proof: dict[str, str]
    note: str
    closed_by: str


def close(
    store: Actions,
    emit: Callable[[Sequence[Event[Any]]], None],
    action_id: str,
    closing: Closing,
    now: datetime,
) -> None:
    """Close the action. Raises Refused."""
    action = store.lock_action(action_id)
    if action is None:
        raise unknown("action", action_id, "look at GET /v1/actions.")
    actions.check_closing(action["state"], closing.outcome, closing.proof, closing.note)
    _check_proof(store, closing)
    store.close_action(
        action_id,
        {
            "outcome": closing.outcome,
            "proof": closing.proof,
            "note": closing.note,
            "closed_by": closing.closed_by,
            "closed_at": now,
        },
    )
    tallies = Tallies()
    tallies.add(action["line"], action["station"], "actions-open", -1)
    tallies.add(action["line"], action["station"], f"action-closed:{action['kind']}")
    store.tally(tallies.rows(now))
    data = r.ActionClosed(
        action_id=action_id,
        signal_id=action["signal_id"],
        kind=action["kind"],
        outcome=closing.outcome,
        proof=closing.proof,
        note=closing.note,
        closed_by=closing.closed_by,
        closed_at=now,
    )
    with span(f"{SOURCE} close", action["traceparent"], action_id=action_id):
        emit(
            [
                event(
                    data,
                    source=SOURCE,
                    key=station_key(action["line"], action["station"]),
                    time=now,
                    cause=action_id,
                )
            ]
        )


def _check_proof(store: Actions, closing: Closing) -> None:
    for what in CHECKED:
        name = closing.proof.get(what, "").strip()
        if name and not store.exists(what, name):
            raise invalid("proof-not-found", f"There is no {what.replace('_', ' ')} {name}; check the name.")

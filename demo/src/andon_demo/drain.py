"""When is everything that was begun also finished, and what hangs when it is not. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass
from typing import Any

from andon_demo.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Pending:
    """So many things have not come to their end, and where to look for them."""

    what: str
    count: int
    sample: tuple[str, ...]
    look: str

    def __str__(self) -> str:
        return f"{self.count} {self.what} (for example {', '.join(self.sample[:2])}); {self.look}"


def pending(
    accepted: Set[str], ledger: Ledger, mes: Mapping[str, Any] | None, left_open: Collection[str] = ()
) -> list[Pending]:
    """What is unfinished, in the order of the flow; empty when the plant is quiet.

    Args:
        accepted: capture_ids that capture-ingest accepted.
        mes: The MES stand-in's book; None before it was asked for.
        left_open: action_ids that their owners keep open, with a reason.
    """
    captures = ledger.captures
    dispositions = {d.disposition_id for c in captures.values() for d in c.decisions.values()}
    corrected = {d.evidence.review_id for c in captures.values() for n, d in c.decisions.items() if n > 1}
    confirmed = {d.disposition_id for d in ledger.delivered.values()}
    acknowledged = {e["disposition_id"] for e in mes["entries"] if e["acknowledged"]} if mes else dispositions
    sent = {f["capture_id"] for f in mes["findings"]["sent"]} if mes else set()
    received = {f.capture_id for f in ledger.findings.values()}
    acted_on = {a.signal_id for a in ledger.actions_opened.values()}
    gaps = [
        (
            "captures not on capture.recorded",
            accepted - _with(captures, "recorded"),
            "look at capture-ingest's log",
        ),
        (
            "captures not audited",
            _with(captures, "recorded") - _with(captures, "audited"),
            "look at quality-audit's log",
        ),
        (
            "accepted captures not scored",
            {i for i, c in captures.items() if c.verdict == "accepted" and not c.inferred},
            "look at inference's and triton's logs",
        ),
        (
            "captures without a disposition",
            _with(captures, "recorded") - _with(captures, "first_decisions"),
            "look at review-router's log",
        ),
        (
            "reviews not completed",
            set(ledger.reviews_requested) - set(ledger.reviews_completed),
            "look at dataset-registry's log and GET /v1/reviews",
        ),
        (
            "reviews without a correction",
            set(ledger.reviews_completed) - corrected,
            "look at review-router's log",
        ),
        (
            "dispositions not acknowledged by the MES",
            dispositions - acknowledged,
            "look at mes-bridge's log and GET /v1/deliveries",
        ),
        ("deliveries not confirmed on mes.delivered", dispositions - confirmed, "look at mes-bridge's log"),
        ("findings not on mes.finding-received", sent - received, "look at mes-bridge's log"),
        ("signals without an action", set(ledger.signals) - acted_on, "look at dataset-registry's log"),
        (
            "actions that nobody closed",
            set(ledger.actions_opened) - set(ledger.actions_closed) - set(left_open),
            "look at GET /v1/actions and at what their owners say",
        ),
    ]
    found = [
        Pending(what, len(ids), tuple(sorted(map(str, ids))[:3]), look) for what, ids, look in gaps if ids
    ]
    if mes and mes["findings"]["waiting"]:
        found.append(
            Pending("findings the MES has still to report", mes["findings"]["waiting"], ("-",), "wait")
        )
    return found


def _with(captures: Mapping[str, Any], step: str) -> set[str]:
    return {i for i, c in captures.items() if getattr(c, step)}

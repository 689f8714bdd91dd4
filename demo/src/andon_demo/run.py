"""Everything that is known when a demo run is over: what the books and both reports are made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from andon_events import records as r

from andon_demo.books import Books, Facts, count
from andon_demo.cameras import Answer, accepted_in
from andon_demo.ledger import Ledger
from andon_demo.parts import Split
from andon_demo.report.analysis import Judged
from andon_demo.scenario import Plan, Play, Shot


@dataclass(frozen=True, slots=True)
class Release:
    """The model release that decided, with what its trainer claimed on validation data.

    Attributes:
        description: What its bundle says of itself; empty when that is not known.
        remembered: An earlier run had trained it, from the same images by the same code.
    """

    name: str
    metrics: dict[str, float]
    pass_below: float
    reject_from: float
    remembered: bool = False
    description: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run.

    Attributes:
        source: What the images are, for people.
        mes: The MES stand-in's book, as its server gives it.
        stall: First and last moment in which the model server stood still.
        played: Sentences: which part of what happened was played.
        left_open: Actions that stay open on purpose, with the reason.
        diagnosis: What hung, when the run did not drain; empty when all is well.
        expected: Signal kinds whose cause was seen to happen.
        takt_ms: Time per part of the demo's stations.
    """

    source: str
    plan: Plan
    split: Split
    answers: Sequence[Answer]
    ledger: Ledger
    mes: dict[str, Any]
    books: Books
    release: Release
    components: dict[str, str]
    played: list[str]
    left_open: dict[str, str]
    seconds: dict[str, float]
    throughput: float
    stall: tuple[datetime, datetime] | None
    expected: frozenset[str]
    takt_ms: float
    diagnosis: list[str] = field(default_factory=list)
    screenshots: dict[str, bytes] = field(default_factory=dict)

    def shots(self) -> dict[str, Shot]:
        """The shot behind each recorded capture."""
        return shots_of(self.answers)

    def start(self) -> datetime | None:
        """The first trigger."""
        return min((c.captured_at for c in self.ledger.captures.values() if c.captured_at), default=None)

    def judged(self) -> list[Judged]:
        """Each recorded capture with the truth beside it, in the order of the triggers."""
        start = self.start()
        rows = []
        for capture_id, shot in self.shots().items():
            capture = self.ledger.captures.get(capture_id)
            if capture is None or capture.captured_at is None or start is None:
                continue
            first, final = capture.first, capture.final
            rows.append(
                Judged(
                    capture_id=capture_id,
                    station=shot.station.key,
                    part=shot.part.name,
                    label=shot.part.label,
                    doubt=shot.part.doubt,
                    play=shot.play,
                    score=capture.score,
                    predicted=capture.predicted,
                    first=first.kind if first else None,
                    final=final.kind if final else None,
                    by_person=bool(final and final.decided_by.startswith("person:")),
                    latency_ms=capture.latency_ms,
                    when_s=(capture.captured_at - start).total_seconds(),
                    brightness=capture.measures.get("brightness"),
                    verdict=capture.verdict,
                )
            )
        return sorted(rows, key=lambda row: row.when_s)


def shots_of(answers: Sequence[Answer]) -> dict[str, Shot]:
    """The shot that was newly recorded under each capture_id.

    Where no 201 arrived, the first shot that was told 200: an image and its retry are the same picture.
    """
    before = {a.capture_id: a.shot for a in reversed(answers) if a.status == 200 and a.capture_id}
    return before | {a.capture_id: a.shot for a in answers if a.status == 201 and a.capture_id}


def facts_of(
    plan: Plan,
    answers: Sequence[Answer],
    ledger: Ledger,
    mes: dict[str, Any],
    expected: frozenset[str],
    left_open: Collection[str],
) -> Facts:
    """What the three sources counted, side by side; `left_open` are actions that their owners keep, with a reason."""
    captures = ledger.captures
    entries = mes.get("entries", [])
    signals: dict[str, set[str]] = {}
    for signal in ledger.signals.values():
        signals.setdefault(signal.kind, set()).add(signal.signal_id)
    corrections = {
        d.evidence.review_id
        for c in captures.values()
        for n, d in c.decisions.items()
        if n > 1 and d.evidence.review_id
    }
    return Facts(
        # By the script, not by the answers: a 200 may be a played retry's or stand for a 201 that was lost.
        sent=sum(a.shot.play is not Play.RETRY for a in answers),
        accepted=accepted_in(answers),
        refused=Counter(a.reason or f"http-{a.status}" for a in answers if a.status >= 400),
        unanswered=sum(a.status == 0 for a in answers),
        recorded={i: c.recorded for i, c in captures.items() if c.recorded},
        audited={i: c.audited for i, c in captures.items() if c.audited},
        inferable={i for i, c in captures.items() if c.verdict == "accepted"},
        inferred={i: c.inferred for i, c in captures.items() if c.inferred},
        decided={i: c.first_decisions for i, c in captures.items() if c.first_decisions},
        dispositions=count(d.disposition_id for c in captures.values() for d in c.decisions.values()),
        kept=count(e["disposition_id"] for e in entries if e["kept"]),
        acknowledged={e["disposition_id"]: e["acknowledged"] for e in entries if e["acknowledged"]},
        confirmed=count(d.disposition_id for d in ledger.delivered.values()),
        turned_away=mes.get("turned_away", {}),
        reviews_requested=set(ledger.reviews_requested),
        reviews_completed=set(ledger.reviews_completed),
        reviews_corrected=corrections,
        signals=signals,
        actions=count(a.signal_id for a in ledger.actions_opened.values()),
        actions_opened=set(ledger.actions_opened),
        actions_settled=count([*ledger.actions_closed, *(set(left_open) - set(ledger.actions_closed))]),
        expected_signals=expected,
        findings_sent=count(f["capture_id"] for f in mes.get("findings", {}).get("sent", [])),
        findings_received=count(f.capture_id for f in ledger.findings.values()),
        dead_letters=[f"{topic}: {reason}" for topic, reason in ledger.dead_letters],
        repeated_entities=ledger.twice,
    )


def audit_counts(ledger: Ledger) -> tuple[int, dict[str, int]]:
    """Accepted, and what was not by its first reason; what the audit left to a person counts as
    `ambiguous`.
    """
    reasons = Counter[str]()
    accepted = 0
    for capture in ledger.captures.values():
        if capture.verdict == "accepted":
            accepted += 1
        elif capture.verdict == "ambiguous":
            reasons["ambiguous"] += 1
        elif capture.verdict is not None:
            reasons[capture.reasons[0] if capture.reasons else "unknown"] += 1
    return accepted, dict(reasons)


def action_counts(ledger: Ledger) -> dict[str, dict[str, int]]:
    """Opened and closed actions by kind."""
    counts: dict[str, dict[str, int]] = {}
    for opened in ledger.actions_opened.values():
        counts.setdefault(opened.kind, {"opened": 0, "closed": 0})["opened"] += 1
    for closed in ledger.actions_closed.values():
        counts.setdefault(closed.kind, {"opened": 0, "closed": 0})["closed"] += 1
    return dict(sorted(counts.items()))


def state_of(action: r.ActionOpened, ledger: Ledger) -> r.ActionClosed | None:
    """How an action was closed, if it was."""
    return ledger.actions_closed.get(action.action_id)

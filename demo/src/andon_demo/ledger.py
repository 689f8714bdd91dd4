"""The auditor's ledger: what the topics say happened to each capture, counted outside all services. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from andon_events import records as r


@dataclass(slots=True)
class CaptureRecord:
    """Everything the topics say about one capture."""

    recorded: int = 0
    audited: int = 0
    inferred: int = 0
    first_decisions: int = 0
    line: str = ""
    station: str = ""
    part_id: str | None = None
    trigger_id: str | None = None
    missing: tuple[str, ...] = ()
    captured_at: datetime | None = None
    image: r.ImageRef | None = None
    verdict: str | None = None
    reasons: tuple[str, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)
    score: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    predicted: str | None = None
    heat_map: r.ObjectRef | None = None
    regions: tuple[r.Region, ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    audited_at: datetime | None = None
    inferred_at: datetime | None = None
    decisions: dict[int, r.DispositionDecided] = field(default_factory=dict)

    @property
    def first(self) -> r.DispositionDecided | None:
        return self.decisions.get(1)

    @property
    def final(self) -> r.DispositionDecided | None:
        return self.decisions[max(self.decisions)] if self.decisions else None

    @property
    def latency_ms(self) -> float | None:
        """Trigger to first disposition."""
        if self.first is None:
            return None
        return (self.first.decided_at - self.first.captured_at).total_seconds() * 1000


@dataclass(slots=True)
class LineCount:
    """One row of the live table."""

    captured: int = 0
    audited: int = 0
    inferred: int = 0
    decided: int = 0
    in_review: int = 0
    signals: int = 0
    actions: int = 0
    latencies_ms: list[float] = field(default_factory=list)


class Ledger:
    """Takes events from all topics in any order between topics; never sees what a service thinks of
    itself.
    """

    def __init__(self) -> None:
        self.captures: dict[str, CaptureRecord] = defaultdict(CaptureRecord)
        self.reviews_requested: dict[str, r.ReviewRequested] = {}
        self.reviews_completed: dict[str, r.ReviewCompleted] = {}
        self.signals: dict[str, r.SignalRaised] = {}
        self.actions_opened: dict[str, r.ActionOpened] = {}
        self.actions_closed: dict[str, r.ActionClosed] = {}
        self.delivered: dict[str, r.MesDelivered] = {}
        self.findings: dict[str, r.MesFindingReceived] = {}
        self.labels: Counter[str] = Counter()
        self.trained: list[r.ModelTrained] = []
        self.released: list[r.ModelReleased] = []
        self.dead_letters: list[tuple[str, str]] = []
        self.repeats: Counter[str] = Counter()
        self.twice: Counter[str] = Counter()
        self.events = 0
        self._seen: set[tuple[str, str]] = set()
        self._lines: dict[str, LineCount] = defaultdict(LineCount)

    def apply(self, topic: str, event_id: str, data: Any) -> None:
        """Write one event down. The same event id again is a repeat: consumers drop it, and here it
        is only counted.
        """
        self.events += 1
        if (topic, event_id) in self._seen:
            self.repeats[topic] += 1
            return
        self._seen.add((topic, event_id))
        match data:
            case r.CaptureRecorded():
                self._recorded(data)
            case r.CaptureAudited():
                self._audited(data)
            case r.InferenceCompleted() if not data.shadow:
                self._inferred(data)
            case r.DispositionDecided():
                self._decided(data)
            case r.ReviewRequested():
                self._once("review.requested", self.reviews_requested, data.review_id, data)
                self._lines[data.context.line].in_review += 1
            case r.ReviewCompleted():
                self._once("review.completed", self.reviews_completed, data.review_id, data)
                self._lines[data.context.line].in_review -= 1
            case r.SignalRaised():
                self._once("feedback.signal-raised", self.signals, data.signal_id, data)
                self._lines[data.scope.line or "*"].signals += 1
            case r.ActionOpened():
                self._once("dataset.action-opened", self.actions_opened, data.action_id, data)
                self._lines[data.scope.line or "*"].actions += 1
            case r.ActionClosed():
                self._once("dataset.action-closed", self.actions_closed, data.action_id, data)
            case r.MesDelivered():
                self._once("mes.delivered", self.delivered, data.delivery_id, data)
            case r.MesFindingReceived():
                self._once("mes.finding-received", self.findings, data.finding_id, data)
            case r.LabelApproved():
                self.labels[data.class_name] += 1
            case r.ModelTrained():
                self.trained.append(data)
            case r.ModelReleased():
                self.released.append(data)
            case _:
                pass

    def dead_letter(self, topic: str, reason: str) -> None:
        """Write down a message that a service gave up on."""
        self.dead_letters.append((topic, reason))

    def lines(self) -> dict[str, LineCount]:
        """The live table's rows, by line; `*` for what concerns no single line."""
        return dict(self._lines)

    def _once(self, topic: str, book: dict[str, Any], key: str, data: Any) -> None:
        if key in book:
            self.twice[topic] += 1
        book.setdefault(key, data)

    def _recorded(self, data: r.CaptureRecorded) -> None:
        capture = self.captures[data.capture_id]
        capture.recorded += 1
        capture.line, capture.station = data.context.line, data.context.station
        capture.part_id, capture.trigger_id = data.context.part_id, data.trigger_id
        capture.missing = tuple(data.missing)
        capture.captured_at, capture.image = data.captured_at, data.image
        self._lines[data.context.line].captured += 1

    def _audited(self, data: r.CaptureAudited) -> None:
        capture = self.captures[data.capture_id]
        capture.audited += 1
        capture.verdict, capture.reasons = data.verdict, tuple(data.reasons)
        capture.measures, capture.audited_at = data.measures, data.audited_at
        self._lines[data.context.line].audited += 1

    def _inferred(self, data: r.InferenceCompleted) -> None:
        capture = self.captures[data.capture_id]
        capture.inferred += 1
        capture.score, capture.scores = data.defect_score, data.scores
        capture.predicted, capture.heat_map = data.predicted_class, data.heat_map
        capture.regions = tuple(data.regions)
        capture.timings_ms, capture.inferred_at = data.timings_ms, data.completed_at
        self._lines[data.context.line].inferred += 1

    def _decided(self, data: r.DispositionDecided) -> None:
        capture = self.captures[data.capture_id]
        if data.revision == 1:
            capture.first_decisions += 1
            capture.decisions.setdefault(1, data)
            line = self._lines[data.context.line]
            line.decided += 1
            line.latencies_ms.append((data.decided_at - data.captured_at).total_seconds() * 1000)
        elif data.revision in capture.decisions:
            self.twice["disposition.decided"] += 1
        else:
            capture.decisions[data.revision] = data

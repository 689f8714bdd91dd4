"""What happens when news about a capture arrives, and when a deadline passes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from andon_chassis.clock import Clock
from andon_chassis.errors import Invalid
from andon_chassis.events import Event, Outcome, Rejected
from andon_chassis.telemetry import child_traceparent
from prometheus_client import Counter

from review_router.domain.case import Case, see_deadline
from review_router.domain.rules import Rules
from review_router.news import News, events_of, news_of, ruling_of
from review_router.ports import Cases, Remark, Ruling
from review_router.reference import Rulebook

DECISIONS = Counter("andon_dispositions_total", "Dispositions decided", ["line", "station", "kind"])
DEADLINES = Counter("andon_deadlines_passed_total", "Decisions a deadline forced", ["line", "station"])

NOBODY = "unregistered"
"""Label of stations nobody registered: anyone can invent names, and each would be a time series."""

SWEEP_MOST = 1000
PAUSE_S = 10.0


@dataclass(slots=True)
class _Result:
    """What the news about one capture came to, before it is known whether it could be kept."""

    case: Case | None
    rulings: list[Ruling] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    outcomes: dict[int, Outcome] = field(default_factory=dict)


class Router:
    """Decides captures in batches.

    Args:
        rulebook: The rules in force.
        clock: Processing time, for deadlines.
        quiet_s: Seconds after the start, or after a pause, in which no deadline is enforced: results that
            came while this service or its database was away still wait on the bus, and must not be decided
            against.
    """

    def __init__(self, rulebook: Rulebook, clock: Clock, *, quiet_s: float = 0.0) -> None:
        self._rulebook = rulebook
        self._clock = clock
        self._quiet_s = quiet_s
        self._quiet_until = self._swept_at = float("-inf")

    def handle(self, events: Sequence[Event[Any]], cases: Cases) -> Sequence[Outcome]:
        """One outcome for each event: the dispositions and reviews that follow from it, or its rejection."""
        outcomes: list[Outcome] = [[] for _ in events]
        todo: dict[str, list[tuple[int, News]]] = {}
        for index, one in enumerate(events):
            try:
                news = news_of(one)
            except Invalid as error:
                outcomes[index] = Rejected(error.reason, error.advice)
                continue
            if news is not None:
                todo.setdefault(news.capture_id, []).append((index, news))
        for result in self._settle(todo, cases):
            for index, outcome in result.outcomes.items():
                outcomes[index] = outcome
        return outcomes

    def sweep(self, cases: Cases) -> list[Event[Any]]:
        """Decide what nobody decided in time."""
        if self._is_quiet():
            return []
        now = self._clock.now()
        steps = []
        for case in cases.due(now, SWEEP_MOST):
            rules = self._rules_for(case)
            steps.append((see_deadline(case, rules, now), rules))
        kept = cases.save(step.case for step, _ in steps)
        made: list[Event[Any]] = []
        rulings, remarks = [], []
        for step, rules in steps:
            case = step.case
            if case.capture_id not in kept:
                continue
            if step.decision is not None:
                ruling = ruling_of(step, rules, now)
                rulings.append(ruling)
                made += events_of(step, ruling, _traced(case))
                context = case.subject["context"]
                DEADLINES.labels(*self._labels(context["line"], context["station"])).inc()
            if step.remark:
                remarks.append(Remark(case.capture_id, "", step.remark, now))
        cases.record(rulings)
        cases.remark(remarks)
        self._count(made)
        return made

    def _is_quiet(self) -> bool:
        moment = self._clock.monotonic()
        if moment - self._swept_at > PAUSE_S:
            self._quiet_until = moment + self._quiet_s
        self._swept_at = moment
        return moment < self._quiet_until

    def _settle(self, todo: dict[str, list[tuple[int, News]]], cases: Cases) -> Iterable[_Result]:
        """Advance each case; what another instance changed meanwhile is read and advanced again."""
        done: list[_Result] = []
        while todo:
            known = cases.load(list(todo))
            now = self._clock.now()
            results = {id_: self._advance(id_, known.get(id_), news, now) for id_, news in todo.items()}
            kept = cases.save(r.case for r in results.values() if r.case is not None)
            settled = {id_ for id_, r in results.items() if r.case is None} | kept
            done += [results[id_] for id_ in settled]
            todo = {id_: news for id_, news in todo.items() if id_ not in settled}
        cases.record([ruling for result in done for ruling in result.rulings])
        cases.remark([remark for result in done for remark in result.remarks])
        for result in done:
            for outcome in result.outcomes.values():
                if not isinstance(outcome, Rejected):
                    self._count(outcome)
        return done

    def _advance(
        self, capture_id: str, case: Case | None, news: Sequence[tuple[int, News]], now: datetime
    ) -> _Result:
        result = _Result(case)
        for index, one in news:
            case = result.case
            if case is None:
                if one.subject is None:
                    result.outcomes[index] = _unknown(capture_id)
                    continue
                case = Case(capture_id, one.subject())
            rules = self._rules_for(case)
            step = one.advance(case, rules, now)
            result.case = step.case
            made: list[Event[Any]] = []
            if step.decision is not None:
                ruling = ruling_of(step, rules, now)
                result.rulings.append(ruling)
                made = events_of(step, ruling)
            if step.remark:
                result.remarks.append(Remark(capture_id, one.event_id, step.remark, now))
            result.outcomes[index] = made
        return result

    def _rules_for(self, case: Case) -> Rules:
        context = case.subject["context"]
        return self._rulebook.rules_for(
            context["line"], context["station"], context.get("part_number"), context.get("product_variant")
        )

    def _count(self, events: Iterable[Event[Any]]) -> None:
        for made in events:
            kind = getattr(made.data, "kind", None)
            if kind is not None:
                context = made.data.context
                DECISIONS.labels(*self._labels(context.line, context.station), kind).inc()

    def _labels(self, line: str, station: str) -> tuple[str, str]:
        return (line, station) if self._rulebook.is_registered(line, station) else (NOBODY, NOBODY)


def _traced(case: Case) -> str | None:
    """A deadline comes with no event: its span hangs below the event that opened the case."""
    at_ns = time.time_ns()
    opened = case.subject.get("traceparent")
    return child_traceparent("review-router deadline", opened, at_ns, at_ns, capture_id=case.capture_id)


def _unknown(capture_id: str) -> Rejected:
    return Rejected(
        "unknown-capture",
        f"A review of capture {capture_id} was completed, but this service never decided that capture. Was "
        "the review-router's database restored from an older backup? Restore it, then replay this letter.",
    )

"""`report.html`: one self-contained page for people. Honest first: whether the books balance, and what was
played.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import jinja2
from andon_events import records as r

from andon_demo.books import Line
from andon_demo.pictures import ARRIVES, upload_of
from andon_demo.report import charts, sankey
from andon_demo.report.analysis import Judged, model_figures
from andon_demo.report.card import card_of
from andon_demo.report.figures import report_json
from andon_demo.report.thumbnails import screenshot, thumbnail
from andon_demo.run import Run, state_of
from andon_demo.scenario import Play

Fetch = Callable[[r.ObjectRef], bytes | None]
"""Reads an object from the store; None when it cannot be read."""

COLOURS = {
    "sent": "#334155",
    "recorded": "#334155",
    "refused": "#b91c1c",
    "accepted": "#2f6fdb",
    "audit: not accepted": "#d9912b",
    "pass": "#0f9d76",
    "rework": "#e07a5f",
    "reject": "#d64545",
    "route-to-reviewer": "#8b5cf6",
    "hold": "#d9912b",
    "escalate-to-engineering": "#be185d",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """One image in a gallery, with where the model looked."""

    image: str
    heat: str | None
    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gallery:
    """A row of pictures of one kind."""

    title: str
    text: str
    total: int
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class SignalRow:
    """A signal and the action it became."""

    kind: str
    where: str
    explanation: str
    cause: str
    raised_s: float
    evidence: tuple[str, ...]
    evidence_count: int
    action: str
    owner: str
    state: str
    proof: str
    first_of_kind: bool
    more: int


SIGNALS_SHOWN = 4
"""Of each kind; the others are counted."""


def render(run: Run, fetch: Fetch) -> str:
    """The whole page as text."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("andon_demo.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    judged = run.judged()
    model = model_figures(judged)
    start = run.start()
    return environment.get_template("report.html.j2").render(
        run=run,
        figures=report_json(run),
        model=model,
        claimed=run.release.metrics,
        card=card_of(run.release.description),
        flow=sankey.draw(list(_flows(run, judged)), COLOURS),
        latency=charts.latency(judged, run.takt_ms, _stall_span(run, start)),
        scores=charts.scores(judged, run.release.pass_below, run.release.reject_from),
        roc=charts.roc_and_calibration(judged, model),
        drift=charts.drift(judged, run.plan.dark_station.key, _drift_signals(run, start)),
        signals=list(_signal_rows(run, fetch, start)),
        galleries=[g for g in _galleries(run, judged, fetch) if g.pictures],
        books=run.books.lines,
        ids_of=_ids_of,
        after_review=_after_review(judged),
        missing=_missing(run),
        hours=_hop_times(run),
        screenshots={name: uri for name, png in run.screenshots.items() if (uri := screenshot(png))},
    )


def _flows(run: Run, judged: Sequence[Judged]) -> Iterator[sankey.Flow]:
    refused = sum(report_refused(run).values())
    recorded = len(judged)
    sent, kept, turned = (0, "sent"), (1, "recorded"), (1, "refused")
    yield sankey.Flow(sent, kept, recorded)
    yield sankey.Flow(sent, turned, refused)
    accepted = sum(j.verdict == "accepted" for j in judged)
    yield sankey.Flow(kept, (2, "accepted"), accepted)
    yield sankey.Flow(kept, (2, "audit: not accepted"), recorded - accepted)
    firsts = Counter((j.verdict == "accepted", j.first) for j in judged if j.first)
    for (was_accepted, kind), count in firsts.items():
        yield sankey.Flow((2, "accepted" if was_accepted else "audit: not accepted"), (3, str(kind)), count)
    finals = Counter((j.first, j.final) for j in judged if j.first and j.final)
    for (first, final), count in finals.items():
        yield sankey.Flow((3, str(first)), (4, str(final)), count)


def report_refused(run: Run) -> Counter[str]:
    """Refusals by reason."""
    return Counter(a.reason or f"http-{a.status}" for a in run.answers if a.status >= 400)


def _stall_span(run: Run, start: datetime | None) -> tuple[float, float] | None:
    if run.stall is None or start is None:
        return None
    return (run.stall[0] - start).total_seconds(), (run.stall[1] - start).total_seconds()


def _drift_signals(run: Run, start: datetime | None) -> list[tuple[float, str]]:
    if start is None:
        return []
    here = run.plan.dark_station
    return sorted(
        ((s.raised_at - start).total_seconds(), s.kind)
        for s in run.ledger.signals.values()
        if "drift" in s.kind and (s.scope.line, s.scope.station) == (here.line, here.name)
    )


def _signal_rows(run: Run, fetch: Fetch, start: datetime | None) -> Iterator[SignalRow]:
    """The signals by kind, in the order in which each kind came first; of each kind the first few."""
    kinds: dict[str, list[r.SignalRaised]] = {}
    for signal in sorted(run.ledger.signals.values(), key=lambda s: s.raised_at):
        kinds.setdefault(signal.kind, []).append(signal)
    actions = {a.signal_id: a for a in run.ledger.actions_opened.values()}
    for signals in kinds.values():
        for number, signal in enumerate(signals[:SIGNALS_SHOWN]):
            more = max(0, len(signals) - SIGNALS_SHOWN) if number == SIGNALS_SHOWN - 1 else 0
            row = _signal_row(run, fetch, start, signal, actions.get(signal.signal_id))
            yield replace(row, first_of_kind=number == 0, more=more)


def _signal_row(
    run: Run, fetch: Fetch, start: datetime | None, signal: r.SignalRaised, action: r.ActionOpened | None
) -> SignalRow:
    closed = state_of(action, run.ledger) if action else None
    state, proof = "missing", ""
    if action:
        state = closed.outcome if closed else "open"
        proof = _proof(closed) if closed else run.left_open.get(action.action_id, "left open")
    return SignalRow(
        kind=signal.kind,
        where=_where(signal.scope),
        explanation=signal.explanation,
        cause=signal.suspected_cause,
        raised_s=(signal.raised_at - start).total_seconds() if start else 0.0,
        evidence=tuple(_evidence(run, signal.evidence[:4], fetch)),
        evidence_count=len(signal.evidence),
        action=action.kind if action else "none",
        owner=action.owner if action else "",
        state=state,
        proof=proof,
        first_of_kind=True,
        more=0,
    )


def _proof(closed: r.ActionClosed) -> str:
    """What was done, hashes shortened."""
    parts = [f"{k}: {v[:12] + '…' if len(v) == 64 else v}" for k, v in sorted(closed.proof.items())]
    return "; ".join([*parts, closed.note])


def _where(scope: r.Scope) -> str:
    spot = "/".join(p for p in (scope.line, scope.station) if p) or "all lines"
    return ", ".join(p for p in (spot, scope.product_variant, scope.part_number, scope.class_name) if p)


def _evidence(run: Run, captures: Sequence[str], fetch: Fetch) -> Iterator[str]:
    for capture_id in captures:
        capture = run.ledger.captures.get(capture_id)
        data = fetch(capture.image.object) if capture and capture.image else None
        uri = thumbnail(data, side=64) if data else None
        if uri:
            yield uri


def _galleries(run: Run, judged: Sequence[Judged], fetch: Fetch) -> Iterator[Gallery]:
    seen = [j for j in judged if j.as_the_camera_saw_it]
    middle = (run.release.pass_below + run.release.reject_from) / 2
    escapes = [j for j in seen if j.final == "pass" and j.is_defect]
    false_rejects = [j for j in seen if j.final in ("reject", "rework") and not j.is_defect]
    unsure = [j for j in seen if j.score is not None]
    saved = [j for j in seen if j.by_person and j.is_defect and j.final in ("reject", "rework")]
    audit = [j for j in judged if j.verdict not in (None, "accepted")]
    yield _gallery(
        run,
        fetch,
        "Escapes",
        "Defective by the experts, passed in the end. Low scores: the model was sure.",
        sorted(escapes, key=lambda j: (-j.doubt, j.score if j.score is not None else 1.0)),
    )
    yield _gallery(
        run,
        fetch,
        "False rejects",
        "Good by the experts, rejected in the end.",
        sorted(false_rejects, key=lambda j: (j.doubt, -(j.score or 0.0))),
    )
    yield _gallery(
        run,
        fetch,
        "Most uncertain",
        "Nearest to the middle of the band that goes to a person.",
        sorted(unsure, key=lambda j: abs((j.score or 0.0) - middle)),
        total=False,
    )
    yield _gallery(
        run,
        fetch,
        "Found by people",
        "The model was not sure or not allowed; reviewers found the defect.",
        sorted(saved, key=lambda j: j.score if j.score is not None else 0.5),
    )
    yield _gallery(
        run,
        fetch,
        "Stopped by the audit",
        "Never shown to the model: the image itself was in doubt.",
        sorted(audit, key=lambda j: (j.play is None, str(j.play))),
    )
    yield _refused(run)


def _gallery(
    run: Run,
    fetch: Fetch,
    title: str,
    text: str,
    rows: Sequence[Judged],
    *,
    total: bool = True,
    most: int = 8,
) -> Gallery:
    pictures = []
    for row in _varied(rows, most):
        capture = run.ledger.captures[row.capture_id]
        data = fetch(capture.image.object) if capture.image else None
        image = thumbnail(data) if data else None
        if data is None or image is None:
            continue
        heat = fetch(capture.heat_map) if capture.heat_map else None
        score = "not scored" if row.score is None else f"score {row.score:.2f}"
        experts = f"experts {row.doubt:.2f}" + (f", {row.label}" if row.is_defect else "")
        reasons = ", ".join(capture.reasons)
        pictures.append(
            Picture(
                image=image,
                heat=thumbnail(data, heat, regions=capture.regions) if heat else None,
                title=_shorter(row.first) + (f" → {_shorter(row.final)}" if row.final != row.first else ""),
                lines=tuple(
                    t
                    for t in (score, experts, row.station, reasons, f"played: {row.play}" if row.play else "")
                    if t
                ),
            )
        )
    return Gallery(title, text, len(rows) if total else 0, tuple(pictures))


def _varied(rows: Sequence[Judged], most: int) -> list[Judged]:
    """The first rows, but of nothing played and no verdict more than three while others wait."""
    taken: list[Judged] = []
    seen = Counter[tuple[Play | None, str | None, str | None]]()
    for row in rows:
        kind = (row.play, row.verdict, row.first)
        if len(taken) < most and seen[kind] < 3:
            taken.append(row)
            seen[kind] += 1
    for row in rows:
        if len(taken) < most and row not in taken:
            taken.append(row)
    return taken


def _refused(run: Run) -> Gallery:
    """Two of each kind; of a truncated upload as much as arrived, and nothing of what was no image."""
    answers = [a for a in run.answers if a.status >= 400]
    pictures: list[Picture] = []
    for play in (Play.TRUNCATED, Play.CONFLICT):
        for answer in [a for a in answers if a.shot.play is play][:2]:
            if play is Play.TRUNCATED:
                image = thumbnail(answer.shot.part.path.read_bytes(), arrived=ARRIVES)
            else:
                image = thumbnail(upload_of(answer.shot)[0])
            if image:
                lines = (answer.reason or "?", f"played: {play}")
                pictures.append(Picture(image, None, f"HTTP {answer.status}", lines))
    return Gallery(
        "Refused at the door",
        "Nothing of these was stored; shown from the camera's side.",
        len(answers),
        tuple(pictures),
    )


def _shorter(kind: str | None) -> str:
    return "review" if kind == "route-to-reviewer" else str(kind)


def _ids_of(line: Line) -> str:
    parts = []
    for name, ids in (("lost", line.lost), ("twice", line.duplicated), ("unexpected", line.unexpected)):
        if ids:
            parts.append(
                f"{name}: {', '.join(ids[:3])}" + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
            )
    return "; ".join([*parts, line.note] if line.note else parts)


def _after_review(judged: Sequence[Judged]) -> dict[str, Any]:
    """What left the line in the end, people included."""
    seen = [j for j in judged if j.as_the_camera_saw_it and j.final]
    good = [j for j in seen if not j.is_defect]
    bad = [j for j in seen if j.is_defect]
    return {
        "escaped": sum(j.final == "pass" for j in bad),
        "bad": len(bad),
        "rejected": sum(j.final in ("reject", "rework") for j in good),
        "good": len(good),
        "people": sum(j.by_person for j in seen),
        "seen": len(seen),
    }


def _missing(run: Run) -> list[tuple[str, int]]:
    return Counter(name for c in run.ledger.captures.values() for name in c.missing).most_common()


def _hop_times(run: Run) -> list[tuple[str, float, float]]:
    """Where the time goes: median and 95th percentile of each hop, milliseconds."""
    hops: dict[str, list[float]] = {
        "trigger to audited": [],
        "audited to scored": [],
        "scored to decided": [],
    }
    model: list[float] = []
    for capture in run.ledger.captures.values():
        first = capture.first
        if not (capture.captured_at and capture.audited_at and capture.inferred_at and first):
            continue
        hops["trigger to audited"].append((capture.audited_at - capture.captured_at).total_seconds() * 1000)
        hops["audited to scored"].append((capture.inferred_at - capture.audited_at).total_seconds() * 1000)
        hops["scored to decided"].append((first.decided_at - capture.inferred_at).total_seconds() * 1000)
        model.append(capture.timings_ms.get("model", 0.0))
    hops["of which the model"] = model
    return [(name, _at(values, 0.5), _at(values, 0.95)) for name, values in hops.items() if values]


def _at(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

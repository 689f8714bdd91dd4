"""Between events and the domain: what an event tells about a case, and the events a decision becomes."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from andon_chassis.errors import Invalid
from andon_chassis.events import Event, deterministic_id, event, station_key
from andon_events import records

from review_router.checks import check_storable
from review_router.domain.case import Case, Step, see_audit, see_model, see_verdict
from review_router.domain.decide import REVIEWS, Audit, ModelResult, Verdict, second_answer_wanted
from review_router.domain.rules import Rules
from review_router.ports import Ruling

SOURCE = "review-router"

AUDIT_VERDICTS = frozenset({"accepted", "rejected", "ambiguous"})
MODEL_STATES = frozenset({"scored", "unscorable"})
PERSON_VERDICTS = frozenset({"good", "defect", "unusable"})

Advance = Callable[[Case, Rules, datetime], Step]


@dataclass(frozen=True, slots=True)
class News:
    """What one event means for one case.

    Attributes:
        subject: Makes the case's subject, for news that can open a case; None for news about an existing one.
    """

    capture_id: str
    event_id: str
    advance: Advance
    subject: Callable[[], dict[str, Any]] | None


def news_of(event: Event[Any]) -> News | None:
    """What an event tells; None when it is none of our business (a shadow result).

    Raises:
        Invalid: A word that no version of the contract knows, or something that cannot be kept.
    """
    data = event.data
    if isinstance(data, records.CaptureAudited | records.InferenceCompleted | records.ReviewCompleted):
        _check_identity(data.capture_id)
        check_storable(data)
    if isinstance(data, records.CaptureAudited):
        _known("audit verdict", data.verdict, AUDIT_VERDICTS)
        audit = Audit(
            verdict=data.verdict,
            reasons=tuple(data.reasons),
            event_id=event.id,
            deviations=tuple(one.to_avro() for one in data.deviations),
            unproven=tuple(data.unproven),
        )
        return News(
            data.capture_id, event.id, lambda c, r, now: see_audit(c, audit, r, now), lambda: _subject(event)
        )
    if isinstance(data, records.InferenceCompleted):
        if data.shadow:
            return None
        _known("inference status", data.status, MODEL_STATES)
        model = ModelResult(
            status=data.status,
            release=data.release,
            status_reason=data.status_reason,
            predicted_class=data.predicted_class,
            defect_score=data.defect_score if _is_number(data.defect_score) else None,
            scores={name: score for name, score in data.scores.items() if _is_number(score)},
            heat_map=data.heat_map.to_avro() if data.heat_map else None,
            regions=tuple(region.to_avro() for region in data.regions if _is_finite(region)),
            event_id=event.id,
        )
        return News(
            data.capture_id, event.id, lambda c, r, now: see_model(c, model, r, now), lambda: _subject(event)
        )
    if isinstance(data, records.ReviewCompleted):
        _known("review verdict", data.verdict, PERSON_VERDICTS)
        verdict = Verdict(data.review_id, data.verdict, data.decided_by, data.class_name, event.id)
        return News(data.capture_id, event.id, lambda c, r, now: see_verdict(c, verdict, r, now), None)
    return None


def _check_identity(capture_id: str) -> None:
    try:
        canonical = str(uuid.UUID(capture_id)) == capture_id
    except ValueError:
        canonical = False
    if not canonical:
        raise Invalid(
            "malformed-capture-id", f"{capture_id!r} is no UUID in its usual form; mend the producer."
        )


def _is_number(score: float | None) -> bool:
    """Neither absent nor NaN nor infinite; a model that gives those has scored nothing."""
    return score is not None and math.isfinite(score)


def _is_finite(region: records.Region) -> bool:
    """A region that holds NaN or infinity points nowhere, and JSON cannot carry it."""
    try:
        json.dumps(region.to_avro(), allow_nan=False)
    except ValueError:
        return False
    return True


def _known(what: str, word: str, words: frozenset[str]) -> None:
    if word not in words:
        raise Invalid(
            f"unknown-{what.replace(' ', '-')}",
            f"{word!r} is no {what} ({', '.join(sorted(words))}). Is the producer newer than this service?",
        )


def _subject(event: Event[Any]) -> dict[str, Any]:
    """What later events repeat about the capture, as plain JSON data."""
    data = event.data
    return {
        "context": data.context.to_avro(),
        "image": data.image.to_avro(),
        "captured_at": data.captured_at.isoformat(),
        "received_at": data.received_at.isoformat(),
        "traceparent": event.traceparent,
    }


def ruling_of(step: Step, rules: Rules, now: datetime) -> Ruling:
    """Number the decision of a step."""
    case, decision = step.case, step.decision
    assert decision is not None
    return Ruling(
        disposition_id=deterministic_id("disposition", case.capture_id, str(case.revision)),
        capture_id=case.capture_id,
        revision=case.revision,
        decision=decision,
        rules=rules,
        saw_audit=case.audit is not None,
        saw_model=case.model is not None,
        decided_at=now,
    )


def events_of(step: Step, ruling: Ruling, traceparent: str | None = None) -> list[Event[Any]]:
    """The disposition and, when a person is asked, the request for a review."""
    subject = step.case.subject
    context = records.CaptureContext.from_avro(subject["context"])
    key = station_key(context.line, context.station)
    captured_at = datetime.fromisoformat(subject["captured_at"])
    disposition = _disposition(step, ruling, context)
    made: list[Event[Any]] = [
        event(
            disposition,
            source=SOURCE,
            key=key,
            time=captured_at,
            cause=ruling.disposition_id,
            traceparent=traceparent,
        )
    ]
    if step.opens_review:
        request = _review_request(step, ruling, disposition)
        made.append(
            event(
                request,
                source=SOURCE,
                key=key,
                time=captured_at,
                cause=request.review_id,
                traceparent=traceparent,
            )
        )
    return made


def _disposition(step: Step, ruling: Ruling, context: records.CaptureContext) -> records.DispositionDecided:
    case, decision, subject = step.case, ruling.decision, step.case.subject
    corrects = (
        deterministic_id("disposition", case.capture_id, str(ruling.revision - 1))
        if ruling.revision > 1
        else None
    )
    return records.DispositionDecided(
        disposition_id=ruling.disposition_id,
        revision=ruling.revision,
        corrects=corrects,
        capture_id=case.capture_id,
        context=context,
        image=records.ImageRef.from_avro(subject["image"]),
        kind=decision.kind,
        reasons=list(decision.reasons),
        severity=decision.severity,
        class_name=decision.class_name,
        decided_by=decision.decided_by,
        evidence=_evidence(case, ruling),
        decided_at=ruling.decided_at,
        captured_at=datetime.fromisoformat(subject["captured_at"]),
        received_at=datetime.fromisoformat(subject["received_at"]),
    )


def _evidence(case: Case, ruling: Ruling) -> records.Evidence:
    audit, model = case.audit, case.model
    verdict = case.verdict if ruling.decision.basis in REVIEWS else None
    return records.Evidence(
        audit_verdict=audit.verdict if audit else "missing",
        audit_reasons=list(audit.reasons) if audit else [],
        deviations=[records.Deviation.from_avro(dict(one)) for one in audit.deviations] if audit else [],
        unproven=list(audit.unproven) if audit else [],
        model_release=model.release if model else None,
        predicted_class=model.predicted_class if model else None,
        defect_score=model.defect_score if model else None,
        scores=dict(model.scores) if model else {},
        heat_map=records.ObjectRef.from_avro(dict(model.heat_map)) if model and model.heat_map else None,
        regions=[records.Region.from_avro(dict(region)) for region in model.regions] if model else [],
        policy_version=ruling.rules.policy.version,
        taxonomy_version=ruling.rules.taxonomy.version,
        severity_rule=ruling.decision.severity_rule,
        disposition_rule=ruling.decision.disposition_rule,
        review_id=verdict.review_id if verdict else None,
        causes=[known.event_id for known in (audit, model, verdict) if known],
    )


def _review_request(
    step: Step, ruling: Ruling, disposition: records.DispositionDecided
) -> records.ReviewRequested:
    case = step.case
    assert case.due_at is not None
    share = ruling.rules.policy.second_answer_share
    return records.ReviewRequested(
        review_id=deterministic_id("review", case.capture_id),
        disposition_id=ruling.disposition_id,
        capture_id=case.capture_id,
        context=disposition.context,
        image=disposition.image,
        heat_map=disposition.evidence.heat_map,
        regions=disposition.evidence.regions,
        reasons=disposition.reasons,
        proposed_class=disposition.class_name,
        defect_score=disposition.evidence.defect_score,
        answers_wanted=2 if second_answer_wanted(case.capture_id, share) else 1,
        due_at=case.due_at,
        requested_at=ruling.decided_at,
        captured_at=disposition.captured_at,
        received_at=disposition.received_at,
    )

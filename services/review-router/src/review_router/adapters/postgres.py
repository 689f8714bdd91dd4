"""Cases in PostgreSQL. A batch costs a handful of statements, however many captures it has."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from andon_chassis.database import Connection
from andon_events.records import SeverityRule

from review_router.domain.case import Case
from review_router.domain.decide import Audit, Basis, Decision, ModelResult, Verdict
from review_router.domain.rules import Rules
from review_router.ports import Remark, Ruling

COLUMNS = "capture_id::text, version, revision, kind, incomplete, review, due_at, facts"

# Arrays travel in binary format (%b): as text, every quote of the JSON would be escaped in Python, at a cost
# above everything else here together.
SAVE = """
INSERT INTO cases
    (capture_id, version, line, station, state, revision, kind, incomplete, review, due_at, facts)
SELECT * FROM unnest(
    %b::text[]::uuid[], %b::int[], %b::text[], %b::text[], %b::text[], %b::int[], %b::text[], %b::bool[],
    %b::text[], %b::timestamptz[], %b::text[]::jsonb[])
ON CONFLICT (capture_id) DO UPDATE SET
    version = excluded.version, state = excluded.state, revision = excluded.revision,
    kind = excluded.kind, incomplete = excluded.incomplete, review = excluded.review,
    due_at = excluded.due_at, facts = excluded.facts
WHERE cases.version = excluded.version - 1
RETURNING capture_id::text
"""

RECORD = """
INSERT INTO rulings
    (disposition_id, capture_id, revision, kind, reasons, severity, class_name, basis, decided_by,
     saw_audit, saw_model, rules_digest, decided_at, severity_rule, disposition_rule)
SELECT a, b, c, d, ARRAY(SELECT jsonb_array_elements_text(e)), f, g, h, i, j, k, l, m, n, o FROM unnest(
    %b::text[]::uuid[], %b::text[]::uuid[], %b::int[], %b::text[], %b::text[]::jsonb[], %b::text[],
    %b::text[], %b::text[], %b::text[], %b::bool[], %b::bool[], %b::text[], %b::timestamptz[],
    %b::text[]::jsonb[], %b::text[]::jsonb[])
AS u(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o)
"""


class PostgresCases:
    """Cases within the transaction of a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def load(self, capture_ids: Sequence[str]) -> dict[str, Case]:
        rows = self._connection.execute(
            f"SELECT {COLUMNS} FROM cases WHERE capture_id = ANY(%b::text[]::uuid[])", (list(capture_ids),)
        )
        return {row["capture_id"]: case_of(row) for row in rows}

    def save(self, cases: Iterable[Case]) -> set[str]:
        # sorted: two instances that save the same captures must not wait for each other in a circle
        ordered = sorted(cases, key=lambda case: case.capture_id)
        if not ordered:
            return set()
        columns = zip(
            *(
                (
                    c.capture_id,
                    c.version + 1,
                    c.subject["context"]["line"],
                    c.subject["context"]["station"],
                    c.state,
                    c.revision,
                    c.kind,
                    c.incomplete,
                    c.review,
                    c.due_at,
                    facts_of(c),
                )
                for c in ordered
            ),
            strict=True,
        )
        rows = self._connection.execute(SAVE, [list(column) for column in columns])
        return {row["capture_id"] for row in rows}

    def record(self, rulings: Sequence[Ruling]) -> None:
        if not rulings:
            return
        used = {ruling.rules.digest: ruling.rules.as_json for ruling in rulings}
        self._connection.execute(
            "INSERT INTO rules (digest, rules) SELECT * FROM unnest(%b::text[], %b::text[]::jsonb[]) "
            "ON CONFLICT DO NOTHING",
            (sorted(used), [used[digest] for digest in sorted(used)]),
        )
        columns = zip(
            *(
                (
                    x.disposition_id,
                    x.capture_id,
                    x.revision,
                    x.decision.kind,
                    json.dumps(x.decision.reasons),
                    x.decision.severity,
                    x.decision.class_name,
                    x.decision.basis.value,
                    x.decision.decided_by,
                    x.saw_audit,
                    x.saw_model,
                    x.rules.digest,
                    x.decided_at,
                    _rule_json(x.decision.severity_rule),
                    _rule_json(x.decision.disposition_rule),
                )
                for x in sorted(rulings, key=lambda x: (x.capture_id, x.revision))
            ),
            strict=True,
        )
        self._connection.execute(RECORD, [list(column) for column in columns])

    def remark(self, remarks: Sequence[Remark]) -> None:
        if not remarks:
            return
        self._connection.execute(
            "INSERT INTO remarks (capture_id, event_id, remark, at) "
            "SELECT * FROM unnest(%b::text[]::uuid[], %b::text[], %b::text[], %b::timestamptz[])",
            (
                [x.capture_id for x in remarks],
                [x.event_id for x in remarks],
                [x.remark for x in remarks],
                [x.at for x in remarks],
            ),
        )

    def due(self, now: datetime, limit: int) -> list[Case]:
        rows = self._connection.execute(
            f"SELECT {COLUMNS} FROM cases WHERE due_at <= %s ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED",
            (now, limit),
        )
        return [case_of(row) for row in rows]

    def rulings(self, capture_id: str) -> list[Ruling]:
        """The chain of decisions about a capture, the first one first."""
        rows = self._connection.execute(
            "SELECT disposition_id::text, capture_id::text, revision, kind, reasons, severity, class_name, "
            "basis, decided_by, saw_audit, saw_model, rules, decided_at, severity_rule, disposition_rule "
            "FROM rulings JOIN rules ON digest = rules_digest WHERE capture_id = %s ORDER BY revision",
            (capture_id,),
        )
        return [
            Ruling(
                disposition_id=row["disposition_id"],
                capture_id=row["capture_id"],
                revision=row["revision"],
                decision=Decision(
                    kind=row["kind"],
                    reasons=tuple(row["reasons"]),
                    basis=Basis(row["basis"]),
                    decided_by=row["decided_by"],
                    severity=row["severity"],
                    class_name=row["class_name"],
                    severity_rule=_rule_of(row["severity_rule"]),
                    disposition_rule=_rule_of(row["disposition_rule"]),
                ),
                rules=Rules.from_json(row["rules"]),
                saw_audit=row["saw_audit"],
                saw_model=row["saw_model"],
                decided_at=row["decided_at"],
            )
            for row in rows
        ]


def _rule_json(rule: SeverityRule | None) -> str | None:
    return None if rule is None else json.dumps(rule.to_avro())


def _rule_of(stored: Mapping[str, Any] | None) -> SeverityRule | None:
    return None if stored is None else SeverityRule(**stored)


def facts_of(case: Case) -> str:
    """What a case rests on, as JSON."""
    audit, model, verdict = case.audit, case.model, case.verdict
    return json.dumps(
        {
            "subject": case.subject,
            "audit": audit
            and {
                "verdict": audit.verdict,
                "reasons": audit.reasons,
                "event_id": audit.event_id,
                "deviations": audit.deviations,
                "unproven": audit.unproven,
            },
            "model": model
            and {
                "status": model.status,
                "release": model.release,
                "status_reason": model.status_reason,
                "predicted_class": model.predicted_class,
                "defect_score": model.defect_score,
                "scores": model.scores,
                "heat_map": model.heat_map,
                "regions": model.regions,
                "event_id": model.event_id,
            },
            "verdict": verdict and asdict(verdict),
        }
    )


def case_of(row: Mapping[str, Any]) -> Case:
    """A case from its row."""
    facts = row["facts"]
    audit, model, verdict = facts["audit"], facts["model"], facts["verdict"]
    return Case(
        capture_id=row["capture_id"],
        subject=facts["subject"],
        version=row["version"],
        audit=audit and _audit_of(audit),
        model=model and ModelResult(**model),
        verdict=verdict and Verdict(**verdict),
        revision=row["revision"],
        kind=row["kind"],
        incomplete=row["incomplete"],
        review=row["review"],
        due_at=row["due_at"],
    )


def _audit_of(facts: Mapping[str, Any]) -> Audit:
    """What the audit said; cases of earlier releases know nothing of the capture standard."""
    return Audit(
        verdict=facts["verdict"],
        reasons=tuple(facts["reasons"]),
        event_id=facts["event_id"],
        deviations=tuple(facts.get("deviations", ())),
        unproven=tuple(facts.get("unproven", ())),
    )

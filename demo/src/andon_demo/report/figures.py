"""`report.json`: the run in figures. The keys are a contract; a test holds them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from andon_demo.report.analysis import model_figures, percentiles
from andon_demo.run import Run, action_counts, audit_counts, facts_of


def report_json(run: Run) -> dict[str, Any]:
    """All figures of a run, ready for `json.dumps`. Rates are shares from 0 to 1, null where the stream
    cannot tell.
    """
    ledger = run.ledger
    judged = run.judged()
    model = model_figures(judged)
    accepted, rejected = audit_counts(ledger)
    entries = run.mes.get("entries", [])
    facts = facts_of(run.plan, run.answers, ledger, run.mes, run.expected, run.left_open)
    return {
        "images_sent": facts.sent,
        "captures_recorded": len(facts.recorded),
        "refused": _sorted(Counter(facts.refused)),
        "audit": {"accepted": accepted, "rejected": _sorted(Counter(rejected))},
        "inferences": len(facts.inferred),
        "dispositions": _sorted(Counter(c.first.kind for c in ledger.captures.values() if c.first)),
        "lost": run.books.lost,
        "duplicated": run.books.duplicated,
        "reviews": {"requested": len(ledger.reviews_requested), "completed": len(ledger.reviews_completed)},
        "signals": _sorted(Counter(s.kind for s in ledger.signals.values())),
        "actions": action_counts(ledger),
        "mes": {
            "deliveries": len(entries),
            "acknowledged": sum(1 for e in entries if e["acknowledged"]),
            "retries": sum(e["attempts"] - 1 for e in entries),
            "findings": len(ledger.findings),
        },
        "latency_ms": percentiles([j.latency_ms for j in judged if j.latency_ms is not None]),
        "throughput_images_per_s": round(run.throughput, 2),
        "model": {
            "release": run.release.name,
            "auroc": _rounded(model.auroc),
            "precision": _rounded(model.precision),
            "recall": _rounded(model.recall),
            "false_reject_rate": _rounded(model.false_reject_rate),
            "false_escape_rate": _rounded(model.false_escape_rate),
        },
        "components": dict(sorted(run.components.items())),
        "played": list(run.played),
        "seconds": {name: round(value, 1) for name, value in run.seconds.items()},
    }


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)

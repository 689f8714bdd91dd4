"""Is this `report.json` what its readers were promised? `python -m andon_demo.report.check
build/demo/report.json`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

_COUNTS = {"images_sent", "captures_recorded", "inferences", "lost", "duplicated"}
_SHAPE: dict[str, set[str]] = {
    "audit": {"accepted", "rejected"},
    "reviews": {"requested", "completed"},
    "mes": {"deliveries", "acknowledged", "retries", "findings"},
    "latency_ms": {"p50", "p95", "p99"},
    "model": {"release", "auroc", "precision", "recall", "false_reject_rate", "false_escape_rate"},
    "seconds": {"setup", "train", "stream"},
}
_FREE = {"refused", "dispositions", "signals", "actions", "components", "played", "throughput_images_per_s"}
_STATES = {"opened", "closed"}
DISPOSITIONS = {"pass", "reject", "rework", "hold", "route-to-reviewer", "escalate-to-engineering"}


def problems_of(report: dict[str, Any]) -> list[str]:
    """What is wrong with a report, one sentence each; empty when all is well."""
    wanted = _COUNTS | set(_SHAPE) | _FREE
    problems = [f"the key {name} is missing" for name in sorted(wanted - set(report))]
    problems += [f"the key {name} is not part of the contract" for name in sorted(set(report) - wanted)]
    if problems:
        return problems
    for name, keys in _SHAPE.items():
        if set(report[name]) != keys:
            problems.append(f"{name} has the keys {sorted(report[name])}, not {sorted(keys)}")
    for kind, states in report["actions"].items():
        if set(states) != _STATES:
            problems.append(f"actions.{kind} has the keys {sorted(states)}, not {sorted(_STATES)}")
    if problems:
        return problems
    return _counts(report) or [*_sums(report), *_rates(report), *_components(report)]


def _counts(report: dict[str, Any]) -> list[str]:
    counted = {name: report[name] for name in _COUNTS}
    for name in ("refused", "dispositions", "signals", "reviews", "mes"):
        counted |= {f"{name}.{key}": value for key, value in report[name].items()}
    counted |= {"audit.accepted": report["audit"]["accepted"]}
    counted |= {f"audit.rejected.{key}": value for key, value in report["audit"]["rejected"].items()}
    for kind, states in report["actions"].items():
        counted |= {f"actions.{kind}.{state}": value for state, value in states.items()}
    return [f"{name} is not a count: {value!r}" for name, value in counted.items() if not _is_count(value)]


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _sums(report: dict[str, Any]) -> list[str]:
    problems = []
    recorded = report["captures_recorded"]
    if report["images_sent"] != recorded + sum(report["refused"].values()) and not report["lost"]:
        problems.append("images_sent is not captures_recorded plus refused, and nothing is called lost")
    if sum(report["dispositions"].values()) != recorded and not report["lost"]:
        problems.append("dispositions do not add up to captures_recorded, and nothing is called lost")
    # What the audit left to a person is counted as `ambiguous` among the rejected, so each capture is on one side.
    audited = report["audit"]["accepted"] + sum(report["audit"]["rejected"].values())
    if audited != recorded and not report["lost"]:
        problems.append("audit does not add up to captures_recorded, and nothing is called lost")
    if set(report["dispositions"]) - DISPOSITIONS:
        problems.append(f"unknown dispositions: {sorted(set(report['dispositions']) - DISPOSITIONS)}")
    if report["mes"]["acknowledged"] > report["mes"]["deliveries"]:
        problems.append("more deliveries acknowledged than made")
    for kind, states in report["actions"].items():
        if states["closed"] > states["opened"]:
            problems.append(f"more actions {kind} closed than opened")
    return problems


def _rates(report: dict[str, Any]) -> list[str]:
    problems = []
    for name, value in report["model"].items():
        if name == "release":
            if not value:
                problems.append("model.release is empty")
        elif value is not None and not 0 <= value <= 1:
            problems.append(f"model.{name} is not a share: {value!r}")
    latency = [report["latency_ms"][name] for name in ("p50", "p95", "p99")]
    if None not in latency and latency != sorted(latency):
        problems.append(f"latency_ms is not in order: {latency}")
    if not report["played"] or not all(isinstance(line, str) and line for line in report["played"]):
        problems.append("played must say what was played")
    if not report["throughput_images_per_s"] >= 0:
        problems.append("throughput_images_per_s is negative")
    if not all(value >= 0 for value in report["seconds"].values()):
        problems.append("seconds are negative")
    return problems


def _components(report: dict[str, Any]) -> list[str]:
    """Which version of what it ran on; a figure without that says nothing about another run."""
    if not report["components"]:
        return ["components is empty"]
    return [
        f"components.{name} is no version: {version!r}"
        for name, version in report["components"].items()
        if not isinstance(version, str) or not version
    ]


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: .runtime/venv/bin/python -m andon_demo.report.check <report.json>")
        return 2
    problems = problems_of(json.loads(Path(sys.argv[1]).read_text()))
    print("\n".join(problems) or "the report keeps its contract")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
